//! `/local`: what some credential strategies need besides a workspace, and get from another program or service
//! in real life.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::oidc::{claims, issue};
use super::ok;
use crate::error::ApiError;
use crate::server::{App, BaseUrl};
use crate::signing::jwt;
use crate::state::{self, Audience, Credential, SubjectToken, credential, sha256_hex};

/// What the id token endpoints of CI systems take as their bearer token.
const CI_REQUEST_TOKEN: &str = "local-request-token";
/// Life of an id token.
const ID_TOKEN_SECONDS: i64 = 600;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/local/metadata-service", get(metadata_service))
        .route("/local/github-oidc", get(github_oidc))
        .route("/local/azure-devops/{*rest}", post(azure_devops_oidc))
        .route("/local/google/token", post(google_token))
}

/// The token server that the `metadata-service` strategy uses.
async fn metadata_service(
    State(app): State<Arc<App>>,
    BaseUrl(base): BaseUrl,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("x-databricks-metadata-version") != "1" {
        return Err(ApiError::invalid_parameter("X-Databricks-Metadata-Version must be 1"));
    }
    if !header("x-databricks-host").starts_with("http") {
        return Err(ApiError::invalid_parameter("X-Databricks-Host must be the URL of the workspace"));
    }
    let mut state = app.state();
    let access_token = issue_to_admin(&mut state, &base)?;
    let expires_on = state.now_ms() / 1000 + state.settings.access_token_seconds;
    Ok(ok(&json!({"access_token": access_token, "token_type": "Bearer", "expires_on": expires_on})))
}

fn issue_to_admin(state: &mut state::State, base: &str) -> Result<String, ApiError> {
    let admin = state.principal(state.admin_id()).cloned().ok_or_else(ApiError::missing_credential)?;
    Ok(issue(state, &format!("{base}/oidc"), &admin, "all-apis", None))
}

fn check_ci_token(headers: &HeaderMap) -> Result<(), ApiError> {
    match credential(headers) {
        Some(Credential::Bearer(value)) if value == CI_REQUEST_TOKEN => Ok(()),
        _ => Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "The request token is wrong.")),
    }
}

/// Makes an id token that the token endpoint of this workspace trusts.
fn id_token(state: &mut state::State, issuer: &str, audience: Value, accepted: Audience) -> String {
    let now = state.now_ms() / 1000;
    let value = jwt(&json!({
        "iss": issuer,
        "sub": "local",
        "aud": audience,
        "iat": now,
        "exp": now + ID_TOKEN_SECONDS,
        "jti": state::random_hex(16),
    }));
    let token = SubjectToken { principal: None, audience: accepted };
    state.subject_tokens.insert(sha256_hex(&value), token);
    value
}

#[derive(Debug, Deserialize)]
struct GithubQuery {
    audience: Option<String>,
}

/// The id token endpoint of a GitHub Actions job (`ACTIONS_ID_TOKEN_REQUEST_URL`).
async fn github_oidc(
    State(app): State<Arc<App>>,
    Query(query): Query<GithubQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    check_ci_token(&headers)?;
    let audience = query.audience.unwrap_or_else(|| "https://github.com/local".to_owned());
    let issuer = "https://token.actions.githubusercontent.com";
    let value = id_token(&mut app.state(), issuer, json!(audience), Audience::HostDefaults);
    Ok(ok(&json!({"count": value.len(), "value": value})))
}

/// The id token endpoint of an Azure DevOps job, below any collection and project.
async fn azure_devops_oidc(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    check_ci_token(&headers)?;
    // Azure DevOps decides the audience itself.
    let audience = json!("api://AzureADTokenExchange");
    let value = id_token(&mut app.state(), "https://vstoken.dev.azure.com/local", audience, Audience::Any);
    Ok(ok(&json!({"oidcToken": value})))
}

/// The `token_uri` of a Google service account key. The workspace takes its tokens as those of the admin.
async fn google_token(
    State(app): State<Arc<App>>,
    BaseUrl(base): BaseUrl,
    body: Bytes,
) -> Result<Response, ApiError> {
    let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    if form.get("grant_type").map(String::as_str) != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
        return Err(ApiError::invalid_parameter("grant_type must be that of a JWT bearer"));
    }
    let Some(claims) = form.get("assertion").and_then(|assertion| claims(assertion)) else {
        return Err(ApiError::invalid_parameter("assertion must be a JWT"));
    };
    let mut state = app.state();
    let token = issue_to_admin(&mut state, &base)?;
    Ok(ok(&if claims["target_audience"].is_string() {
        json!({"id_token": token})
    } else {
        json!({"access_token": token, "token_type": "Bearer", "expires_in": state.settings.access_token_seconds})
    }))
}
