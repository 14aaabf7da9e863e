//! Personal access tokens: the calls of `/api/2.0/token`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::client::{Client, Error, Repeat, Request};
use crate::context::{Context, Severity};

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
    /// When it expires; -1 is never.
    pub expiry_time: Option<i64>,
    /// What the token may be used for, where that is limited.
    pub scopes: Option<Vec<String>>,
    /// How far Databricks has got with narrowing the scopes.
    pub autoscope_state: Option<String>,
    /// Scopes that Databricks has seen in use.
    pub inferred_scopes: Option<Vec<String>>,
    /// Scopes that Databricks has added for use before narrowing.
    pub backfill_scopes: Option<Vec<String>>,
}

/// What a token is to be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewToken {
    /// Comment of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Lifetime in seconds; the workspace decides where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<i64>,
    /// What the token may be used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Whether Databricks narrows the scopes to what it sees in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscope_enabled: Option<bool>,
    /// Whether no message may repeat the comment.
    #[serde(skip)]
    pub comment_is_secret: bool,
}

/// A token that was just created: the only time that its value is seen.
#[derive(Debug)]
pub struct CreatedToken {
    /// The value.
    pub value: SecretString,
    /// The rest of it.
    pub info: TokenInfo,
    /// Workspace that the token belongs to, if it said so.
    pub workspace_id: Option<String>,
}

/// What to change of a token.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// The new comment.
    pub comment: Option<String>,
    /// The new scopes.
    pub scopes: Option<Vec<String>>,
    /// Whether no message may repeat the comment.
    pub comment_is_secret: bool,
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

/// Why a token was not created, or may have been.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// No token was created.
    #[error(transparent)]
    NotCreated(Error),
    /// The request was sent and may have been carried out; the text names what may have come of it.
    #[error("{0}")]
    MayExist(String),
}

/// Creates a token. The request is sent again only when it certainly was not carried out.
pub async fn create(client: &Client, ctx: &Context, new: &NewToken) -> Result<CreatedToken, CreateError> {
    let body = json!(new);
    let request = Request::new(Method::POST, "/api/2.0/token/create", Some(body), Repeat::IfItDidNotRun)
        .hiding(new.comment.as_deref().filter(|_| new.comment_is_secret));
    let started = ctx.clock.now_ms();
    match client.send::<CreateReply>(ctx, &request).await {
        Ok(reply) if reply.body.token_info.token_id.is_empty() => {
            let error = not_a_token_api(client, &request, "the answer names no token id");
            Err(CreateError::MayExist(orphan_report(client, ctx, new, started, &error).await))
        }
        Ok(reply) => Ok(CreatedToken {
            value: reply.body.token_value,
            info: reply.body.token_info,
            workspace_id: reply.workspace_id,
        }),
        Err(error) if error.did_not_run() => Err(CreateError::NotCreated(error)),
        Err(error) => Err(CreateError::MayExist(orphan_report(client, ctx, new, started, &error).await)),
    }
}

/// What answered well is not the token API after all.
fn not_a_token_api(client: &Client, request: &Request, reason: &str) -> Error {
    Error::NotAnApi {
        host: client.config().host.as_ref().map(|host| host.url.clone()).unwrap_or_default(),
        request: request.to_string(),
        reason: format!("{reason}. Check that databricks:host is the URL of a workspace"),
        turned_away: false,
    }
}

/// How far the clocks of this machine and of the workspace may differ, in milliseconds.
const CLOCK_SKEW_MS: i64 = 10 * 60 * 1000;

/// Says which tokens may have come of a create whose answer is lost. None is revoked here: any of them may be
/// somebody else's.
async fn orphan_report(
    client: &Client,
    ctx: &Context,
    new: &NewToken,
    started: i64,
    error: &Error,
) -> String {
    let comment = new.comment.as_deref().unwrap_or_default();
    let called = if comment.is_empty() {
        "no comment".to_owned()
    } else if new.comment_is_secret {
        "the comment that the program states".to_owned()
    } else {
        format!("the comment {comment:?}")
    };
    ctx.report(Severity::Status, "the answer was lost; listing the tokens to see whether one was created")
        .await;
    // The engine may have asked to give up by now; what may have been left behind must be named all the same.
    let ctx = Context { cancel: Default::default(), ..ctx.clone() };
    let found = match list(client, &ctx).await {
        Err(second) => format!(
            "Whether a token was created could not be found out either: {second}. Look under Settings > Developer > \
             Access tokens for one with {called}, created after {}, and revoke it",
            date(started)
        ),
        Ok(tokens) => {
            let candidates: Vec<String> = tokens
                .iter()
                .filter(|token| token.comment.as_deref().unwrap_or_default() == comment)
                .filter(|token| token.creation_time.is_none_or(|time| time >= started - CLOCK_SKEW_MS))
                .map(|token| {
                    let created = token.creation_time.map_or("at an unknown time".to_owned(), date);
                    format!("\n  token id {}, with {called}, created {created}", token.token_id)
                })
                .collect();
            if candidates.is_empty() {
                format!(
                    "The workspace lists no new token with {called}, so most likely none was created. Run again; if \
                     one with {called} created after {} shows up later, revoke it",
                    date(started)
                )
            } else {
                format!(
                    "It may have created one of these, whose value nobody has:{}\nRevoke what nobody uses, under \
                     Settings > Developer > Access tokens or with `databricks tokens delete <token id>`, then run again",
                    candidates.concat()
                )
            }
        }
    };
    format!("{error}. {found}")
}

