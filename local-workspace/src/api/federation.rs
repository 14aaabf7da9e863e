//! Federation policies of service principals and of the account, for account admins.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Payload, accounts, empty, ok};
use crate::error::ApiError;
use crate::federation::{OidcPolicy, Policy};
use crate::secrets::rfc3339;
use crate::server::{App, random_uuid};
use crate::state::{self, Caller};

pub(super) fn router() -> Router<Arc<App>> {
    let mut router = Router::new();
    for owner in ["", "/servicePrincipals/{principal}"] {
        let path = format!("/api/2.0/accounts/{{account_id}}{owner}/federationPolicies");
        // The id of a policy may have slashes.
        let one = get(get_one).patch(update).delete(remove);
        router = router.route(&path, get(list).post(create)).route(&format!("{path}/{{*policy_id}}"), one);
    }
    router
}

/// What a path names.
#[derive(Debug, Deserialize)]
struct Target {
    account_id: String,
    /// Absent in the paths of the account's own policies.
    principal: Option<String>,
    #[serde(default)]
    policy_id: String,
}

impl Target {
    /// The numeric id of the service principal, if the path names one, and if the caller may manage its policies.
    fn check(&self, state: &state::State, caller: &Caller) -> Result<Option<u64>, ApiError> {
        accounts::check_admin(state, caller, &self.account_id)?;
        self.principal.as_deref().map(|id| state.service_principal(id).map(|found| found.id)).transpose()
    }

    fn find(&self, state: &state::State, principal: Option<u64>) -> Result<usize, ApiError> {
        state
            .federation_policies
            .iter()
            .position(|policy| policy.principal == principal && policy.id == self.policy_id)
            .ok_or_else(|| {
                ApiError::new(
                    StatusCode::NOT_FOUND,
                    "NOT_FOUND",
                    format!("Federation policy {} does not exist.", self.policy_id),
                )
            })
    }
}

/// A policy as the API shows it.
fn describe(account_id: &str, policy: &Policy) -> Value {
    let owner = policy.principal.map(|id| format!("/servicePrincipals/{id}")).unwrap_or_default();
    let mut body = json!({
        "name": format!("accounts/{account_id}{owner}/federationPolicies/{}", policy.id),
        "policy_id": policy.id,
        "uid": policy.uid,
        "create_time": rfc3339(policy.create_ms),
        "update_time": rfc3339(policy.update_ms),
        "oidc_policy": policy.oidc,
    });
    if let Some(description) = &policy.description {
        body["description"] = json!(description);
    }
    if let Some(principal) = policy.principal {
        body["service_principal_id"] = json!(principal);
    }
    body
}

fn parse(fields: &Map<String, Value>, of_principal: bool) -> Result<(Option<String>, OidcPolicy), ApiError> {
    let oidc = fields.get("oidc_policy").cloned().unwrap_or_else(|| json!({}));
    let oidc: OidcPolicy = serde_json::from_value(oidc)
        .map_err(|error| ApiError::invalid_parameter(format!("oidc_policy: {error}")))?;
    oidc.check(of_principal)?;
    Ok((fields.get("description").and_then(Value::as_str).map(str::to_owned), oidc))
}

/// Adds a policy and returns it as the API shows it. The control API adds policies in the same way.
pub(crate) fn add(
    state: &mut state::State,
    principal: Option<u64>,
    id: Option<String>,
    fields: &Map<String, Value>,
) -> Result<Value, ApiError> {
    let (description, oidc) = parse(fields, principal.is_some())?;
    let uid = random_uuid();
    let id = id.unwrap_or_else(|| uid.clone());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '/');
    if id.is_empty() || !id.chars().all(allowed) {
        return Err(ApiError::invalid_parameter(
            "policy_id: must have lowercase letters, digits, hyphens and slashes only",
        ));
    }
    if state.federation_policies.iter().any(|known| known.principal == principal && known.id == id) {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "ALREADY_EXISTS",
            format!("Federation policy {id} already exists."),
        ));
    }
    let now_ms = state.now_ms();
    let policy = Policy { id, uid, principal, description, oidc, create_ms: now_ms, update_ms: now_ms };
    let described = describe(&state.account_id, &policy);
    state.federation_policies.push(policy);
    Ok(described)
}

#[derive(Debug, Deserialize)]
struct CreateQuery {
    policy_id: Option<String>,
}

async fn create(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    Query(query): Query<CreateQuery>,
    caller: Caller,
    Payload(fields): Payload<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    let principal = target.check(&state, &caller)?;
    Ok(ok(&add(&mut state, principal, query.policy_id, &fields)?))
}

async fn list(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let state = app.state();
    let principal = target.check(&state, &caller)?;
    let policies: Vec<Value> = state
        .federation_policies
        .iter()
        .filter(|policy| policy.principal == principal)
        .map(|policy| describe(&target.account_id, policy))
        .collect();
    Ok(ok(&if policies.is_empty() { json!({}) } else { json!({"policies": policies}) }))
}

async fn get_one(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let state = app.state();
    let at = target.find(&state, target.check(&state, &caller)?)?;
    Ok(ok(&describe(&target.account_id, &state.federation_policies[at])))
}

#[derive(Debug, Deserialize)]
struct UpdateQuery {
    /// Fields separated by commas, or `*`; without it, those in the body.
    update_mask: Option<String>,
}

async fn update(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    Query(query): Query<UpdateQuery>,
    caller: Caller,
    Payload(fields): Payload<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    let principal = target.check(&state, &caller)?;
    let at = target.find(&state, principal)?;
    let known = &state.federation_policies[at];
    let mut merged = json!({"description": known.description, "oidc_policy": known.oidc});
    let given = Value::Object(fields);
    let mask = query.update_mask.unwrap_or_else(|| {
        let inner = given["oidc_policy"].as_object().into_iter().flat_map(Map::keys);
        let inner = inner.map(|name| format!("oidc_policy.{name}"));
        let outer = given.get("description").map(|_| "description".to_owned());
        outer.into_iter().chain(inner).collect::<Vec<_>>().join(",")
    });
    let mask = if mask == "*" { "description,oidc_policy" } else { &mask };
    for field in mask.split(',').filter(|field| !field.is_empty()) {
        let (outer, inner) = match field.split_once('.') {
            None if matches!(field, "description" | "oidc_policy") => (field, None),
            Some(("oidc_policy", inner)) => ("oidc_policy", Some(inner)),
            _ => {
                return Err(ApiError::invalid_parameter(format!(
                    "update_mask: field {field:?} can not be updated, only description and oidc_policy can"
                )));
            }
        };
        let (target, source) = match inner {
            None => (&mut merged, given.get(outer)),
            Some(_) => (&mut merged[outer], given[outer].get(inner.unwrap_or_default())),
        };
        if let Value::Object(target) = target {
            let name = inner.unwrap_or(outer);
            match source {
                Some(value) => target.insert(name.to_owned(), value.clone()),
                None => target.remove(name),
            };
        }
    }
    let merged = merged.as_object().cloned().unwrap_or_default();
    let (description, oidc) = parse(&merged, principal.is_some())?;
    let now_ms = state.now_ms();
    let policy = &mut state.federation_policies[at];
    (policy.description, policy.oidc, policy.update_ms) = (description, oidc, now_ms);
    Ok(ok(&describe(&target.account_id, policy)))
}

async fn remove(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    let at = target.find(&state, target.check(&state, &caller)?)?;
    state.federation_policies.remove(at);
    Ok(empty())
}
