//! The web page at `/`, and which web pages may use the control API.
//!
//! Any web page that is open in a browser can send requests to this machine. Those of other origins carry `Origin` or
//! `Sec-Fetch-Site`, and are refused. A page whose name was made to resolve to this machine is of the same origin as far
//! as the browser knows (DNS rebinding), but its requests carry that name as their `Host`, and only addresses and names
//! of this machine are served. The page itself holds a key that no other page can read, and sends it along.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::error::ApiError;
use crate::server::{App, BaseUrl};
use crate::state::random_hex;

const PAGE: &str = include_str!("page.html");
/// The header in which the page sends its key.
const KEY_HEADER: &str = "x-local-workspace-page";

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new().route("/", get(page))
}

async fn page(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refusal) = check_host(&app, &uri, &headers) {
        return refusal.into_response();
    }
    let nonce = random_hex(16);
    let body = PAGE.replace("{{nonce}}", &nonce).replace("{{key}}", &app.page_key);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in
        [("cross-origin-resource-policy", "same-origin"), ("x-content-type-options", "nosniff")]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Lets programs and the page of this workspace use the control API, and no other page.
pub(crate) async fn refuse_web_pages(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let checked =
        check_host(&app, request.uri(), request.headers()).and_then(|()| check_page(&app, &request));
    match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check_page(app: &App, request: &Request) -> Result<(), ApiError> {
    let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    let (origin, site) = (header(ORIGIN.as_str()), header("sec-fetch-site"));
    let base = request.extensions().get::<BaseUrl>();
    // Only browsers send these two headers. A browser that opens an address that its user typed shows the answer to no
    // page.
    let from_page = match (origin, site) {
        (None, None) => return Ok(()),
        (None, Some(b"none")) if request.method() == Method::GET => return Ok(()),
        (None, Some(site)) => site == b"same-origin",
        (Some(origin), _) => base.is_some_and(|base| base.0.as_bytes() == origin),
    };
    if from_page && header(KEY_HEADER) == Some(app.page_key.as_bytes()) {
        return Ok(());
    }
    Err(ApiError::permission_denied("The control API takes no requests from web pages other than its own."))
}

/// Refuses names that anybody could have made to resolve to this machine.
fn check_host(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = host.map_or_else(|| uri.authority().cloned(), |host| host.parse().ok());
    let name = authority.as_ref().map_or("", |authority| authority.host());
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let known = |known: &String| known.eq_ignore_ascii_case(name);
    if address || name.eq_ignore_ascii_case("localhost") || app.options.host_names.iter().any(known) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "PERMISSION_DENIED",
        format!(
            "{name:?} is not a name of this workspace. Use its address, or start it with --host-name {name}."
        ),
    ))
}
