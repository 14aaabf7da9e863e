//! `/api/2.0/preview/scim/v2/Me`: who the caller is.

use std::sync::Arc;

use axum::Router;
use axum::extract::Query;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::json_response;
use crate::server::App;
use crate::state::{Caller, PrincipalKind};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/api/2.0/preview/scim/v2/Me", get(me))
}

#[derive(Debug, Deserialize)]
struct Attributes {
    #[serde(default, rename = "excludedAttributes")]
    excluded: String,
}

async fn me(caller: Caller, Query(attributes): Query<Attributes>) -> Response {
    let principal = caller.principal;
    let mut groups = vec![json!({"display": "users", "type": "direct", "value": "1"})];
    if principal.admin {
        groups.push(json!({"display": "admins", "type": "direct", "value": "2"}));
    }
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": principal.id.to_string(),
        "userName": principal.user_name,
        "displayName": principal.display_name,
        "active": true,
        "groups": groups,
        "entitlements": [{"value": "workspace-access"}],
    });
    if let PrincipalKind::User = principal.kind {
        body["emails"] = json!([{"type": "work", "value": principal.user_name, "primary": true}]);
    }
    if let Value::Object(fields) = &mut body {
        fields.retain(|name, _| !attributes.excluded.split(',').any(|excluded| excluded.trim() == name));
    }
    let mut response = json_response(StatusCode::OK, &body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
    response
}
