//! `/api/2.0/token-management`: every token of the workspace, for admins.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::tokens::{CreateFields, UpdateFields};
use super::{CreatedToken, Payload, TokenList, empty, ok};
use crate::error::ApiError;
use crate::server::App;
use crate::state::{self, Caller, PublicTokenInfo, Token};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/2.0/token-management/tokens", get(list))
        .route("/api/2.0/token-management/tokens/{token_id}", get(get_one).delete(delete).patch(update))
        .route("/api/2.0/token-management/on-behalf-of/tokens", post(create_on_behalf))
}

/// The admin's view of a token.
#[derive(Debug, Serialize)]
struct TokenInfo<'a> {
    #[serde(flatten)]
    public: PublicTokenInfo<'a>,
    owner_id: u64,
    created_by_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by_username: Option<&'a str>,
    /// Left out where the workspace has a connection id.
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_day: Option<i64>,
}

fn info<'a>(state: &'a state::State, workspace_id: &str, token: &'a Token) -> TokenInfo<'a> {
    TokenInfo {
        public: token.public_info(state.now_ms()),
        owner_id: token.owner,
        created_by_id: token.created_by,
        created_by_username: state.principal(token.created_by).map(|creator| creator.user_name.as_str()),
        workspace_id: workspace_id.parse().ok(),
        last_used_day: token.last_used_day_ms,
    }
}

/// The refusal of an id that is not found. An expired token is still found by its id, a revoked one isn't.
fn unknown(token_id: &str) -> ApiError {
    ApiError::does_not_exist(format!("Token with id {token_id} does not exist."))
}

#[derive(Debug, Deserialize)]
struct Filter {
    created_by_id: Option<u64>,
    created_by_username: Option<String>,
}

async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    caller.check_admin()?;
    let Query(filter) = filter.map_err(|error| ApiError::invalid_parameter(error.body_text()))?;
    let state = app.state();
    let creator_fits = |token: &&Token| {
        filter.created_by_id.is_none_or(|id| id == token.created_by)
            && filter.created_by_username.as_deref().is_none_or(|name| {
                state.principal(token.created_by).is_some_and(|creator| creator.user_name == name)
            })
    };
    let token_infos = state
        .workspace(&caller.workspace_id)?
        .listed_tokens(state.now_ms(), state.settings.list_lag_ms)
        .filter(creator_fits)
        .map(|token| info(&state, &caller.workspace_id, token))
        .collect();
    Ok(ok(&TokenList { token_infos }))
}

async fn get_one(
    State(app): State<Arc<App>>,
    Path(token_id): Path<String>,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.check_admin()?;
    let state = app.state();
    let token = state
        .workspace(&caller.workspace_id)?
        .token(&token_id)
        .filter(|token| token.revoked_at_ms.is_none())
        .ok_or_else(|| unknown(&token_id))?;
    Ok(ok(&json!({"token_info": info(&state, &caller.workspace_id, token)})))
}

async fn delete(
    State(app): State<Arc<App>>,
    Path(token_id): Path<String>,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.check_admin()?;
    let mut state = app.state();
    let now_ms = state.now_ms();
    state
        .workspace_mut(&caller.workspace_id)?
        .token_mut(&token_id)
        .filter(|token| token.revoked_at_ms.is_none())
        .ok_or_else(|| unknown(&token_id))?
        .revoked_at_ms = Some(now_ms);
    Ok(empty())
}

async fn update(
    State(app): State<Arc<App>>,
    Path(token_id): Path<String>,
    caller: Caller,
    uri: Uri,
    Payload(fields): Payload<UpdateFields>,
) -> Result<Response, ApiError> {
    caller.check_admin()?;
    let mut state = app.state();
    state.check_patch(uri.path())?;
    let token = state
        .workspace_mut(&caller.workspace_id)?
        .token_mut(&token_id)
        .filter(|token| token.revoked_at_ms.is_none())
        .ok_or_else(|| unknown(&token_id))?;
    fields.apply(token)?;
    let token = token.clone();
    Ok(ok(&info(&state, &caller.workspace_id, &token)))
}

#[derive(Debug, Deserialize)]
struct OnBehalfFields {
    #[serde(default)]
    application_id: String,
    #[serde(flatten)]
    token: CreateFields,
}

async fn create_on_behalf(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(fields): Payload<OnBehalfFields>,
) -> Result<Response, ApiError> {
    caller.check_admin()?;
    let mut state = app.state();
    state.check_token_use(&caller)?;
    if !state.settings.on_behalf_of_enabled {
        return Err(ApiError::permission_denied(
            "On-behalf-of token creation for service principals is not enabled for this workspace",
        ));
    }
    let owner =
        state.service_principal_named(&fields.application_id).map(|principal| principal.id).ok_or_else(
            || ApiError::invalid_parameter("expected to have application id of the service principal"),
        )?;
    let (value, token) =
        state.create_token(&caller.workspace_id, owner, caller.principal.id, fields.token.into())?;
    let token_info = info(&state, &caller.workspace_id, &token);
    Ok(ok(&CreatedToken { token_value: value, token_info }))
}
