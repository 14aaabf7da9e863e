//! SCIM: who the caller is, and the users and service principals of the workspace and the account, as far as their
//! credentials need them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Payload, accounts};
use crate::error::{ApiError, json_response};
use crate::server::{App, random_uuid};
use crate::state::{self, Caller, Principal, PrincipalKind};

const SCIM: &str = "application/scim+json";

pub(super) fn router() -> Router<Arc<App>> {
    routes("/api/2.0/preview/scim/v2").route("/api/2.0/preview/scim/v2/Me", get(me))
}

pub(super) fn account_router() -> Router<Arc<App>> {
    routes("/api/2.0/accounts/{account_id}/scim/v2")
}

fn routes(base: &str) -> Router<Arc<App>> {
    Router::new()
        .route(&format!("{base}/Users"), get(list_users).post(create_user))
        .route(&format!("{base}/Users/{{id}}"), get(get_user).delete(delete_user))
        .route(&format!("{base}/ServicePrincipals"), get(list_robots).post(create_robot))
        .route(&format!("{base}/ServicePrincipals/{{id}}"), get(get_robot).delete(delete_robot))
}

/// A refusal in the shape of RFC 7644, or one that comes before SCIM.
#[derive(Debug)]
enum Refusal {
    Scim(StatusCode, Option<&'static str>, String),
    Api(ApiError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, kind, detail) = match self {
            Self::Api(error) => return error.into_response(),
            Self::Scim(status, kind, detail) => (status, kind, detail),
        };
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "detail": detail,
            "status": status.as_u16().to_string(),
        });
        if let Some(kind) = kind {
            body["scimType"] = json!(kind);
        }
        scim(status, &body)
    }
}

fn scim(status: StatusCode, body: &Value) -> Response {
    let mut response = json_response(status, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SCIM));
    response
}

/// One of the two kinds of principals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    User,
    Robot,
}

impl Kind {
    fn fits(self, principal: &Principal) -> bool {
        self == Self::of(principal)
    }

    fn of(principal: &Principal) -> Self {
        match principal.kind {
            PrincipalKind::User => Self::User,
            PrincipalKind::ServicePrincipal { .. } => Self::Robot,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Robot => "Service principal",
        }
    }
}

fn describe(principal: &Principal) -> Value {
    let mut groups = vec![json!({"display": "users", "type": "direct", "value": "1"})];
    if principal.admin {
        groups.push(json!({"display": "admins", "type": "direct", "value": "2"}));
    }
    let mut body = json!({
        "id": principal.id.to_string(),
        "displayName": principal.display_name,
        "active": true,
        "groups": groups,
        "entitlements": [{"value": "workspace-access"}],
    });
    match Kind::of(principal) {
        Kind::User => {
            body["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
            body["userName"] = json!(principal.user_name);
            body["emails"] = json!([{"type": "work", "value": principal.user_name, "primary": true}]);
        }
        Kind::Robot => {
            body["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"]);
            body["applicationId"] = json!(principal.user_name);
        }
    }
    body
}

#[derive(Debug, Deserialize)]
struct Attributes {
    #[serde(default, rename = "excludedAttributes")]
    excluded: String,
}

async fn me(caller: Caller, Query(attributes): Query<Attributes>) -> Response {
    let mut body = describe(&caller.principal);
    // A service principal, too, is shown here as a user.
    body["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
    body["userName"] = json!(caller.principal.user_name);
    if let Value::Object(fields) = &mut body {
        fields.remove("applicationId");
        fields.retain(|name, _| !attributes.excluded.split(',').any(|excluded| excluded.trim() == name));
    }
    scim(StatusCode::OK, &body)
}

/// What a path names. Paths of a workspace have no account.
#[derive(Debug, Deserialize)]
struct Target {
    account_id: Option<String>,
    #[serde(default)]
    id: String,
}

impl Target {
    /// Refuses callers without permission. In a workspace everybody may read and admins may write; in the account, only
    /// account admins may do either.
    fn check(&self, state: &state::State, caller: &Caller, writes: bool) -> Result<(), ApiError> {
        let admin = match &self.account_id {
            Some(account_id) => {
                accounts::check(state, caller, account_id)?;
                caller.principal.account_admin
            }
            None => caller.principal.admin || !writes,
        };
        if admin {
            Ok(())
        } else {
            Err(ApiError::permission_denied("Only admins can manage users and groups."))
        }
    }

    fn find<'a>(&self, state: &'a state::State, kind: Kind) -> Result<&'a Principal, Refusal> {
        let id = self.id.parse().ok();
        id.and_then(|id| state.principal(id)).filter(|principal| kind.fits(principal)).ok_or_else(|| {
            let detail = format!("{} with id {} not found.", kind.noun(), self.id);
            Refusal::Scim(StatusCode::NOT_FOUND, None, detail)
        })
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    filter: Option<String>,
    #[serde(rename = "startIndex")]
    start: Option<usize>,
    count: Option<usize>,
}

