use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use databricks_auth::AuthError;
use databricks_auth::transport::{Failure, FailureKind};

use crate::config::{Config, ConfigError, Host};

/// Why a request to Databricks has no good answer. No text holds a credential.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used; nothing was sent.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No credentials could be obtained; nothing was sent.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// No connection to the host could be made; nothing was sent.
    #[error(
        "cannot connect to {host}: {reason}. Check databricks:host (or DATABRICKS_HOST), and that this machine can \
         reach it, through a proxy if it needs one"
    )]
    Unreachable {
        /// The host.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// The host is not who it says it is, as far as this machine knows; nothing was sent.
    #[error(
        "the certificate of {host} is not trusted: {reason}. Where a company's own authority has signed it, add that to \
         the trusted certificates of this machine, or name a file with it in SSL_CERT_FILE"
    )]
    Untrusted {
        /// The host.
        host: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The request was sent, and no complete answer came: it may or may not have been carried out.
    #[error("{request} to {host} got no complete answer: {reason}")]
    Interrupted {
        /// The host.
        host: String,
        /// Method and path.
        request: String,
        /// What went wrong.
        reason: String,
    },
    /// Databricks refused the request.
    #[error("{0}")]
    Api(ApiError),
    /// What answered is not a Databricks API.
    #[error("{request} to {host}: {reason}")]
    NotAnApi {
        /// The host.
        host: String,
        /// Method and path.
        request: String,
        /// What came instead, and what to do about it.
        reason: String,
        /// Whether the request was turned away without being carried out.
        turned_away: bool,
    },
    /// The engine asked to give up before the request was sent.
    #[error("cancelled before {request} was sent")]
    Cancelled {
        /// Method and path.
        request: String,
    },
    /// The resource's own time limit ran out before the request was sent.
    #[error("the resource's timeout (customTimeouts) ran out before {request} was sent")]
    TooLate {
        /// Method and path.
        request: String,
    },
    /// The resource's own time limit ran out while the request was under way.
    #[error("{request} did not finish within the resource's timeout (customTimeouts)")]
    TimedOut {
        /// Method and path.
        request: String,
    },
    /// The time for repeating ran out; the last answer was this.
    #[error("gave up after {} s and {attempts} attempts: {last}", .waited.as_secs())]
    GaveUp {
        /// How long it took.
        waited: Duration,
        /// How often the request was sent.
        attempts: u32,
        /// The last answer.
        last: Box<Error>,
    },
    /// The resource or its provider configuration names a workspace that cannot be used.
    #[error("{0}")]
    Workspace(String),
}

impl Error {
    /// Why a request to a host has no answer. The variant says whether that leaves open if it was carried out.
    pub(crate) fn of_connection(host: &Host, request: &str, failure: Failure) -> Error {
        let (host, request, reason) = (host.url.clone(), request.to_owned(), failure.reason);
        match failure.kind {
            FailureKind::Untrusted => Error::Untrusted { host, reason },
            FailureKind::NotTls => {
                let reason = "the port does not speak TLS, although databricks:host begins with https://. Check the \
                              port, or use http:// if that is meant";
                Error::NotAnApi { host, request, reason: reason.to_owned(), turned_away: true }
            }
            FailureKind::Invalid | FailureKind::Unreachable => Error::Unreachable { host, reason },
            FailureKind::Interrupted => Error::Interrupted { host, request, reason },
        }
    }

    /// The error with every text that came from elsewhere passed through `map`.
    pub(super) fn map_texts(mut self, map: impl Fn(&str) -> String) -> Error {
        match &mut self {
            Error::Api(ApiError { code, message, request_id, .. }) => {
                *code = map(code);
                *message = map(message);
                *request_id = request_id.as_deref().map(|id| map(id).into());
            }
            Error::Unreachable { reason, .. }
            | Error::Untrusted { reason, .. }
            | Error::Interrupted { reason, .. }
            | Error::NotAnApi { reason, .. } => *reason = map(reason),
            Error::Config(_)
            | Error::Auth(_)
            | Error::Cancelled { .. }
            | Error::TooLate { .. }
            | Error::TimedOut { .. }
            | Error::GaveUp { .. }
            | Error::Workspace(_) => {}
        }
        self
    }

