//! `/local/control`: what tests look at and change behind the APIs. Real workspaces have nothing like it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{Payload, federation};
use crate::error::{ApiError, json_response};
use crate::page;
use crate::secrets::{new_secret_value, rfc3339};
use crate::server::App;
use crate::signing::jwt;
use crate::snapshot::Snapshot;
use crate::state::{self, Audience, Principal, PrincipalKind, SubjectToken, WorkspaceState, sha256_hex};

pub(crate) fn router(app: Arc<App>) -> Router<Arc<App>> {
    let control = Router::new()
        .route("/state", get(get_state))
        .route("/clock", post(set_clock))
        .route("/quota", post(set_quota))
        .route("/faults", get(get_faults).post(add_faults).delete(clear_faults))
        .route("/requests", get(get_requests).delete(clear_requests))
        .route("/reset", post(reset))
        .route("/tokens/{token_id}/revoke", post(revoke))
        .route("/settings", post(set_settings))
        .route("/permissions", post(set_permissions))
        .route("/host-metadata", post(set_host_metadata))
        .route("/workspaces", post(add_workspace))
        .route("/service-principals", post(add_service_principal))
        .route("/service-principals/{id}/delete", post(delete_service_principal))
        .route("/users", post(add_user))
        .route("/principals/{id}", post(set_roles))
        .route("/secrets/{secret_id}/delete", post(delete_secret))
        .route("/secret-limit", post(set_secret_limit))
        .route("/subject-tokens", post(add_subject_token))
        .route("/federation-policies", post(add_federation_policy))
        .route("/snapshot", get(get_snapshot).put(put_snapshot))
        // A snapshot may be large; the server has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app, page::refuse_web_pages));
    Router::new().nest("/local/control", control)
}

fn ok(body: &Value) -> Response {
    json_response(StatusCode::OK, body)
}

