//! `/api/2.0/token`: a user's own personal access tokens.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, patch, post};
use serde::Deserialize;

use super::{CreatedToken, Payload, TokenList, empty, int64, ok};
use crate::error::ApiError;
use crate::server::App;
use crate::state::{Caller, NewToken, patch_token};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/2.0/token/create", post(create))
        .route("/api/2.0/token/list", get(list))
        .route("/api/2.0/token/delete", post(delete))
        .route("/api/2.0/token/{token_id}", patch(update))
}

/// The fields of a new token, also of one that is created on behalf of a service principal.
#[derive(Debug, Deserialize)]
pub(super) struct CreateFields {
    #[serde(default, deserialize_with = "int64")]
    lifetime_seconds: Option<i64>,
    comment: Option<String>,
    scopes: Option<Vec<String>>,
    autoscope_enabled: Option<bool>,
}

impl From<CreateFields> for NewToken {
    fn from(fields: CreateFields) -> Self {
        Self {
            comment: fields.comment,
            lifetime_seconds: fields.lifetime_seconds,
            scopes: fields.scopes.unwrap_or_default(),
            autoscope_enabled: fields.autoscope_enabled,
        }
    }
}

async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(fields): Payload<CreateFields>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    state.check_token_use(&caller)?;
    let owner = caller.principal.id;
    let (value, token) = state.create_token(&caller.workspace_id, owner, owner, fields.into())?;
    Ok(ok(&CreatedToken { token_value: value, token_info: token.public_info(state.now_ms()) }))
}

async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, ApiError> {
    let state = app.state();
    state.check_token_use(&caller)?;
    let now_ms = state.now_ms();
    let token_infos = state
        .workspace(&caller.workspace_id)?
        .listed_tokens(now_ms, state.settings.list_lag_ms)
        .filter(|token| token.owner == caller.principal.id)
        .map(|token| token.public_info(now_ms))
        .collect();
    Ok(ok(&TokenList { token_infos }))
}

#[derive(Debug, Deserialize)]
struct DeleteFields {
    #[serde(default)]
    token_id: String,
}

async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(fields): Payload<DeleteFields>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    state.check_token_use(&caller)?;
    if fields.token_id.is_empty() {
        return Err(ApiError::invalid_parameter("token_id must be given"));
    }
    let now_ms = state.now_ms();
    let token = state
        .workspace_mut(&caller.workspace_id)?
        .token_mut(&fields.token_id)
        .filter(|token| token.owner == caller.principal.id && token.is_live(now_ms))
        .ok_or_else(|| {
            ApiError::does_not_exist(format!("Token with id {} does not exist.", fields.token_id))
        })?;
    token.revoked_at_ms = Some(now_ms);
    Ok(empty())
}

/// Body of a PATCH, here and in the token management API.
#[derive(Debug, Deserialize)]
pub(super) struct UpdateFields {
    token: Option<TokenFields>,
    #[serde(default)]
    update_mask: String,
}

#[derive(Debug, Deserialize)]
struct TokenFields {
    comment: Option<String>,
    scopes: Option<Vec<String>>,
}

impl UpdateFields {
    pub(super) fn apply(self, token: &mut crate::state::Token) -> Result<(), ApiError> {
        if self.update_mask.is_empty() {
            return Err(ApiError::invalid_parameter("update_mask must name comment or scopes"));
        }
        let (comment, scopes) = self.token.map_or((None, None), |token| (token.comment, token.scopes));
        patch_token(token, comment, scopes, &self.update_mask)
    }
}

async fn update(
    State(app): State<Arc<App>>,
    Path(token_id): Path<String>,
    caller: Caller,
    uri: Uri,
    Payload(fields): Payload<UpdateFields>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    state.check_patch(uri.path())?;
    state.check_token_use(&caller)?;
    let now_ms = state.now_ms();
    let token = state
        .workspace_mut(&caller.workspace_id)?
        .token_mut(&token_id)
        .filter(|token| token.owner == caller.principal.id && token.is_live(now_ms))
        .ok_or_else(|| {
            let message = format!("Token with id {token_id} does not exist.");
            ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
        })?;
    fields.apply(token)?;
    Ok(empty())
}