    /// Whether the credentials of the request were refused while others may be accepted: these may have expired before
    /// their time, or have been revoked. Nothing was carried out.
    pub(super) fn wants_other_credentials(&self) -> bool {
        matches!(self, Error::Api(api) if api.status == 401 || api.refuses_token())
    }

    /// Whether the same question may well be answered a moment later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Error::Api(api) => api.status >= 500 || api.is_transient(),
            Error::Interrupted { .. } => true,
            _ => false,
        }
    }

    /// How long the workspace asks to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Api(api) => api.retry_after,
            _ => None,
        }
    }

    /// Whether nobody can sign in with the configured credentials: they cannot be used, or Databricks does not know
    /// them.
    pub(super) fn refuses_credentials(&self) -> bool {
        match self {
            Error::Config(_) | Error::Auth(_) => true,
            // Where the token is refused, the code is the status; other refusals are about what the token may do.
            Error::Api(api) => api.status == 401 || api.status == 403 && api.code == "403",
            _ => false,
        }
    }

    /// Whether it is certain that the request was not carried out.
    pub fn did_not_run(&self) -> bool {
        match self {
            Error::Config(_)
            | Error::Auth(_)
            | Error::Unreachable { .. }
            | Error::Untrusted { .. }
            | Error::Cancelled { .. }
            | Error::TooLate { .. }
            | Error::Workspace(_) => true,
            Error::Interrupted { .. } | Error::TimedOut { .. } => false,
            Error::Api(error) => error.did_not_run(),
            Error::NotAnApi { turned_away, .. } => *turned_away,
            Error::GaveUp { last, .. } => last.did_not_run(),
        }
    }
}

/// An answer with an error status.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// Method and path.
    pub request: Box<str>,
    /// HTTP status.
    pub status: u16,
    /// Databricks' code, such as `RESOURCE_DOES_NOT_EXIST`; empty if there is none.
    pub code: String,
    /// Databricks' message, in full.
    pub message: String,
    /// Databricks' id of the request, for which its support asks.
    pub request_id: Option<Box<str>>,
    /// Whether the body is an error of Databricks rather than of something in between.
    pub structured: bool,
    /// How long to wait before asking again.
    pub retry_after: Option<Duration>,
    /// What to do about the error, if the API that was called knows.
    pub advice: Option<&'static str>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = shortened(&self.message);
        write!(f, "{} ({}", message.trim_end_matches('.'), self.status)?;
        // Where the token is refused, the code is the status.
        if !self.code.is_empty() && self.code != self.status.to_string() {
            write!(f, " {}", shortened(&self.code))?;
        }
        write!(f, " from {}", self.request)?;
        if let Some(id) = &self.request_id {
            write!(f, ", request id {}", shortened(id))?;
        }
        write!(f, ")")?;
        if let Some(hint) = self.hint() {
            write!(f, ". {hint}")?;
        }
        Ok(())
    }
}

/// What an error is about. Databricks' code decides before the status does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    NotFound,
    TooManyRequests,
    Other,
}

/// A quota frees up when something is deleted, not by waiting.
const QUOTA: &str = "QUOTA_EXCEEDED";

/// Messages of temporary failures that have no code of their own, as the Databricks SDKs know them.
const TRANSIENT_MESSAGES: &[&str] = &[
    "REQUEST_LIMIT_EXCEEDED",
    "com.databricks.backend.manager.util.UnknownWorkerEnvironmentException",
    "does not have any associated worker environments",
    "There is no worker environment with id",
    "Unknown worker environment",
    "ClusterNotReadyException",
    "Timed out after ",
    "deadline exceeded",
];

impl ApiError {
    fn class(&self) -> Class {
        // The code of an error that is not Databricks' own is made up, and decides nothing.
        match if self.structured { self.code.as_str() } else { "" } {
            "RESOURCE_DOES_NOT_EXIST" => return Class::NotFound,
            "RESOURCE_EXHAUSTED" | "REQUEST_LIMIT_EXCEEDED" => return Class::TooManyRequests,
            "INVALID_STATE"
            | "INVALID_PARAMETER_VALUE"
            | "ABORTED"
            | "ALREADY_EXISTS"
            | "RESOURCE_ALREADY_EXISTS"
            | "UNKNOWN"
            | "DATA_LOSS"
            | QUOTA => return Class::Other,
            _ => {}
        }
        match self.status {
            404 => Class::NotFound,
            429 => Class::TooManyRequests,
            _ => Class::Other,
        }
    }

