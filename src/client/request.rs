use std::fmt;
use std::time::SystemTime;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde_json::Value as Json;

use super::Repeat;
use crate::context::SPANS;

/// What is encoded in a segment of a path: all but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request to the REST API.
pub(crate) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Json>,
    pub(super) repeat: Repeat,
    /// Secret parts of the request, which no message about it repeats.
    pub(super) secrets: Vec<SecretString>,
    /// Names of JSON fields of the request and its answer that no log shows.
    pub(super) secret_fields: Vec<&'static str>,
    /// What to do about an error, by its code, where only the API that is called knows.
    pub(super) advice: fn(&str) -> Option<&'static str>,
    /// Whether the request goes to the API of the account, which acts on no workspace.
    pub(super) to_account: bool,
}

/// A good answer.
pub(crate) struct Reply<T> {
    pub(crate) body: T,
    /// The workspace that answered, if the answer says so.
    pub(crate) workspace_id: Option<String>,
    /// The time of the answer: by its `Date` header, or by this machine's clock if it has none.
    pub(crate) date: SystemTime,
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>, body: Option<Json>, repeat: Repeat) -> Self {
        let (path, secrets, secret_fields) = (path.into(), Vec::new(), Vec::new());
        Request { method, path, body, repeat, secrets, secret_fields, advice: |_| None, to_account: false }
    }

    /// Sets what to do about errors of this API, by their codes.
    pub(crate) fn advising(mut self, advice: fn(&str) -> Option<&'static str>) -> Self {
        self.advice = advice;
        self
    }

    /// Makes this a request to the account, not to one of its workspaces.
    pub(crate) fn at_account(mut self) -> Self {
        self.to_account = true;
        self
    }

    /// Adds a segment to the path. Whatever the text holds, it stays one segment.
    pub(crate) fn segment(mut self, text: &str) -> Self {
        self.path.push('/');
        self.path.extend(utf8_percent_encode(text, SEGMENT));
        self
    }

    /// Adds fixed text to the path.
    pub(crate) fn then(mut self, path: &'static str) -> Self {
        self.path.push_str(path);
        self
    }

    /// Adds the first parameter of the query.
    pub(crate) fn query(mut self, name: &'static str, value: &str) -> Self {
        self.path.push('?');
        self.path.push_str(name);
        self.path.push('=');
        self.path.extend(utf8_percent_encode(value, SEGMENT));
        self
    }

    /// A span around one attempt to send the request. It lacks the query, which may hold names of people.
    pub(super) fn span(&self, repeated: u64) -> tracing::Span {
        let path = self.path.split('?').next().unwrap_or_default();
        tracing::info_span!(
            target: SPANS,
            "request",
            otel.name = format!("{} {path}", self.method),
            http.request.method = self.method.as_str(),
            url.path = path,
            http.request.resend_count = repeated,
            http.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
        )
    }

    /// Keeps parts of the request out of every message about it.
    pub(crate) fn hiding(mut self, secrets: &[&str]) -> Self {
        self.secrets.extend(secrets.iter().map(|secret| SecretString::from(*secret)));
        self
    }

    /// Keeps the values of JSON fields with these names out of the log, in the request and in its answer.
    pub(crate) fn hiding_fields(mut self, names: &[&'static str]) -> Self {
        self.secret_fields.extend(names);
        self
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_to_the_path_stays_one_segment() {
        let path = |id| Request::new(Method::GET, "/api/x", None, Repeat::Always).segment(id).path;
        assert_eq!(path("ab-12"), "/api/x/ab-12");
        assert_eq!(path("../x?y"), "/api/x/..%2Fx%3Fy");
    }
}
