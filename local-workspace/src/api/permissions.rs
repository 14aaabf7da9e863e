//! `/api/2.0/permissions/authorization/tokens`: who may use personal access tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Payload, ok};
use crate::error::ApiError;
use crate::server::App;
use crate::state::{self, Caller, WorkspaceState};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/2.0/permissions/authorization/tokens", get(read).put(replace).patch(add))
        .route("/api/2.0/permissions/authorization/tokens/permissionLevels", get(levels))
}

fn describe(workspace: &WorkspaceState) -> Value {
    let entry = |(field, name): &(String, String)| {
        let mut entry = json!({"all_permissions": [{"permission_level": "CAN_USE", "inherited": false}]});
        entry[field] = json!(name);
        entry
    };
    json!({
        "object_id": "authorization/tokens",
        "object_type": "tokens",
        "access_control_list": workspace.token_acl.iter().map(entry).collect::<Vec<_>>(),
    })
}

async fn read(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, ApiError> {
    caller.check_admin()?;
    Ok(ok(&describe(app.state().workspace(&caller.workspace_id)?)))
}

async fn levels(caller: Caller) -> Result<Response, ApiError> {
    caller.check_admin()?;
    Ok(ok(&json!({
        "permission_levels": [{"permission_level": "CAN_USE", "description": "Can use tokens"}],
    })))
}

#[derive(Debug, Deserialize)]
struct Change {
    access_control_list: Option<Vec<Entry>>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    user_name: Option<String>,
    group_name: Option<String>,
    service_principal_name: Option<String>,
    #[serde(default)]
    permission_level: String,
}

impl Entry {
    /// The principal's field and name, if the entry names exactly one that exists.
    fn check(self, state: &state::State) -> Result<(String, String), ApiError> {
        if self.permission_level != "CAN_USE" {
            return Err(ApiError::invalid_parameter(format!(
                "permission_level {:?} is not supported for tokens, only CAN_USE is",
                self.permission_level
            )));
        }
        match (self.user_name, self.group_name, self.service_principal_name) {
            (None, Some(group), None) => Ok(("group_name".to_owned(), group)),
            (Some(name), None, None) => known(state, "user_name", name),
            (None, None, Some(name)) => known(state, "service_principal_name", name),
            _ => Err(ApiError::invalid_parameter(
                "an access control entry needs one of user_name, group_name and service_principal_name",
            )),
        }
    }
}

fn known(state: &state::State, field: &str, name: String) -> Result<(String, String), ApiError> {
    if state.principal_named(&name).is_none() {
        return Err(ApiError::does_not_exist(format!("Principal: {name} does not exist")));
    }
    Ok((field.to_owned(), name))
}

fn change(app: &App, caller: &Caller, change: Change, replace: bool) -> Result<Response, ApiError> {
    caller.check_admin()?;
    let mut state = app.state();
    let entries = change.access_control_list.unwrap_or_default();
    let entries: BTreeSet<_> =
        entries.into_iter().map(|entry| entry.check(&state)).collect::<Result<_, _>>()?;
    let workspace = state.workspace_mut(&caller.workspace_id)?;
    if replace {
        // Nobody can take the permission from the admins.
        workspace.token_acl.retain(|(field, name)| field == "group_name" && name == "admins");
    }
    workspace.token_acl.extend(entries);
    Ok(ok(&describe(workspace)))
}

async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(new): Payload<Change>,
) -> Result<Response, ApiError> {
    change(&app, &caller, new, true)
}

async fn add(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(new): Payload<Change>,
) -> Result<Response, ApiError> {
    change(&app, &caller, new, false)
}
