//! `/oidc`: discovery, and a token endpoint for client credentials and token exchange.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::ok;
use super::well_known::host_document;
use crate::error::{ApiError, json_response};
use crate::server::{App, BaseUrl};
use crate::signing::{jwt, key_set};
use crate::state::{self, Audience, Credential, Principal, SubjectToken, credential, random_hex, sha256_hex};

const CLIENT_CREDENTIALS: &str = "client_credentials";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/oidc/.well-known/oauth-authorization-server", get(workspace_discovery))
        .route("/oidc/.well-known/openid-configuration", get(workspace_discovery))
        .route("/oidc/jwks.json", get(keys))
        .route("/oidc/v1/token", post(workspace_token))
        .route("/oidc/accounts/{account_id}/.well-known/oauth-authorization-server", get(account_discovery))
        .route("/oidc/accounts/{account_id}/.well-known/openid-configuration", get(account_discovery))
        .route("/oidc/accounts/{account_id}/jwks.json", get(account_keys))
        .route("/oidc/accounts/{account_id}/v1/token", post(account_token))
}

async fn workspace_discovery(BaseUrl(base): BaseUrl) -> Response {
    discovery(&format!("{base}/oidc"))
}

async fn account_discovery(
    State(app): State<Arc<App>>,
    Path(account_id): Path<String>,
    BaseUrl(base): BaseUrl,
) -> Result<Response, ApiError> {
    check_account(&app, &account_id)?;
    Ok(discovery(&format!("{base}/oidc/accounts/{account_id}")))
}

fn check_account(app: &App, account_id: &str) -> Result<(), ApiError> {
    if app.state().account_id == account_id {
        return Ok(());
    }
    Err(ApiError::does_not_exist(format!("Account {account_id} does not exist.")))
}

fn discovery(issuer: &str) -> Response {
    ok(&json!({
        "issuer": issuer,
        // Clients expect the field; signing in with a browser isn't served here.
        "authorization_endpoint": format!("{issuer}/v1/authorize"),
        "token_endpoint": format!("{issuer}/v1/token"),
        "jwks_uri": format!("{issuer}/jwks.json"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "subject_types_supported": ["public"],
        "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "scopes_supported": ["all-apis", "offline_access"],
        "response_types_supported": ["code"],
    }))
}

async fn keys() -> Response {
    ok(&key_set())
}

async fn account_keys(
    State(app): State<Arc<App>>,
    Path(account_id): Path<String>,
) -> Result<Response, ApiError> {
    check_account(&app, &account_id)?;
    Ok(keys().await)
}

async fn workspace_token(
    State(app): State<Arc<App>>,
    BaseUrl(base): BaseUrl,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    token(&app, &base, "/oidc", &headers, &body)
}

async fn account_token(
    State(app): State<Arc<App>>,
    Path(account_id): Path<String>,
    BaseUrl(base): BaseUrl,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    check_account(&app, &account_id)?;
    Ok(token(&app, &base, &format!("/oidc/accounts/{account_id}"), &headers, &body))
}

/// A refusal by the token endpoint, in the shape of RFC 6749 section 5.2.
#[derive(Debug)]
struct OAuthError {
    error: &'static str,
    description: &'static str,
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let client = self.error == "invalid_client";
        let status = if client { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        let body = json!({"error": self.error, "error_description": self.description});
        let mut response = json_response(status, &body);
        if client {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Databricks\""));
        }
        response
    }
}

fn refuse<T>(error: &'static str, description: &'static str) -> Result<T, OAuthError> {
    Err(OAuthError { error, description })
}

type Form = BTreeMap<String, String>;

/// Answers a request for a token. `path` is that of the issuer.
fn token(app: &App, base: &str, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let form: Form = form_urlencoded::parse(body).into_owned().collect();
    let mut state = app.state();
    let principal = match form.get("grant_type").map(String::as_str) {
        Some(CLIENT_CREDENTIALS) => client(&state, headers, &form),
        Some(TOKEN_EXCHANGE) => {
            subject(&state, base, path, &form).map(|principal| (principal.clone(), Vec::new()))
        }
        Some(_) => refuse("unsupported_grant_type", "The grant type is not supported"),
        None => refuse("invalid_request", "The parameter grant_type is missing"),
    };
    let asked = form.get("scope").filter(|scope| !scope.is_empty()).map_or("all-apis", String::as_str);
    let (principal, scope) = match principal
        .and_then(|(principal, allowed)| granted(asked, &allowed).map(|scope| (principal, scope)))
    {
        Ok(granted) => granted,
        Err(error) => return error.into_response(),
    };
    let group = form.get("assume_group").cloned();
    let access_token = issue(&mut state, &format!("{base}{path}"), &principal, &scope, group);
    let mut response = ok(&json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": state.settings.access_token_seconds,
        "scope": scope,
    }));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes an access token. Anybody can check its signature, while the workspace knows it by its hash alone.