/// The state, without the values of credentials.
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
    let initial_tokens: Vec<Value> = state
        .workspaces
        .values()
        .flat_map(|workspace| workspace.initial_tokens().map(move |token| (workspace, token)))
        .map(|(workspace, token)| {
            json!({
                "id": token.id,
                "workspace_id": workspace.id,
                "owner": name(token.owner),
                "revoked": token.revoked_at_ms.is_some(),
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
                "account_admin": principal.account_admin,
            })
        })
        .collect();
    let secrets: Vec<Value> = state
        .secrets
        .iter()
        .map(|secret| {
            json!({
                "id": secret.id,
                "principal": name(secret.principal),
                "principal_id": secret.principal,
                "create_time": rfc3339(secret.create_ms),
                "expire_time": rfc3339(secret.expire_ms),
                "scopes": secret.scopes,
                "deleted": secret.deleted,
                "live": secret.is_live(now_ms),
            })
        })
        .collect();
    let federation_policies: Vec<Value> = state
        .federation_policies
        .iter()
        .map(|policy| {
            json!({
                "policy_id": policy.id,
                "principal": policy.principal.and_then(name),
                "oidc_policy": policy.oidc,
            })
        })
        .collect();
    let access_tokens: Vec<Value> = state
        .access_tokens
        .values()
        .map(|token| {
            json!({
                "principal": name(token.principal),
                "scopes": token.scopes,
                "assume_group": token.assume_group,
                "expiry_time": token.expiry_ms,
            })
        })
        .collect();
    ok(&json!({
        "access_tokens": access_tokens,
        "access_token_seconds": state.settings.access_token_seconds,
        "list_lag_ms": state.settings.list_lag_ms,
        "patch": state.settings.patch,
        "tokens_enabled": state.settings.tokens_enabled,
        "can_use": state.settings.can_use_tokens,
        "on_behalf_of_enabled": state.settings.on_behalf_of_enabled,
        "host_type": state.host.host_type,
        "login_redirect": state.host.login_redirect,
        "now_ms": now_ms,
        "quota": state.settings.quota,
        "max_token_lifetime_days": state.settings.max_token_lifetime_days,
        "workspace_id": state.default_workspace,
        "workspaces": state.workspaces.keys().collect::<Vec<_>>(),
        "account_id": state.account_id,
        "principals": principals,
        "tokens": tokens,
        "initial_tokens": initial_tokens,
        "secrets": secrets,
        "federation_policies": federation_policies,
        "secret_limit": state.settings.secret_limit.limit,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Clock {
    AdvanceMs(i64),
    SetMs(i64),
}

impl Clock {
    fn apply(self, state: &mut state::State) -> Value {
        match self {
            Self::AdvanceMs(by_ms) => state.advance_clock(by_ms),
            Self::SetMs(now_ms) => state.set_clock(now_ms),
        }
        json!({"now_ms": state.now_ms()})
    }
}

async fn set_clock(State(app): State<Arc<App>>, Payload(clock): Payload<Clock>) -> Response {
    ok(&clock.apply(&mut app.state()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quota {
    quota: usize,
    status: Option<u16>,
}

impl Quota {
    fn apply(self, state: &mut state::State) -> Result<Value, ApiError> {
        if let Some(status) = self.status {
            state.settings.quota_status = status_code(status)?;
        }
        state.settings.quota = self.quota;
        Ok(json!({"quota": self.quota}))
    }
}

async fn set_quota(
    State(app): State<Arc<App>>,
    Payload(quota): Payload<Quota>,
) -> Result<Response, ApiError> {
    Ok(ok(&quota.apply(&mut app.state())?))
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

#[derive(Debug, Deserialize)]
struct After {
    /// Only the requests with a higher number.
    #[serde(default)]
    after: u64,
}

async fn get_requests(State(app): State<Arc<App>>, Query(query): Query<After>) -> Response {
    let state = app.state();
    let log = &state.requests;
    ok(&json!({"requests": log.entries_after(query.after), "oldest": log.oldest()}))
}

async fn clear_requests(State(app): State<Arc<App>>) -> Response {
    app.state().requests.clear();
    ok(&json!({}))
}

/// Back to the state at start: no tokens, faults, requests or changed settings; same credentials and seed.
async fn reset(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    app.state().reset(&app.options)?;
    Ok(ok(&json!({})))
}

async fn get_snapshot(State(app): State<Arc<App>>) -> Response {
    json_response(StatusCode::OK, &Snapshot::take(&app.state()))
}

async fn put_snapshot(
    State(app): State<Arc<App>>,
    Payload(snapshot): Payload<Snapshot>,
) -> Result<Response, ApiError> {
    snapshot.restore(&mut app.state(), &app.options)?;
    Ok(ok(&json!({})))
}

/// What a seed may hold: bodies of calls of the control API, carried out in this order.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Changes {
    clock: Option<Clock>,
    quota: Option<Quota>,
    settings: Option<Settings>,
    permissions: Option<Permissions>,
    host_metadata: Option<HostMetadata>,
    secret_limit: Option<NewSecretLimit>,
    workspaces: Vec<NewWorkspace>,
    users: Vec<NewUser>,
    service_principals: Vec<NewServicePrincipal>,
    subject_tokens: Vec<NewSubjectToken>,
    federation_policies: Vec<NewFederationPolicy>,
    faults: Vec<Value>,
}

impl Changes {
    pub(crate) fn apply(self, state: &mut state::State) -> Result<(), ApiError> {
        if let Some(clock) = self.clock {
            clock.apply(state);
        }
        if let Some(quota) = self.quota {
            quota.apply(state)?;
        }
        if let Some(settings) = self.settings {
            settings.apply(state);
        }
        if let Some(permissions) = self.permissions {
            permissions.apply(state);
        }
        if let Some(metadata) = self.host_metadata {
            metadata.apply(state)?;
        }
        if let Some(limit) = self.secret_limit {
            limit.apply(state)?;
        }
        for workspace in self.workspaces {
            workspace.apply(state);
        }
        for user in self.users {
            user.apply(state)?;
        }
        for principal in self.service_principals {
            principal.apply(state);
        }
        for token in self.subject_tokens {
            token.apply(state);
        }
        for policy in self.federation_policies {
            policy.apply(state)?;
        }
        state.faults.add(self.faults).map_err(ApiError::invalid_parameter)
    }
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

fn status_code(status: u16) -> Result<StatusCode, ApiError> {
    StatusCode::from_u16(status)
        .map_err(|_| ApiError::invalid_parameter(format!("status: {status} is not an HTTP status")))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// 0: no limit.
    max_token_lifetime_days: Option<u32>,
    access_token_seconds: Option<u32>,
    list_lag_ms: Option<u32>,
    patch: Option<bool>,
}

impl Settings {
    fn apply(self, state: &mut state::State) -> Value {
        let settings = &mut state.settings;
        if let Some(days) = self.max_token_lifetime_days {
            settings.max_token_lifetime_days = Some(days).filter(|days| *days > 0);
        }
        if let Some(seconds) = self.access_token_seconds {
            settings.access_token_seconds = seconds.into();
        }
        if let Some(lag_ms) = self.list_lag_ms {
            settings.list_lag_ms = lag_ms.into();
        }
        settings.patch = self.patch.unwrap_or(settings.patch);
        json!({})
    }
}

async fn set_settings(State(app): State<Arc<App>>, Payload(new): Payload<Settings>) -> Response {
    ok(&new.apply(&mut app.state()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Permissions {
    tokens_enabled: Option<bool>,
    can_use: Option<bool>,
    on_behalf_of_enabled: Option<bool>,
}

impl Permissions {
    fn apply(self, state: &mut state::State) -> Value {
        let settings = &mut state.settings;
        settings.tokens_enabled = self.tokens_enabled.unwrap_or(settings.tokens_enabled);
        settings.can_use_tokens = self.can_use.unwrap_or(settings.can_use_tokens);
        settings.on_behalf_of_enabled = self.on_behalf_of_enabled.unwrap_or(settings.on_behalf_of_enabled);
        json!({})
    }
}

async fn set_permissions(State(app): State<Arc<App>>, Payload(new): Payload<Permissions>) -> Response {
    ok(&new.apply(&mut app.state()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostMetadata {
    host_type: Option<state::HostType>,
    status: Option<u16>,
    document: Option<Value>,
    login_redirect: Option<bool>,
}

impl HostMetadata {
    /// Replaces all that was set before; what isn't given goes back to its value at the start.
    fn apply(self, state: &mut state::State) -> Result<Value, ApiError> {
        state.host = state::Host {
            host_type: self.host_type.unwrap_or(state::HostType::Workspace),
            metadata_status: status_code(self.status.unwrap_or(200))?,
            document: self.document,
            login_redirect: self.login_redirect.unwrap_or(false),
        };
        Ok(json!({}))
    }
}

async fn set_host_metadata(
    State(app): State<Arc<App>>,
    Payload(new): Payload<HostMetadata>,
) -> Result<Response, ApiError> {
    Ok(ok(&new.apply(&mut app.state())?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWorkspace {
    workspace_id: String,
    deployment_name: Option<String>,
    workspace_url: Option<String>,
    /// Value of a personal access token of the admin in that workspace.
    token: Option<String>,
}

impl NewWorkspace {
    /// Adds a workspace, or gives an existing one another name or URL, or one more initial token.
    fn apply(self, state: &mut state::State) -> Value {
        let now_ms = state.now_ms();
        let admin = state.admin_id();
        let workspace = state.workspaces.entry(self.workspace_id.clone()).or_insert_with(|| {
            WorkspaceState::new(self.workspace_id.clone(), format!("workspace-{}", self.workspace_id), None)
        });
        if let Some(name) = self.deployment_name {
            workspace.deployment_name = name;
        }
        if self.workspace_url.is_some() {
            workspace.workspace_url = self.workspace_url;
        }
        if let Some(value) = self.token {
            workspace.add_initial_token(&value, admin, now_ms);
        }
        json!({})
    }
}

async fn add_workspace(State(app): State<Arc<App>>, Payload(new): Payload<NewWorkspace>) -> Response {
    ok(&new.apply(&mut app.state()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewServicePrincipal {
    application_id: String,
    client_secret: Option<String>,
    display_name: Option<String>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    account_admin: bool,
}

impl NewServicePrincipal {
    /// Adds a service principal; one with the same application id is replaced and keeps its numeric id.
    fn apply(self, state: &mut state::State) -> Value {
        let client_secret = self.client_secret.unwrap_or_else(new_secret_value);
        let id = state.add_principal(Principal {
            id: 0,
            user_name: self.application_id.clone(),
            display_name: self.display_name.unwrap_or_else(|| self.application_id.clone()),
            kind: PrincipalKind::ServicePrincipal { secret_hash: Some(sha256_hex(&client_secret)) },
            admin: self.admin,
            account_admin: self.account_admin,
        });
        json!({"id": id, "application_id": self.application_id, "client_secret": client_secret})
    }
}

async fn add_service_principal(
    State(app): State<Arc<App>>,
    Payload(new): Payload<NewServicePrincipal>,
) -> Response {
    ok(&new.apply(&mut app.state()))
}

/// The path may have the numeric id or the application id.
async fn delete_service_principal(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    let id = service_principal_id(&state, &id)?;
    state.delete_principal(id);
    Ok(ok(&json!({})))
}

/// The numeric id of a service principal that is named by it or by its application id.
fn service_principal_id(state: &state::State, id: &str) -> Result<u64, ApiError> {
    Ok(match state.service_principal_named(id) {
        Some(principal) => principal.id,
        None => state.service_principal(id)?.id,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    user_name: String,
    display_name: Option<String>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    account_admin: bool,
    /// Value of an initial personal access token in the default workspace; generated if not given.
    token: Option<String>,
}

impl NewUser {
    /// Adds a user; one with the same name is replaced and keeps its numeric id and its tokens.
    fn apply(self, state: &mut state::State) -> Result<Value, ApiError> {
        let token = self.token.unwrap_or_else(|| format!("dapi{}", state::random_hex(16)));
        let id = state.add_principal(Principal {
            id: 0,
            user_name: self.user_name.clone(),
            display_name: self.display_name.unwrap_or_else(|| self.user_name.clone()),
            kind: PrincipalKind::User,
            admin: self.admin,
            account_admin: self.account_admin,
        });
        let (now_ms, workspace_id) = (state.now_ms(), state.default_workspace.clone());
        state.workspace_mut(&workspace_id)?.add_initial_token(&token, id, now_ms);
        Ok(json!({"id": id, "user_name": self.user_name, "token": token}))
    }
}

async fn add_user(State(app): State<Arc<App>>, Payload(new): Payload<NewUser>) -> Result<Response, ApiError> {
    Ok(ok(&new.apply(&mut app.state())?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    admin: Option<bool>,
    account_admin: Option<bool>,
}

/// The path may have the numeric id, the user name or the application id.
async fn set_roles(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Payload(new): Payload<Roles>,
) -> Result<Response, ApiError> {
    let mut state = app.state();
    let principal = state
        .principals
        .iter_mut()
        .find(|principal| principal.user_name == id || principal.id.to_string() == id)
        .ok_or_else(|| ApiError::does_not_exist(format!("Principal {id} does not exist.")))?;
    principal.admin = new.admin.unwrap_or(principal.admin);
    principal.account_admin = new.account_admin.unwrap_or(principal.account_admin);
    Ok(ok(&json!({
        "id": principal.id,
        "admin": principal.admin,
        "account_admin": principal.account_admin,
    })))
}

async fn delete_secret(
    State(app): State<Arc<App>>,
    Path(secret_id): Path<String>,
) -> Result<Response, ApiError> {
    app.state()
        .secrets
        .iter_mut()
        .find(|secret| secret.id == secret_id)
        .ok_or_else(|| ApiError::does_not_exist(format!("Secret {secret_id} does not exist.")))?
        .deleted = true;
    Ok(ok(&json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSecretLimit {
    limit: Option<usize>,
    status: Option<u16>,
    error_code: Option<String>,
}

impl NewSecretLimit {
    /// What isn't given stays as it is.
    fn apply(self, state: &mut state::State) -> Result<Value, ApiError> {
        let status = self.status.map(status_code).transpose()?;
        let limit = &mut state.settings.secret_limit;
        limit.limit = self.limit.unwrap_or(limit.limit);
        limit.status = status.unwrap_or(limit.status);
        if let Some(error_code) = self.error_code {
            limit.error_code = error_code;
        }
        Ok(json!({"limit": limit.limit, "status": limit.status.as_u16(), "error_code": limit.error_code}))
    }
}

async fn set_secret_limit(
    State(app): State<Arc<App>>,
    Payload(new): Payload<NewSecretLimit>,
) -> Result<Response, ApiError> {
    Ok(ok(&new.apply(&mut app.state())?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSubjectToken {
    /// Made here, and signed, if not given.
    token: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<String>,
    lifetime_seconds: Option<i64>,
    principal: Option<String>,
}

impl NewSubjectToken {
    fn apply(self, state: &mut state::State) -> Value {
        let value = self.token.unwrap_or_else(|| {
            let now = state.now_ms() / 1000;
            jwt(&json!({
                "iss": self.issuer.as_deref().unwrap_or("https://issuer.example.com"),
                "sub": self.subject.as_deref().unwrap_or("local"),
                "aud": self.audience.as_deref().unwrap_or(&state.account_id),
                "iat": now,
                "exp": now.saturating_add(self.lifetime_seconds.unwrap_or(600)),
                "jti": state::random_hex(16),
            }))
        });
        let audience = self.audience.map_or(Audience::Any, Audience::Exactly);
        let token = SubjectToken { principal: self.principal, audience };
        state.subject_tokens.insert(sha256_hex(&value), token);
        json!({"token": value})
    }
}

async fn add_subject_token(State(app): State<Arc<App>>, Payload(new): Payload<NewSubjectToken>) -> Response {
    ok(&new.apply(&mut app.state()))
}

/// A policy as the account API takes it, and its owner.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFederationPolicy {
    /// Application id or numeric id of a service principal; the account's policy if not given.
    principal: Option<String>,
    policy_id: Option<String>,
    description: Option<String>,
    oidc_policy: Value,
}

impl NewFederationPolicy {
    fn apply(self, state: &mut state::State) -> Result<Value, ApiError> {
        let principal = match &self.principal {
            None => None,
            Some(id) => Some(service_principal_id(state, id)?),
        };
        let mut fields = Map::from_iter([("oidc_policy".to_owned(), self.oidc_policy)]);
        if let Some(description) = self.description {
            fields.insert("description".to_owned(), Value::String(description));
        }
        federation::add(state, principal, self.policy_id, &fields)
    }
}

async fn add_federation_policy(
    State(app): State<Arc<App>>,
    Payload(new): Payload<NewFederationPolicy>,
) -> Result<Response, ApiError> {
    Ok(ok(&new.apply(&mut app.state())?))
}
