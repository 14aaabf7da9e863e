//! Personal access tokens of whoever signs in: the calls of `/api/2.0/token`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Minted, not_the_api};
use crate::client::{Client, Error, Repeat, Request};
use crate::context::Context;

/// A token as Databricks lists it. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenInfo {
    /// Id, with which the token is revoked.
    pub token_id: String,
    /// Comment of the user.
    pub comment: Option<String>,
    /// When it was created.
    pub creation_time: Option<i64>,
    /// When it expires; -1 means never.
    pub expiry_time: Option<i64>,
    /// What the token may be used for, where that is limited.
    pub scopes: Option<Vec<String>>,
    /// How far Databricks has got with narrowing the scopes.
    pub autoscope_state: Option<String>,
    /// Scopes that Databricks has seen in use.
    pub inferred_scopes: Option<Vec<String>>,
    /// Scopes that Databricks has added for use before narrowing.
    pub backfill_scopes: Option<Vec<String>>,
    /// Numeric id of whoever created it; only in lists for administrators.
    pub created_by_id: Option<i64>,
    /// Name of whoever created it; only in lists for administrators.
    pub created_by_username: Option<String>,
    /// Numeric id of whoever it acts as; only in lists for administrators.
    pub owner_id: Option<i64>,
    /// Midnight of the day on which it was used last; only in lists for administrators.
    pub last_used_day: Option<i64>,
}

/// What a token is to be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewToken<'a> {
    /// Application id of the service principal that the token is made for; only where it is not the caller's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_id: Option<&'a str>,
    /// Comment of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<&'a str>,
    /// Lifetime in seconds; the workspace decides where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<i64>,
    /// What the token may be used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<&'a [String]>,
    /// Whether Databricks narrows the scopes to what it sees in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscope_enabled: Option<bool>,
    /// Parts of the above that no message may repeat.
    #[serde(skip)]
    pub secrets: Vec<&'a str>,
}

/// What to change about a token.
#[derive(Clone, Debug, Default)]
pub struct TokenChange<'a> {
    /// The new comment.
    pub comment: Option<&'a str>,
    /// The new scopes.
    pub scopes: Option<&'a [String]>,
    /// Parts of the above that no message may repeat.
    pub secrets: Vec<&'a str>,
}

impl TokenChange<'_> {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.comment.is_none() && self.scopes.is_none()
    }

    /// The body of a PATCH.
    pub(super) fn body(&self) -> Json {
        let mut token = json!({});
        let mut mask = Vec::new();
        if let Some(comment) = self.comment {
            token["comment"] = json!(comment);
            mask.push("comment");
        }
        if let Some(scopes) = self.scopes {
            token["scopes"] = json!(scopes);
            mask.push("scopes");
        }
        json!({ "token": token, "update_mask": mask.join(",") })
    }
}

#[derive(Deserialize)]
struct CreateReply {
    token_value: SecretString,
    token_info: TokenInfo,
}

#[derive(Deserialize)]
struct ListReply {
    /// Absent where there are none.
    token_infos: Option<Vec<TokenInfo>>,
    #[serde(flatten)]
    other: HashMap<String, IgnoredAny>,
}

/// What to do about an error of the token APIs.
fn advice(code: &str) -> Option<&'static str> {
    match code {
        "QUOTA_EXCEEDED" => Some(
            "A user has a limited number of live tokens in a workspace, 600 unless it says otherwise. Revoke some under \
             Settings > Developer > Access tokens, then run again",
        ),
        "FEATURE_DISABLED" => {
            Some("Personal access tokens are switched off in this workspace; its admins can enable them")
        }
        _ => None,
    }
}

/// Creates a token of the caller. The request is sent again only when it certainly was not carried out.
pub async fn create(client: &Client, ctx: &Context, new: &NewToken<'_>) -> Result<Minted<TokenInfo>, Error> {
    create_at(client, ctx, "/api/2.0/token/create", new).await
}