/// A time as people read it, in UTC.
pub(crate) fn date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Lists the live tokens of the user that the provider signs in as.
///
/// Readers that ask at the same time share an answer, which was asked for after each of them asked: an answer that
/// was under way before may miss what they know to exist.
pub async fn list(client: &Client, ctx: &Context) -> Result<Arc<Vec<TokenInfo>>, Error> {
    client.read_shared(ctx, LIST, |client, ctx| async move { fetch(&client, &ctx).await }).await
}

const LIST: &str = "GET /api/2.0/token/list";

async fn fetch(client: &Client, ctx: &Context) -> Result<Vec<TokenInfo>, Error> {
    let request = Request::new(Method::GET, "/api/2.0/token/list", None, Repeat::Always);
    let reply = client.send::<ListReply>(ctx, &request).await?;
    // Some other object is not an empty list: every token would look gone.
    if reply.body.token_infos.is_none() && !reply.body.other.is_empty() {
        return Err(not_a_token_api(client, &request, "the answer holds no list of tokens"));
    }
    // A workspace should list live tokens only. If it does not, its own time decides: this machine's may be wrong, and
    // a token that lives must not look gone.
    let now = reply.date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let live = |token: &TokenInfo| {
        let expiry =
            token.expiry_time.and_then(|expiry| u128::try_from(expiry).ok()).filter(|expiry| *expiry > 0);
        expiry.is_none_or(|expiry| expiry > now)
    };
    let mut tokens = reply.body.token_infos.unwrap_or_default();
    tokens.retain(live);
    Ok(tokens)
}

/// Changes the comment or the scopes of a token in place.
pub async fn update(client: &Client, ctx: &Context, id: &str, change: &TokenChange) -> Result<(), Error> {
    let mut token = json!({});
    let mut mask = Vec::new();
    if let Some(comment) = &change.comment {
        token["comment"] = json!(comment);
        mask.push("comment");
    }
    if let Some(scopes) = &change.scopes {
        token["scopes"] = json!(scopes);
        mask.push("scopes");
    }
    let body = json!({ "token": token, "update_mask": mask.join(",") });
    let path = format!("/api/2.0/token/{}", segment(id));
    let request = Request::new(Method::PATCH, path, Some(body), Repeat::Always)
        .hiding(change.comment.as_deref().filter(|_| change.comment_is_secret));
    client.send::<Json>(ctx, &request).await?;
    Ok(())
}

/// Revokes a token. One that is gone already is revoked.
pub async fn delete(client: &Client, ctx: &Context, id: &str) -> Result<(), Error> {
    let body = json!({ "token_id": id });
    let request = Request::new(Method::POST, "/api/2.0/token/delete", Some(body), Repeat::Always);
    match client.send::<Json>(ctx, &request).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Codes of status 404 that are about the API and not about the token.
const API_IS_MISSING: &[&str] = &["FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"];

/// Whether Databricks says that the token does not exist, in its code, its status or, as older workspaces, its words.
/// A 404 of anything else that stands in between says nothing of the token, which would be forgotten alive.
pub(crate) fn is_gone(error: &Error) -> bool {
    let Error::Api(api) = error else { return false };
    api.structured
        && !API_IS_MISSING.contains(&api.code.as_str())
        && (api.is_not_found() || api.message.contains("does not exist"))
}

/// An id as a segment of a path.
fn segment(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    id.bytes()
        .map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_one_segment_of_the_path() {
        assert_eq!(segment("ab-12"), "ab-12");
        assert_eq!(segment("../x?y"), "..%2Fx%3Fy");
    }

    #[test]
    fn dates_are_readable() {
        assert_eq!(date(1_700_000_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(date(i64::MAX), format!("{} ms", i64::MAX));
    }
}
