//! `/api/2.0/accounts/{account_id}/workspaces`: the workspaces of the account.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::ok;
use crate::error::ApiError;
use crate::server::App;
use crate::state::{self, Caller, WorkspaceState};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/2.0/accounts/{account_id}/workspaces", get(list))
        .route("/api/2.0/accounts/{account_id}/workspaces/{workspace_id}", get(get_one))
}

/// Personal access tokens belong to one workspace, so account APIs don't take them.
pub(super) fn check(state: &state::State, caller: &Caller, account_id: &str) -> Result<(), ApiError> {
    if caller.by_personal_token {
        return Err(ApiError::missing_credential());
    }
    if account_id != state.account_id {
        return Err(ApiError::does_not_exist(format!("Account {account_id} does not exist.")));
    }
    Ok(())
}

/// Like [`check`], for what only account admins may do.
pub(super) fn check_admin(state: &state::State, caller: &Caller, account_id: &str) -> Result<(), ApiError> {
    check(state, caller, account_id)?;
    if caller.principal.account_admin {
        return Ok(());
    }
    Err(ApiError::permission_denied(
        "This API is disabled for users without account admin status. Contact your administrator for more information.",
    ))
}

fn describe(account_id: &str, workspace: &WorkspaceState) -> Value {
    let mut body = json!({
        "account_id": account_id,
        "workspace_name": workspace.deployment_name,
        "deployment_name": workspace.deployment_name,
        "workspace_status": "RUNNING",
    });
    // A connection id isn't numeric and stays a text.
    body["workspace_id"] = workspace.id.parse::<i64>().map_or_else(|_| json!(workspace.id), |id| json!(id));
    if let Some(url) = &workspace.workspace_url {
        body["workspace_url"] = json!(url);
    }
    body
}

async fn list(
    State(app): State<Arc<App>>,
    Path(account_id): Path<String>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let state = app.state();
    check(&state, &caller, &account_id)?;
    let workspaces: Value =
        state.workspaces.values().map(|workspace| describe(&account_id, workspace)).collect();
    Ok(ok(&workspaces))
}

async fn get_one(
    State(app): State<Arc<App>>,
    Path((account_id, workspace_id)): Path<(String, String)>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let state = app.state();
    check(&state, &caller, &account_id)?;
    Ok(ok(&describe(&account_id, state.workspace(&workspace_id)?)))
}
