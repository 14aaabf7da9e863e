//! OAuth secrets of service principals: of the account, and through a workspace.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get};
use serde::{Deserialize, Serialize};

use super::{Payload, accounts, empty, ok};
use crate::error::ApiError;
use crate::secrets::{Secret, SecretInfo};
use crate::server::App;
use crate::state::{self, Caller};

const DEFAULT_PAGE_SIZE: usize = 100;

/// The account API, for account admins.
pub(super) fn account_router() -> Router<Arc<App>> {
    routes("/api/2.0/accounts/{account_id}/servicePrincipals/{principal}/credentials/secrets")
}

/// The workspace's way to the same secrets, for its admins.
pub(super) fn proxy_router() -> Router<Arc<App>> {
    routes("/api/2.0/accounts/servicePrincipals/{principal}/credentials/secrets")
}

fn routes(path: &str) -> Router<Arc<App>> {
    let all: MethodRouter<Arc<App>> = get(list).post(create);
    Router::new().route(path, all).route(&format!("{path}/{{secret_id}}"), delete(remove))
}

/// What a path names.
#[derive(Debug, Deserialize)]
struct Target {
    /// Absent in the paths of the proxy.
    account_id: Option<String>,
    principal: String,
    secret_id: Option<String>,
}

impl Target {
    /// The numeric id of the service principal, if the caller may manage its secrets.
    fn check(&self, state: &state::State, caller: &Caller) -> Result<u64, ApiError> {
        match &self.account_id {
            Some(account_id) => accounts::check_admin(state, caller, account_id)?,
            None if !caller.principal.admin => {
                return Err(ApiError::permission_denied(
                    "Only workspace admins can manage the secrets of service principals.",
                ));
            }
            None => {}
        }
        state.service_principal(&self.principal).map(|principal| principal.id)
    }
}

#[derive(Debug, Deserialize)]
struct CreateFields {
    lifetime: Option<String>,
    scopes: Option<Vec<String>>,
}

async fn create(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
    Payload(fields): Payload<CreateFields>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    let principal = target.check(&state, &caller)?;
    let scopes = fields.scopes.unwrap_or_default();
    let (value, secret) = state.create_secret(principal, fields.lifetime.as_deref(), scopes)?;
    let mut created = secret.info();
    created.secret = Some(value);
    Ok(ok(&created))
}

#[derive(Debug, Deserialize)]
struct Page {
    page_size: Option<usize>,
    page_token: Option<String>,
}

#[derive(Serialize)]
struct SecretList<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<SecretInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

async fn list(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(page) = page.map_err(|error| ApiError::invalid_parameter(error.body_text()))?;
    let state = app.state();
    let principal = target.check(&state, &caller)?;
    let now_ms = state.now_ms();
    let size = page.page_size.filter(|size| *size > 0).unwrap_or(DEFAULT_PAGE_SIZE);
    // A page token is the id of the first secret of its page, whether that is still there or not.
    let start = match page.page_token.as_deref().filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => state
            .secrets
            .iter()
            .position(|secret| secret.principal == principal && secret.id == token)
            .ok_or_else(|| ApiError::invalid_parameter("page_token: not one that was answered before"))?,
    };
    let lag_ms = state.settings.list_lag_ms;
    let mut rest = state.secrets.iter().skip(start).filter(|secret| {
        secret.principal == principal
            && secret.is_live(now_ms)
            && state::is_listed(secret.create_ms, now_ms, lag_ms)
    });
    let secrets = rest.by_ref().take(size).map(Secret::info).collect();
    let next_page_token = rest.next().map(|secret| secret.id.clone());
    Ok(ok(&SecretList { secrets, next_page_token }))
}

async fn remove(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    let principal = target.check(&state, &caller)?;
    let now_ms = state.now_ms();
    let secret_id = target.secret_id.unwrap_or_default();
    state
        .secrets
        .iter_mut()
        .find(|secret| secret.principal == principal && secret.id == secret_id && secret.is_live(now_ms))
        .ok_or_else(|| {
            ApiError::does_not_exist(format!(
                "Secret {secret_id} of service principal {principal} does not exist."
            ))
        })?
        .deleted = true;
    Ok(empty())
}