/// Creates a token with a call whose answer has the same form as that for the caller's own tokens.
pub(super) async fn create_at(
    client: &Client,
    ctx: &Context,
    path: &str,
    new: &NewToken<'_>,
) -> Result<Minted<TokenInfo>, Error> {
    let request = Request::new(Method::POST, path, Some(json!(new)), Repeat::IfItDidNotRun)
        .hiding(&new.secrets)
        .advising(advice);
    let reply = client.send::<CreateReply>(ctx, &request).await?;
    if reply.body.token_info.token_id.is_empty() {
        return Err(not_the_api(client, &request, "the answer names no token id"));
    }
    Ok(Minted {
        value: reply.body.token_value,
        info: reply.body.token_info,
        workspace_id: reply.workspace_id,
    })
}

const LIST: &str = "GET /api/2.0/token/list";

/// Lists the live tokens of the caller, with one request for all who ask at the same time.
pub async fn list(client: &Client, ctx: &Context) -> Result<Arc<Vec<TokenInfo>>, Error> {
    client.read_shared(ctx, LIST, fetch).await
}

/// Finds a live token of the caller in the list. One list is enough for many that are there; to prove that a token is
/// not there takes a list that is requested after this call.
pub async fn find(client: &Client, ctx: &Context, id: &str) -> Result<Option<TokenInfo>, Error> {
    let pick = |all: &Vec<TokenInfo>| all.iter().find(|token| token.token_id == id).cloned();
    client.find_shared(ctx, LIST, id, fetch, pick).await
}

async fn fetch(client: Client, ctx: Context) -> Result<Vec<TokenInfo>, Error> {
    let request = Request::new(Method::GET, "/api/2.0/token/list", None, Repeat::Always).advising(advice);
    list_at(&client, &ctx, &request).await
}

/// Lists the live tokens with a call whose answer has the same form as that for the caller's own tokens.
pub(super) async fn list_at(
    client: &Client,
    ctx: &Context,
    request: &Request,
) -> Result<Vec<TokenInfo>, Error> {
    let reply = client.send::<ListReply>(ctx, request).await?;
    // Some other object must not pass for an empty list: every token would look gone.
    if reply.body.token_infos.is_none() && !reply.body.other.is_empty() {
        return Err(not_the_api(client, request, "the answer holds no list of tokens"));
    }
    let mut tokens = reply.body.token_infos.unwrap_or_default();
    tokens.retain(|token| token.is_live(reply.date));
    Ok(tokens)
}

/// Reads the answer of a list for a benchmark: how many tokens it has.
#[cfg(feature = "bench")]
#[doc(hidden)]
pub fn read_list(body: &[u8]) -> usize {
    let reply = serde_json::from_slice::<ListReply>(body).ok();
    reply.and_then(|reply| reply.token_infos).map_or(0, |tokens| tokens.len())
}

impl TokenInfo {
    /// Whether it was created by somebody other than the one it acts as.
    pub fn is_on_behalf(&self) -> bool {
        self.owner_id.is_some() && self.owner_id != self.created_by_id
    }

    /// Whether the token has not expired by the time of the workspace that answered. A workspace should list live
    /// tokens only. If it does not, its own time decides: this machine's may be wrong, and a token that lives must not
    /// look gone.
    pub(super) fn is_live(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let expiry = self.expiry_time.and_then(|expiry| u128::try_from(expiry).ok());
        expiry.is_none_or(|expiry| expiry == 0 || expiry > now)
    }
}

/// Changes the comment or the scopes of a token of the caller in place.
pub async fn update(client: &Client, ctx: &Context, id: &str, change: &TokenChange<'_>) -> Result<(), Error> {
    let request = Request::new(Method::PATCH, "/api/2.0/token", Some(change.body()), Repeat::Always)
        .segment(id)
        .hiding(&change.secrets)
        .advising(advice);
    client.send::<Json>(ctx, &request).await?;
    Ok(())
}

/// Revokes a token of the caller.
pub async fn delete(client: &Client, ctx: &Context, id: &str) -> Result<(), Error> {
    let body = json!({ "token_id": id });
    let request =
        Request::new(Method::POST, "/api/2.0/token/delete", Some(body), Repeat::Always).advising(advice);
    client.send::<Json>(ctx, &request).await?;
    Ok(())
}