pub(super) fn issue(
    state: &mut state::State,
    issuer: &str,
    principal: &Principal,
    scope: &str,
    assume_group: Option<String>,
) -> String {
    let now = state.now_ms() / 1000;
    let claims = json!({
        "iss": issuer,
        "sub": principal.user_name,
        "aud": state.default_workspace,
        "scope": scope,
        "iat": now,
        "exp": now + state.settings.access_token_seconds,
        "jti": random_hex(16),
    });
    let value = jwt(&claims);
    let scopes = scope.split(' ').map(str::to_owned).collect();
    state.add_access_token(&value, principal.id, scopes, assume_group);
    value
}

/// The claims of a JWT, or nothing if the text isn't one.
pub(super) fn claims(jwt: &str) -> Option<Value> {
    let payload = jwt.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// The scopes of an access token: those that are requested, as far as the secret allows them. A request for `all-apis`
/// gets all that the secret allows, since clients request that unless told otherwise.
fn granted(asked: &str, allowed: &[String]) -> Result<String, OAuthError> {
    const ALL: &str = "all-apis";
    if allowed.is_empty() || allowed.iter().any(|scope| scope == ALL) {
        return Ok(asked.to_owned());
    }
    if asked.split_whitespace().any(|scope| scope == ALL) {
        return Ok(allowed.join(" "));
    }
    let kept: Vec<&str> =
        asked.split_whitespace().filter(|scope| allowed.iter().any(|allowed| allowed == scope)).collect();
    if kept.is_empty() {
        return refuse("invalid_scope", "The client secret does not allow the requested scopes");
    }
    Ok(kept.join(" "))
}

/// The service principal that the client credentials name, and the scopes of its secret.
fn client(
    state: &state::State,
    headers: &HeaderMap,
    form: &Form,
) -> Result<(Principal, Vec<String>), OAuthError> {
    let (id, secret) = match credential(headers) {
        Some(Credential::Basic { user, password }) => (user, password),
        _ => match (form.get("client_id"), form.get("client_secret")) {
            (Some(id), Some(secret)) => (id.clone(), secret.clone()),
            _ => return refuse("invalid_client", "Client authentication failed"),
        },
    };
    // RFC 6749 requires id and secret to be form-encoded before they become Basic credentials; not every client does
    // so.
    let found = [(id.clone(), secret.clone()), (form_decoded(&id), form_decoded(&secret))]
        .into_iter()
        .find_map(|(id, secret)| state.client(&id, &secret));
    match found {
        Some((principal, scopes)) => Ok((principal.clone(), scopes.to_vec())),
        None => refuse("invalid_client", "Client authentication failed"),
    }
}

fn form_decoded(text: &str) -> String {
    // These characters would end the value, and no encoder leaves them as they are.
    if text.contains(['=', '&']) {
        return text.to_owned();
    }
    form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// The principal that a token of another issuer stands for.
fn subject<'a>(
    state: &'a state::State,
    base: &str,
    path: &str,
    form: &Form,
) -> Result<&'a Principal, OAuthError> {
    let Some(value) = form.get("subject_token").filter(|value| !value.is_empty()) else {
        return refuse("invalid_request", "The parameter subject_token is missing");
    };
    if form.get("subject_token_type").map(String::as_str) != Some(JWT) {
        return refuse("invalid_request", "The subject_token_type is not supported");
    }
    let client_id = form.get("client_id").filter(|id| !id.is_empty());
    let Some(token) = state.subject_tokens.get(&sha256_hex(value)) else {
        return state
            .federated(value, client_id.map(String::as_str))
            .or_else(|why| refuse("invalid_grant", why));
    };
    let claims = claims(value).unwrap_or_default();
    if claims["exp"].as_i64().is_some_and(|expiry| expiry <= state.now_ms() / 1000) {
        return refuse("invalid_grant", "The subject_token is expired");
    }
    if !audience_fits(state, token, base, path, &claims["aud"]) {
        return refuse("invalid_grant", "The audience of the subject_token is not accepted");
    }
    if let (Some(client_id), Some(principal)) = (client_id, &token.principal)
        && client_id != principal
    {
        return refuse("invalid_grant", "The subject_token is not trusted for this client");
    }
    let found = match client_id.or(token.principal.as_ref()) {
        Some(name) => state.principal_named(name),
        None => state.principal(state.admin_id()),
    };
    match found {
        Some(principal) => Ok(principal),
        None => refuse("invalid_client", "The client is not known"),
    }
}

fn audience_fits(state: &state::State, token: &SubjectToken, base: &str, path: &str, aud: &Value) -> bool {
    let contains = |wanted: &str| match aud {
        Value::Array(audiences) => audiences.iter().any(|audience| audience == wanted),
        audience => audience == wanted,
    };
    match &token.audience {
        Audience::Any => true,
        Audience::Exactly(audience) => contains(audience),
        Audience::HostDefaults => {
            let document = host_document(state, base);
            let named = document["token_federation_default_oidc_audiences"].as_array();
            contains(&state.account_id)
                || contains(&format!("{base}{path}/v1/token"))
                || named.into_iter().flatten().filter_map(Value::as_str).any(contains)
        }
    }
}
