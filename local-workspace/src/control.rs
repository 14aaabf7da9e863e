//! `/local/control`: what tests look at and change behind the APIs. Real workspaces have nothing like it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::ORIGIN;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Payload;
use crate::error::{ApiError, json_response};
use crate::faults::Fault;
use crate::server::App;
use crate::state;

pub(crate) fn router() -> Router<Arc<App>> {
    let control = Router::new()
        .route("/state", get(get_state))
        .route("/clock", post(set_clock))
        .route("/quota", post(set_quota))
        .route("/faults", get(get_faults).post(add_faults).delete(clear_faults))
        .route("/requests", get(get_requests).delete(clear_requests))
        .route("/reset", post(reset))
        .route("/tokens/{token_id}/revoke", post(revoke))
        .layer(middleware::from_fn(refuse_browsers));
    Router::new().nest("/local/control", control)
}

/// A web page that is open in a browser must not drive the workspace; only browsers send Origin.
async fn refuse_browsers(request: Request, next: Next) -> Response {
    if request.headers().contains_key(ORIGIN) {
        return ApiError::permission_denied("The control API takes no requests from web pages.")
            .into_response();
    }
    next.run(request).await
}

fn ok(body: &Value) -> Response {
    json_response(StatusCode::OK, body)
}

/// Everything but secrets.
async fn get_state(State(app): State<Arc<App>>) -> Response {
    let state = app.state();
    let now_ms = state.now_ms();
    let name = |id| state.principal(id).map(|principal| principal.user_name.clone());
    let tokens: Vec<Value> = state
        .workspaces
        .values()
        .flat_map(|workspace| workspace.all_tokens().map(move |token| (workspace, token)))
        .map(|(workspace, token)| {
            json!({
                "id": token.id,
                "workspace_id": workspace.id,
                "comment": token.comment,
                "creation_time": token.creation_ms,
                "expiry_time": token.expiry_ms,
                "revoked": token.revoked_at_ms.is_some(),
                "live": token.is_live(now_ms),
                "scopes": token.scopes,
                "owner": name(token.owner),
                "created_by": name(token.created_by),
            })
        })
        .collect();
    let principals: Vec<Value> = state
        .principals
        .iter()
        .map(|principal| {
            json!({
                "id": principal.id,
                "user_name": principal.user_name,
                "display_name": principal.display_name,
                "service_principal": matches!(principal.kind, state::PrincipalKind::ServicePrincipal { .. }),
                "admin": principal.admin,
            })
        })
        .collect();
    ok(&json!({
        "now_ms": now_ms,
        "quota": state.settings.quota,
        "max_token_lifetime_days": state.settings.max_token_lifetime_days,
        "workspace_id": state.default_workspace,
        "workspaces": state.workspaces.keys().collect::<Vec<_>>(),
        "account_id": state.account_id,
        "principals": principals,
        "tokens": tokens,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Clock {
    AdvanceMs(i64),
    SetMs(i64),
}

async fn set_clock(State(app): State<Arc<App>>, Payload(clock): Payload<Clock>) -> Response {
    let mut state = app.state();
    match clock {
        Clock::AdvanceMs(by_ms) => state.advance_clock(by_ms),
        Clock::SetMs(now_ms) => state.set_clock(now_ms),
    }
    ok(&json!({"now_ms": state.now_ms()}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quota {
    quota: usize,
    status: Option<u16>,
}

async fn set_quota(
    State(app): State<Arc<App>>,
    Payload(quota): Payload<Quota>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    if let Some(status) = quota.status {
        state.settings.quota_status = StatusCode::from_u16(status)
            .map_err(|_| ApiError::invalid_parameter(format!("status: {status} is no HTTP status")))?;
    }
    state.settings.quota = quota.quota;
    Ok(ok(&json!({"quota": quota.quota})))
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    More(Vec<Value>),
    One(Value),
}

async fn add_faults(
    State(app): State<Arc<App>>,
    Payload(faults): Payload<OneOrMore>,
) -> Result<Response, ApiError> {
    let faults = match faults {
        OneOrMore::More(faults) => faults,
        OneOrMore::One(fault) => vec![fault],
    };
    let faults = faults
        .into_iter()
        .map(|fault| serde_json::from_value::<Fault>(fault).map_err(|error| error.to_string()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ApiError::invalid_parameter)?;
    let mut state = app.state();
    state.faults.add(faults).map_err(ApiError::invalid_parameter)?;
    Ok(ok(&state.faults.describe()))
}

async fn get_faults(State(app): State<Arc<App>>) -> Response {
    ok(&app.state().faults.describe())
}

async fn clear_faults(State(app): State<Arc<App>>) -> Response {
    app.state().faults.clear();
    ok(&json!({}))
}

async fn get_requests(State(app): State<Arc<App>>) -> Response {
    ok(&json!({"requests": app.state().requests.entries()}))
}

async fn clear_requests(State(app): State<Arc<App>>) -> Response {
    app.state().requests.clear();
    ok(&json!({}))
}

/// Back to the state at start: no tokens, faults, requests or changed settings; same credentials.
async fn reset(State(app): State<Arc<App>>) -> Response {
    app.state().reset(&app.options);
    ok(&json!({}))
}

async fn revoke(State(app): State<Arc<App>>, Path(token_id): Path<String>) -> Result<Response, ApiError> {
    let mut state = app.state();
    let now_ms = state.now_ms();
    state
        .workspaces
        .values_mut()
        .find_map(|workspace| workspace.token_mut(&token_id))
        .ok_or_else(|| ApiError::does_not_exist(format!("Token with id {token_id} does not exist.")))?
        .revoked_at_ms = Some(now_ms);
    Ok(ok(&json!({})))
}
