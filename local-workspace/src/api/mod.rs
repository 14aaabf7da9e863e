//! The HTTP APIs, one module for each family.

mod accounts;
pub(crate) mod federation;
mod oidc;
mod permissions;
mod scim;
mod secrets;
mod stand_ins;
mod token_management;
mod tokens;
mod well_known;
mod workspace_conf;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::control;
use crate::error::{ApiError, json_response};
use crate::page;
use crate::server::{App, BaseUrl};
use crate::state::Caller;

/// Every API of the workspace, and the control API.
pub(crate) fn router(app: Arc<App>) -> Router {
    let workspace_apis = Router::new()
        .merge(tokens::router())
        .merge(token_management::router())
        .merge(permissions::router())
        .merge(scim::router())
        .merge(secrets::proxy_router())
        .merge(workspace_conf::router())
        .route_layer(middleware::from_fn_with_state(app.clone(), well_known::login_redirect));
    Router::new()
        .merge(workspace_apis)
        .merge(accounts::router())
        .merge(secrets::account_router())
        .merge(federation::router())
        .merge(scim::account_router())
        .merge(well_known::router())
        .merge(oidc::router())
        .merge(stand_ins::router())
        .merge(control::router(app.clone()))
        .merge(page::router())
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(no_such_endpoint)
        .with_state(app)
}

async fn no_such_endpoint(method: Method, uri: Uri) -> ApiError {
    ApiError::no_such_endpoint(method.as_str(), uri.path())
}

/// The empty object that several APIs answer.
fn empty() -> axum::response::Response {
    json_response(StatusCode::OK, &json!({}))
}

/// A list, whose field the API leaves out when there is nothing in it.
#[derive(Debug, Serialize)]
struct TokenList<T> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    token_infos: Vec<T>,
}

/// The answer to the creation of a token: the only one that holds its value.
#[derive(Serialize)]
struct CreatedToken<T> {
    token_value: String,
    token_info: T,
}

fn ok(body: &impl Serialize) -> axum::response::Response {
    json_response(StatusCode::OK, body)
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        app.state().authenticate(&parts.headers, parts.uri.path())
    }
}

impl FromRequestParts<Arc<App>> for BaseUrl {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::malformed("The request has no host."))
    }
}

/// A JSON body. The Content-Type is ignored: real workspaces accept `text/json` and none at all.
#[derive(Debug)]
pub(crate) struct Payload<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Payload<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, app)
            .await
            .map_err(|error| ApiError::malformed(format!("The request body could not be read: {error}")))?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| ApiError::malformed(format!("Could not parse request object: {error}")))
    }
}

/// A 64 bit integer as protocol buffers write it in JSON: a whole number, or its decimal text.
fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    let whole = match &value {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_i64().or_else(|| {
            // 9.0e15 is below 2^53, up to which a double holds every whole number.
            let double = number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() <= 9.0e15)?;
            format!("{double:.0}").parse().ok()
        }),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    whole
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("expected a 64 bit integer, got {value:?}")))
}