    /// Whether Databricks says that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        self.class() == Class::NotFound
    }

    /// Whether asking again later may help.
    pub fn is_transient(&self) -> bool {
        let message = &self.message;
        let worker =
            || message.split_once("worker env ").is_some_and(|(_, rest)| rest.contains(" not found"));
        self.code != QUOTA
            && (self.class() == Class::TooManyRequests
                || self.status == 503
                || TRANSIENT_MESSAGES.iter().any(|text| message.contains(text))
                || worker())
    }

    /// Whether it is certain that the request was not carried out: it was refused, or Databricks itself turned it away
    /// because it is too busy. A 408 and any other 5xx leave that open.
    pub fn did_not_run(&self) -> bool {
        match self.status {
            400..=499 => self.status != 408,
            503 => self.structured,
            _ => self.class() == Class::TooManyRequests && self.structured,
        }
    }

    /// Whether a 403 is about the token that the request was signed with, and not about what it may do. Databricks then
    /// gives the status as the code, or says that the token has expired.
    fn refuses_token(&self) -> bool {
        self.structured
            && self.status == 403
            && (self.code == "403" || self.message.contains("Token is expir"))
    }

    /// What to do where the provider's own access token was requested with too few scopes.
    pub(super) fn of_narrow_scopes(&self, config: &Config) -> Option<&'static str> {
        let is_narrow = !config.attributes.scopes.is_empty();
        (self.status == 403 && is_narrow && self.message.contains("scope")).then_some(
            "The provider signs in with the scopes of databricks:scopes only: add `authentication`, which managing \
             credentials requires, or leave databricks:scopes out",
        )
    }

    fn hint(&self) -> Option<&'static str> {
        if self.advice.is_some() {
            return self.advice;
        }
        match (self.status, self.code.as_str()) {
            (401, _) => Some("The credentials were not accepted; check how the provider signs in"),
            (403, _) if self.message.contains("Invalid access token") || self.refuses_token() => Some(
                "The token that the provider signs in with is wrong, expired, revoked or of another workspace; set a \
                 new one with `pulumi config set --secret databricks:token`",
            ),
            (403, _) => Some("The credentials are known but may not do this; ask an admin of the workspace"),
            _ => None,
        }
    }

    /// Reads the body of an answer with an error status, in any form that Databricks or a proxy before it uses.
    pub(crate) fn parse(
        request: String,
        status: u16,
        reason: &str,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Self {
        let text = String::from_utf8_lossy(body);
        let (code, message, structured) = parse_body(&text, reason);
        ApiError {
            request: request.into(),
            status,
            code,
            message,
            request_id: request_id(&text),
            structured,
            retry_after,
            advice: None,
        }
    }
}

/// The id in the details of an error body, among other kinds of details.
fn request_id(text: &str) -> Option<Box<str>> {
    let body: Json = serde_json::from_str(text).ok()?;
    let about = body["details"].as_array()?.iter().find(|detail| detail["@type"] == REQUEST_INFO)?;
    about["request_id"].as_str().filter(|id| !id.is_empty()).map(Box::from)
}

const REQUEST_INFO: &str = "type.googleapis.com/google.rpc.RequestInfo";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    error_code: Json,
    message: Option<Json>,
    error: Option<Json>,
    detail: Option<String>,
    status: Json,
    #[serde(rename = "scimType")]
    scim_type: Option<String>,
}

