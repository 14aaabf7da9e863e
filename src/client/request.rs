use std::fmt;
use std::time::SystemTime;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde_json::Value as Json;

use super::Repeat;

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
}

/// A good answer.
pub(crate) struct Reply<T> {
    pub(crate) body: T,
    /// Workspace that answered, if it said so.
    pub(crate) workspace_id: Option<String>,
    /// What time it was for the one who answered.
    pub(crate) date: SystemTime,
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>, body: Option<Json>, repeat: Repeat) -> Self {
        Request { method, path: path.into(), body, repeat, secrets: Vec::new(), secret_fields: Vec::new() }
    }

    /// Adds a segment to the path. Whatever the text holds, it stays one segment.
    #[allow(dead_code, reason = "for calls whose path holds an id")]
    pub(crate) fn segment(mut self, text: &str) -> Self {
        self.path.push('/');
        self.path.extend(utf8_percent_encode(text, SEGMENT));
        self
    }

    /// Keeps a part of the request out of every message about it.
    pub(crate) fn hiding(mut self, secret: Option<&str>) -> Self {
        self.secrets.extend(secret.map(SecretString::from));
        self
    }

    /// Keeps the values of JSON fields with these names out of the log, in the request and in its answer.
    #[allow(dead_code, reason = "for calls whose secrets have names of their own")]
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
