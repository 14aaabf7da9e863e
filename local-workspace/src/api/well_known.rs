//! What a host says about itself to anybody, and the login page of hosts that serve no workspace themselves.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::ok;
use crate::error::ApiError;
use crate::server::{App, BaseUrl};
use crate::state::{self, HostType};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/.well-known/databricks-config", get(databricks_config)).route("/login", get(login))
}

async fn databricks_config(State(app): State<Arc<App>>, BaseUrl(base): BaseUrl, uri: Uri) -> Response {
    let state = app.state();
    match state.host.metadata_status {
        StatusCode::OK => ok(&host_document(&state, &base)),
        StatusCode::NOT_FOUND => ApiError::no_such_endpoint("GET", uri.path()).into_response(),
        status => {
            ApiError::new(status, "INTERNAL_ERROR", "The host metadata is not available.").into_response()
        }
    }
}

/// The metadata document of this host as it is set now.
pub(super) fn host_document(state: &state::State, base: &str) -> Value {
    if let Some(document) = &state.host.document {
        return document.clone();
    }
    let host_type = state.host.host_type;
    let mut document = json!({"account_id": state.account_id, "cloud": "AWS", "host_type": host_type});
    if host_type == HostType::Workspace {
        document["workspace_id"] = json!(state.default_workspace);
        document["oidc_endpoint"] = json!(format!("{base}/oidc"));
        document["token_federation_default_oidc_audiences"] = json!([format!("{base}/oidc/v1/token")]);
    } else {
        // The client fills in the placeholder.
        document["oidc_endpoint"] = json!(format!("{base}/oidc/accounts/{{account_id}}"));
        document["token_federation_default_oidc_audiences"] = json!([state.account_id]);
    }
    document
}

/// A host without a workspace of its own redirects requests that name none to its login page.
pub(super) async fn login_redirect(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let names_workspace = ["x-databricks-workspace-id", "x-databricks-org-id"]
        .iter()
        .any(|name| request.headers().contains_key(*name));
    let redirect = app.state().host.login_redirect && !names_workspace;
    if !redirect {
        return next.run(request).await;
    }
    let mut response = StatusCode::FOUND.into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/login?next_url={}", request.uri().path())) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

async fn login() -> Response {
    let page = "<!doctype html><html><head><title>Databricks - Sign In</title></head>\
                <body><div id=\"login-page\"></div></body></html>\n";
    let mut response = Response::new(Body::from(page));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}