/// Code, message, and whether the body is one of Databricks' own.
fn parse_body(text: &str, reason: &str) -> (String, String, bool) {
    if text.trim().is_empty() {
        return (String::new(), reason.to_owned(), false);
    }
    if let Ok(body) = serde_json::from_str::<Body>(text) {
        let shown = |json: &Json| match json {
            Json::Null => String::new(),
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        let code = shown(&body.error_code);
        let error = body.error.as_ref().map(shown).filter(|error| !error.is_empty());
        let message =
            error.or_else(|| body.message.as_ref().map(shown)).filter(|message| !message.is_empty());
        if let (None, Some(detail)) = (&message, &body.detail) {
            let detail = if detail == "null" { "SCIM API Internal Error" } else { detail };
            let message = format!("{} {detail}", body.scim_type.unwrap_or_default());
            return (format!("SCIM_{}", shown(&body.status)), message.trim().to_owned(), true);
        }
        let structured = message.is_some() || !code.is_empty();
        return (code, message.unwrap_or_else(|| reason.to_owned()), structured);
    }
    if let Some((code, message)) = text.split_once(": ")
        && !code.is_empty()
        && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    {
        return (code.to_owned(), message.trim_end().to_owned(), true);
    }
    if let Some((_, rest)) = text.split_once("<pre>")
        && let Some((message, _)) = rest.split_once("</pre>")
    {
        let message = message.trim_matches([' ', '.', '\n', '\r', '\t']).to_owned();
        return (reason.to_uppercase().replace(' ', "_"), message, false);
    }
    if text.trim_start().starts_with('<') {
        return ("UNKNOWN".to_owned(), format!("{reason}, as an HTML page"), false);
    }
    ("UNKNOWN".to_owned(), text.trim().to_owned(), false)
}

/// Longest part of a foreign text that an error repeats, in characters.
const LONGEST: usize = 500;

/// A foreign text, cut where it gets long. This is done only when it is shown, after credentials have been hidden: half
/// a credential would not be recognised as one.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(status: u16, body: &str) -> ApiError {
        ApiError::parse("GET /x".into(), status, "Forbidden", body.as_bytes(), None)
    }

    #[test]
    fn every_known_form_of_error_body_is_read() {
        for (body, code, message) in [
            ("", "", "Forbidden"),
            (r#"{"error_code":"NOT_FOUND","message":"m","details":[]}"#, "NOT_FOUND", "m"),
            (r#"{"error_code":403,"message":"Invalid access token."}"#, "403", "Invalid access token."),
            (r#"{"message":"m"}"#, "", "m"),
            (r#"{"error":"e","message":"m"}"#, "", "e"),
            (r#"{"detail":"d","status":"409","scimType":"t"}"#, "SCIM_409", "t d"),
            (r#"{"detail":"null","status":500}"#, "SCIM_500", "SCIM API Internal Error"),
            ("MALFORMED_REQUEST: vpc", "MALFORMED_REQUEST", "vpc"),
            ("<html><pre>    Invalid access token.</pre>", "FORBIDDEN", "Invalid access token"),
            ("<html>busy</html>", "UNKNOWN", "Forbidden, as an HTML page"),
            ("oops", "UNKNOWN", "oops"),
            ("{", "UNKNOWN", "{"),
        ] {
            let error = parse(403, body);
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, message), "{body}");
        }
    }

    #[test]
    fn the_code_decides_before_the_status() {
        assert!(parse(429, "{}").is_transient());
        assert!(!parse(429, r#"{"error_code":"INVALID_STATE"}"#).is_transient());
        assert!(!parse(429, r#"{"error_code":"QUOTA_EXCEEDED"}"#).is_transient());
        assert!(parse(400, r#"{"error_code":"REQUEST_LIMIT_EXCEEDED"}"#).is_transient());
        assert!(parse(400, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST"}"#).is_not_found());
        assert!(!parse(500, "").is_transient());
    }

    #[test]
    fn what_may_pass_is_what_the_sdk_for_go_sends_again() {
        let html = "<html>busy</html>";
        let code = |code: &str| format!(r#"{{"error_code":"{code}","message":"m"}}"#);
        let message = |message: &str| format!(r#"{{"error_code":"X","message":"a {message} z"}}"#);
        for (status, body) in [
            (429, String::new()),
            (429, html.to_owned()),
            (429, "busy".to_owned()),
            (429, code("TEMPORARILY_UNAVAILABLE")),
            (503, String::new()),
            (503, html.to_owned()),
            (503, code("UNKNOWN")),
            (503, code("INVALID_STATE")),
            (400, code("RESOURCE_EXHAUSTED")),
            (500, code("REQUEST_LIMIT_EXCEEDED")),
            (500, message("REQUEST_LIMIT_EXCEEDED")),
            (400, message("com.databricks.backend.manager.util.UnknownWorkerEnvironmentException")),
            (400, message("does not have any associated worker environments")),
            (400, message("There is no worker environment with id")),
            (400, message("Unknown worker environment")),
            (400, message("ClusterNotReadyException")),
            (400, message("worker env WorkerEnvId(1) not found")),
            (400, message("Timed out after 1 s")),
            (504, message("deadline exceeded")),
        ] {
            assert!(parse(status, &body).is_transient(), "{status} {body}");
        }
        for (status, body) in [
            (429, code("INVALID_STATE")),
            (429, code("UNKNOWN")),
            (429, code("QUOTA_EXCEEDED")),
            (503, code("QUOTA_EXCEEDED")),
            (400, code("QUOTA_EXCEEDED")),
            (400, message("not found worker env")),
            (403, html.to_owned()),
        ] {
            assert!(!parse(status, &body).is_transient(), "{status} {body}");
        }
        for status in [400, 401, 403, 404, 409, 500, 501, 502, 504] {
            assert!(!parse(status, "").is_transient(), "{status}");
        }
    }

    #[test]
    fn a_code_that_is_the_status_is_said_once() {
        let error = parse(403, r#"{"error_code":403,"message":"Invalid access token."}"#).to_string();
        assert!(error.starts_with("Invalid access token (403 from "), "{error}");
        let error = parse(403, r#"{"error_code":"PERMISSION_DENIED","message":"m"}"#).to_string();
        assert!(error.starts_with("m (403 PERMISSION_DENIED from "), "{error}");
    }

    #[test]
    fn an_error_names_the_request_where_databricks_does() {
        let info = r#"{"@type":"type.googleapis.com/google.rpc.RequestInfo","request_id":"r-1"}"#;
        for (details, id) in [
            (format!("[{info}]"), Some("r-1")),
            (format!(r#"[7,{{"@type":"x","request_id":"other"}},{info}]"#), Some("r-1")),
            (info.replace("r-1", ""), None),
            (format!("[{}]", info.replace("r-1", "")), None),
            (format!("[{}]", info.replace(r#""r-1""#, "1")), None),
            ("[]".to_owned(), None),
            ("null".to_owned(), None),
        ] {
            let error = parse(400, &format!(r#"{{"error_code":"X","message":"m","details":{details}}}"#));
            assert_eq!(error.request_id.as_deref(), id, "{details}");
            let end = id.map_or("GET /x)".to_owned(), |id| format!("GET /x, request id {id})"));
            assert_eq!(error.to_string(), format!("m (400 X from {end}"));
        }
    }

    #[test]
    fn an_error_says_what_to_do_where_that_is_known() {
        for (status, body, advice) in [
            (401, r#"{"message":"m"}"#, Some("check how the provider signs in")),
            (403, r#"{"error_code":403,"message":"Invalid access token."}"#, Some("pulumi config set")),
            (403, r#"{"error_code":"PERMISSION_DENIED","message":"m"}"#, Some("ask an admin")),
            (400, r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"m"}"#, None),
            (500, "", None),
        ] {
            let error = parse(status, body).to_string();
            assert_eq!(
                error.split_once("GET /x)").map(|(_, advice)| advice.is_empty()),
                Some(advice.is_none())
            );
            assert!(advice.is_none_or(|advice| error.contains(advice)), "{error}");
        }
    }

    #[test]
    fn only_a_refusal_proves_that_nothing_ran() {
        assert!(parse(400, "").did_not_run());
        assert!(parse(429, "").did_not_run());
        assert!(parse(503, r#"{"error_code":"TEMPORARILY_UNAVAILABLE","message":"m"}"#).did_not_run());
        for status in [408, 500, 502, 503, 504] {
            assert!(!parse(status, "<html>").did_not_run(), "{status}");
        }
    }
}
