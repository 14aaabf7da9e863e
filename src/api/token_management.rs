//! Tokens of a whole workspace, for its administrators: the calls of `/api/2.0/token-management`.

use http::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::tokens::{NewToken, TokenChange, TokenInfo, create_at, list_at};
use super::{Minted, may_be_gone, not_the_api, says_gone};
use crate::client::{Client, Error, Repeat, Request};
use crate::context::Context;

const TOKENS: &str = "/api/2.0/token-management/tokens";
const LIST: &str = "GET /api/2.0/token-management/tokens";

#[derive(Deserialize)]
struct GetReply {
    token_info: TokenInfo,
}

/// Creates a token that acts as the service principal `new.application_id`. The request is sent again only when it
/// certainly was not carried out.
pub async fn create_on_behalf_of(
    client: &Client,
    ctx: &Context,
    new: &NewToken<'_>,
) -> Result<Minted<TokenInfo>, Error> {
    create_at(client, ctx, "/api/2.0/token-management/on-behalf-of/tokens", new).await
}

/// Finds a live token. Where many are looked for, a list finds those that are there; to prove that one is not there
/// takes a look-up of its own.
pub async fn find(client: &Client, ctx: &Context, id: &str) -> Result<Option<TokenInfo>, Error> {
    let fetch = |client: Client, ctx: Context| async move { list(&client, &ctx, None).await };
    let pick = |all: &Vec<TokenInfo>| all.iter().find(|token| token.token_id == id).cloned();
    match client.find_among_many(ctx, LIST, id, fetch, pick).await? {
        Some(token) => Ok(Some(token)),
        None => get(client, ctx, id).await,
    }
}

/// Looks a token up by its id; `None` if it does not exist or has expired. Databricks still knows expired ones for a
/// while. Where the answer leaves open what it is that does not exist, the list of all tokens decides.
pub async fn get(client: &Client, ctx: &Context, id: &str) -> Result<Option<TokenInfo>, Error> {
    let request = Request::new(Method::GET, TOKENS, None, Repeat::Always).segment(id);
    match client.send::<GetReply>(ctx, &request).await {
        Ok(reply) if reply.body.token_info.token_id != id => {
            Err(not_the_api(client, &request, "the answer is about another token"))
        }
        Ok(reply) => Ok(Some(reply.body.token_info).filter(|token| token.is_live(reply.date))),
        Err(error) if says_gone(&error, id) => Ok(None),
        Err(error) if may_be_gone(&error) => match list(client, ctx, None).await {
            Ok(mut all) => Ok(all.extract_if(.., |token| token.token_id == id).next()),
            // Whoever may not see the list may not look a token up either, which the first answer says better.
            Err(_) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Lists the live tokens of everybody in the workspace, or those that one user or service principal has created.
pub async fn list(client: &Client, ctx: &Context, created_by: Option<&str>) -> Result<Vec<TokenInfo>, Error> {
    let mut request = Request::new(Method::GET, TOKENS, None, Repeat::Always);
    if let Some(name) = created_by {
        request = request.query("created_by_username", name);
    }
    let mut tokens = list_at(client, ctx, &request).await?;
    let is_theirs = |token: &TokenInfo| {
        created_by.is_none_or(|name| {
            token.created_by_username.as_deref().is_some_and(|creator| creator.eq_ignore_ascii_case(name))
        })
    };
    tokens.retain(is_theirs);
    Ok(tokens)
}

/// Changes the comment or the scopes of a token in place.
pub async fn update(client: &Client, ctx: &Context, id: &str, change: &TokenChange<'_>) -> Result<(), Error> {
    let request = Request::new(Method::PATCH, TOKENS, Some(change.body()), Repeat::Always)
        .segment(id)
        .hiding(&change.secrets);
    client.send::<IgnoredAny>(ctx, &request).await?;
    Ok(())
}

/// Revokes a token.
pub async fn delete(client: &Client, ctx: &Context, id: &str) -> Result<(), Error> {
    let request = Request::new(Method::DELETE, TOKENS, None, Repeat::Always).segment(id);
    client.send::<IgnoredAny>(ctx, &request).await?;
    Ok(())
}
