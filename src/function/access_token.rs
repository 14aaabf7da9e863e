//! `databricks:index/getAccessToken:getAccessToken`, the OAuth access token of the sign-in in use.

use std::time::SystemTime;

use async_trait::async_trait;
use secrecy::SecretString;

use super::{Definition, Function, check};
use crate::client::Client;
use crate::context::Context;
use crate::property::{Map, Record as _};
use crate::record;
use crate::resource::{Error, timestamp};

/// The function.
pub(super) struct GetAccessToken;

record! {
    /// What it is told.
    struct Answer {
        /// The access token. Empty in a preview, which gets none.
        access_token: SecretString = "accessToken";
        /// When the token expires, as an RFC 3339 timestamp. Empty in a preview, or if the answer does not say.
        expires_at: String = "expiresAt";
        /// When the token expires, in milliseconds since 1970-01-01 UTC. 0 in a preview, or if the answer does not say.
        expiry_time: i64 = "expiryTime";
        /// Word before the token in a header, `Bearer` as a rule.
        token_type: String = "tokenType";
    }
}

#[async_trait]
impl Function for GetAccessToken {
    fn token(&self) -> &'static str {
        "databricks:index/getAccessToken:getAccessToken"
    }

    fn definition(&self) -> Definition {
        Definition {
            doc: "The OAuth access token that the provider signs in with, as a secret. It lives for an hour or less, and \
                  nobody has to revoke it. Each `pulumi up` gets another one, so whatever depends on it is updated each \
                  time. A personal access token is not an OAuth token, so a provider that signs in with one gets an error.",
            inputs: &[],
            outputs: Answer::ROWS,
            types: &[],
        }
    }

    async fn call(&self, client: &Client, ctx: &Context, stated: &Map, preview: bool) -> Result<Map, Error> {
        check(self, stated)?;
        // The engine accepts no unknown value from a function.
        if preview {
            if client.own_token_id().is_some() {
                return Err(no_token("pat"));
            }
            return Ok(answer(SecretString::default(), "Bearer", None));
        }
        match client.access_token(ctx).await? {
            (Some(token), _) => Ok(answer(token.value, &token.kind, token.expires)),
            (None, way) => Err(no_token(way)),
        }
    }
}

fn answer(access_token: SecretString, kind: &str, expires: Option<SystemTime>) -> Map {
    let expires =
        expires.and_then(|time| jiff::Timestamp::try_from(time).ok()).map(jiff::Timestamp::as_millisecond);
    Answer {
        access_token,
        expires_at: expires.map(timestamp).unwrap_or_default(),
        expiry_time: expires.unwrap_or_default(),
        token_type: kind.to_owned(),
    }
    .encode()
}

fn no_token(way: &str) -> Error {
    Error::Other(format!(
        "the provider signs in with {way}, which has no OAuth access token. Let it sign in with OAuth, such as with \
         databricks:clientId and databricks:clientSecret, or use a databricks.Token instead"
    ))
}
