//! Error bodies as the Databricks REST API writes them.

use std::fmt;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

/// A refused request: HTTP status, `error_code`, `message`, and any extra headers.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// A string, or the status as an integer where the gateway in front of the APIs answers.
    code: Value,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), headers: Vec::new() }
    }

    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER_VALUE", message)
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", message)
    }

    pub(crate) fn does_not_exist(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST", message)
    }

    pub(crate) fn permission_denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message)
    }

    /// The message names the path as it is below `/api/2.0`.
    pub(crate) fn no_such_endpoint(method: &str, path: &str) -> Self {
        let path = path.strip_prefix("/api/2.0").unwrap_or(path);
        Self::new(StatusCode::NOT_FOUND, "ENDPOINT_NOT_FOUND", format!("No API found for '{method} {path}'"))
    }

    /// The gateway's refusal of a credential that it doesn't know: an integer `error_code`.
    pub(crate) fn refused_credential(message: &'static str) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code: 403.into(),
            message: message.to_owned(),
            headers: vec![(
                HeaderName::from_static("x-databricks-reason-phrase"),
                HeaderValue::from_static(message),
            )],
        }
    }

    /// The gateway's answer when there is no credential, or one of a kind that the API doesn't take.
    pub(crate) fn missing_credential() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: 401.into(),
            message: "Credential was not sent or was of an unsupported type for this API.".to_owned(),
            headers: vec![(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"DatabricksRealm\""))],
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response =
            json_response(self.status, &json!({"error_code": self.code, "message": self.message}));
        response.headers_mut().extend(self.headers);
        response
    }
}

/// A JSON answer.
pub(crate) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
