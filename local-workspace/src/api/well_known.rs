//! `/.well-known/databricks-config`: what a host says about itself, to anybody.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::ok;
use crate::server::{App, BaseUrl};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/.well-known/databricks-config", get(databricks_config))
}

async fn databricks_config(State(app): State<Arc<App>>, BaseUrl(base): BaseUrl) -> Response {
    let state = app.state();
    ok(&json!({
        "oidc_endpoint": format!("{base}/oidc"),
        "account_id": state.account_id,
        "workspace_id": state.default_workspace,
        "cloud": "AWS",
        "host_type": "workspace",
        "token_federation_default_oidc_audiences": [format!("{base}/oidc/v1/token")],
    }))
}