/// Reads `attribute eq "value"`, the only filter that is understood here.
fn parse_filter(text: &str) -> Option<(&str, &str)> {
    let (attribute, rest) = text.trim().split_once(' ')?;
    let (operator, value) = rest.trim().split_once(' ')?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    operator.eq_ignore_ascii_case("eq").then_some((attribute, value))
}

fn list(app: &App, target: &Target, caller: &Caller, page: &Page, kind: Kind) -> Result<Response, Refusal> {
    let state = app.state();
    target.check(&state, caller, false)?;
    let all = state.principals.iter().filter(|principal| kind.fits(principal)).map(describe);
    let found: Vec<Value> = match page.filter.as_deref().filter(|filter| !filter.is_empty()) {
        None => all.collect(),
        Some(filter) => {
            let invalid = || {
                let detail =
                    format!("Filter {filter:?} is not understood here, only: attribute eq \"value\"");
                Refusal::Scim(StatusCode::BAD_REQUEST, Some("invalidFilter"), detail)
            };
            let (attribute, value) = parse_filter(filter).ok_or_else(invalid)?;
            let names = ["id", "userName", "applicationId", "displayName"];
            let name = names.iter().find(|name| name.eq_ignore_ascii_case(attribute)).ok_or_else(invalid)?;
            all.filter(|it| it[name].as_str().is_some_and(|it| it.eq_ignore_ascii_case(value))).collect()
        }
    };
    let total = found.len();
    let start = page.start.unwrap_or(1).max(1);
    let shown: Vec<Value> = found.into_iter().skip(start - 1).take(page.count.unwrap_or(100)).collect();
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": shown.len(),
        "Resources": shown,
    });
    Ok(scim(StatusCode::OK, &body))
}

fn get_one(app: &App, target: &Target, caller: &Caller, kind: Kind) -> Result<Response, Refusal> {
    let state = app.state();
    target.check(&state, caller, false)?;
    Ok(scim(StatusCode::OK, &describe(target.find(&state, kind)?)))
}

fn delete(app: &App, target: &Target, caller: &Caller, kind: Kind) -> Result<Response, Refusal> {
    let mut state = app.state();
    target.check(&state, caller, true)?;
    let id = target.find(&state, kind)?.id;
    if id == state.admin_id() {
        return Err(
            ApiError::permission_denied("The first user of this workspace can not be deleted.").into()
        );
    }
    state.delete_principal(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Debug, Deserialize)]
struct NewPrincipal {
    #[serde(rename = "userName")]
    user_name: Option<String>,
    #[serde(rename = "applicationId")]
    application_id: Option<String>,
    #[serde(rename = "displayName")]
    display_name: Option<String>,
}

fn create(
    app: &App,
    target: &Target,
    caller: &Caller,
    new: NewPrincipal,
    kind: Kind,
) -> Result<Response, Refusal> {
    let mut state = app.state();
    target.check(&state, caller, true)?;
    let name = match kind {
        Kind::User => new.user_name.filter(|name| !name.is_empty()).ok_or_else(|| {
            let detail = "userName must be given".to_owned();
            Refusal::Scim(StatusCode::BAD_REQUEST, Some("invalidValue"), detail)
        })?,
        Kind::Robot => new.application_id.unwrap_or_else(random_uuid),
    };
    if state.principals.iter().any(|known| kind.fits(known) && known.user_name == name) {
        let detail = format!("{} {name} already exists in this account.", kind.noun());
        return Err(Refusal::Scim(StatusCode::CONFLICT, Some("uniqueness"), detail));
    }
    let id = state.add_principal(Principal {
        id: 0,
        display_name: new.display_name.unwrap_or_else(|| name.clone()),
        user_name: name,
        kind: match kind {
            Kind::User => PrincipalKind::User,
            Kind::Robot => PrincipalKind::ServicePrincipal { secret_hash: None },
        },
        admin: false,
        account_admin: false,
    });
    let made = Target { account_id: None, id: id.to_string() };
    Ok(scim(StatusCode::CREATED, &describe(made.find(&state, kind)?)))
}

async fn list_users(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Response, Refusal> {
    list(&app, &target, &caller, &page, Kind::User)
}

async fn list_robots(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Response, Refusal> {
    list(&app, &target, &caller, &page, Kind::Robot)
}

async fn get_user(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
) -> Result<Response, Refusal> {
    get_one(&app, &target, &caller, Kind::User)
}

async fn get_robot(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
) -> Result<Response, Refusal> {
    get_one(&app, &target, &caller, Kind::Robot)
}

async fn delete_user(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
) -> Result<Response, Refusal> {
    delete(&app, &target, &caller, Kind::User)
}

async fn delete_robot(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
) -> Result<Response, Refusal> {
    delete(&app, &target, &caller, Kind::Robot)
}

async fn create_user(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
    Payload(new): Payload<NewPrincipal>,
) -> Result<Response, Refusal> {
    create(&app, &target, &caller, new, Kind::User)
}

async fn create_robot(
    State(app): State<Arc<App>>,
    Path(target): Path<Target>,
    caller: Caller,
    Payload(new): Payload<NewPrincipal>,
) -> Result<Response, Refusal> {
    create(&app, &target, &caller, new, Kind::Robot)
}
