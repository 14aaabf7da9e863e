//! What `pulumi up --logtostderr --logflow -v=3` shows of requests and answers: enough to find a fault, and never a
//! credential.

use std::time::Instant;

use databricks_auth::redact::{HIDDEN, Redactor};
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use serde_json::{Map, Value as Json};

use super::Request;
use crate::config::Config;

/// Bytes of a text that are shown where the configuration does not say: as many as Databricks' own tools show.
const TEXT_BYTES: usize = 96;
/// Items of a list that are shown.
const LIST_ITEMS: usize = 20;

/// Properties of requests and answers that are never shown. A request can add to them. A comment may be secret in the
/// program that set it.
const SECRET_PROPERTIES: &[&str] = &[
    "access_token",
    "comment",
    "content",
    "id_token",
    "password",
    "refresh_token",
    "string_value",
    "token",
    "token_value",
];
/// Headers that are never shown, besides `X-Databricks-…-Token`.
const SECRET_HEADERS: &[&str] = &["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// Writes one request and its answer to the log.
pub(super) struct DebugLog<'a> {
    redactor: &'a Redactor,
    secrets: &'a [SecretString],
    secret_fields: &'a [&'static str],
    headers: bool,
    text_bytes: usize,
    started: Instant,
}

impl<'a> DebugLog<'a> {
    /// `None` where nobody reads the log, so that it costs nothing. `secrets` are those of this request, and
    /// `secret_fields` the names of its secret JSON fields.
    pub(super) fn new(
        config: &Config,
        redactor: &'a Redactor,
        secrets: &'a [SecretString],
        secret_fields: &'a [&'static str],
    ) -> Option<Self> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        let stated = usize::try_from(config.attributes.debug_truncate_bytes).ok().filter(|bytes| *bytes > 0);
        Some(DebugLog {
            redactor,
            secrets,
            secret_fields,
            headers: config.attributes.debug_headers,
            text_bytes: stated.unwrap_or(TEXT_BYTES),
            started: Instant::now(),
        })
    }

    pub(super) fn request(&self, request: &Request, headers: &HeaderMap) {
        let body = request.body.as_ref().map(|body| self.json(body).to_string()).unwrap_or_default();
        let headers = self.headers(headers);
        tracing::debug!(method = %request.method, path = self.hide(&request.path), headers, body, "request");
    }

    pub(super) fn answer(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        let shown = match serde_json::from_slice::<Json>(body) {
            Ok(json) => self.json(&json).to_string(),
            Err(_) if body.is_empty() => String::new(),
            Err(_) => {
                let kind = headers.get("content-type").and_then(|value| value.to_str().ok());
                format!("{}, {} bytes", kind.unwrap_or("of no stated type"), body.len())
            }
        };
        let (headers, elapsed) = (self.headers(headers), self.started.elapsed());
        tracing::debug!(status = status.as_u16(), ?elapsed, headers, body = shown, "answer");
    }

    /// The headers, if the configuration asks for them.
    fn headers(&self, headers: &HeaderMap) -> String {
        if !self.headers {
            return String::new();
        }
        let show = |name: &str, value: &HeaderValue| {
            let databricks = name.starts_with("x-databricks-") && name.ends_with("-token");
            if value.is_sensitive() || databricks || SECRET_HEADERS.contains(&name) {
                return HIDDEN.to_owned();
            }
            self.text(&String::from_utf8_lossy(value.as_bytes()))
        };
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", show(name.as_str(), value))).collect();
        headers.join("; ")
    }

    fn json(&self, value: &Json) -> Json {
        match value {
            Json::Object(object) => {
                let property = |(name, value): (&String, &Json)| {
                    let name_is_secret =
                        SECRET_PROPERTIES.iter().chain(self.secret_fields).any(|it| it == name);
                    let secret = name_is_secret && !value.is_null();
                    (self.hide(name), if secret { HIDDEN.into() } else { self.json(value) })
                };
                Json::Object(object.iter().map(property).collect::<Map<_, _>>())
            }
            Json::Array(items) => {
                let mut shown: Vec<_> = items.iter().take(LIST_ITEMS).map(|item| self.json(item)).collect();
                if items.len() > LIST_ITEMS {
                    shown.push(format!("... ({} more items)", items.len() - LIST_ITEMS).into());
                }
                Json::Array(shown)
            }
            Json::String(text) => self.text(text).into(),
            Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        }
    }

    fn hide(&self, text: &str) -> String {
        self.redactor.hide(text, self.secrets)
    }

    /// A text without credentials. They are hidden before it is shortened, since a part of one would not be recognised.
    fn text(&self, text: &str) -> String {
        let text = self.hide(text);
        if text.len() <= self.text_bytes {
            return text;
        }
        let end = (0..=self.text_bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let shown = &text[..end];
        format!("{shown}... ({} more bytes)", text.len() - shown.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::client::testing::{self, Answer, Clock, Server};
    use crate::client::{Client, Repeat};
    use crate::env::Env;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log at this level says about a POST that gets this answer.
    async fn log(level: tracing::Level, more: &[(&str, &str)], body: Json, answer: Answer) -> String {
        let server = Server::start(move |seen, _| match seen.path.as_str() {
            "/.well-known/databricks-config" => Answer::status(404),
            _ => answer.clone(),
        })
        .await;
        let output = Output::default();
        let writer = output.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let stated = [&[("host", server.url.as_str()), ("token", "pat-in-config")], more].concat();
        let stated = stated.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let mut config = crate::config::resolve(&stated, &Env::default()).unwrap();
        config.attributes.skip_verify = true;
        let clock = Arc::new(Clock::hasty());
        let context = testing::context(clock.clone());
        let request = Request::new(Method::POST, "/api/2.0/x", Some(body), Repeat::IfItDidNotRun);
        let request = request.hiding(&["secret-of-request"]).hiding_fields(&["client_key"]);
        let _ = Client::new(config, Env::default(), clock).send::<Json>(&context, &request).await;
        String::from_utf8(output.0.lock().unwrap().clone()).unwrap()
    }

    const DEBUG: tracing::Level = tracing::Level::DEBUG;

    #[tokio::test]
    async fn requests_and_answers_are_shown_without_credentials() {
        let body =
            json!({ "comment": "hidden-comment", "note": "is secret-of-request", "lifetime_seconds": 60 });
        let answer = Answer::json(json!({
            "token_value": "hidden-token",
            "token_info": { "token_id": "id-1", "deep": [{ "password": "hidden-password" }] },
            "echo": "you sent pat-in-config",
            "pat-in-config": 1,
            "token": null,
            "client_key": "hidden-key",
        }));
        let log = log(DEBUG, &[], body, answer).await;
        for shown in [
            "method=POST path=\"/api/2.0/x\"",
            r#"\"lifetime_seconds\":60"#,
            r#"\"note\":\"is ***\""#,
            r#"\"comment\":\"***\""#,
            "status=200",
            r#"\"token_id\":\"id-1\""#,
            r#"\"token_value\":\"***\""#,
            r#"\"password\":\"***\""#,
            r#"\"echo\":\"you sent ***\""#,
            r#"\"***\":1"#,
            r#"\"token\":null"#,
            r#"\"client_key\":\"***\""#,
        ] {
            assert!(log.contains(shown), "{shown} is not in {log}");
        }
        for hidden in ["hidden-", "pat-in-config", "secret-of-request", "user-agent"] {
            assert!(!log.contains(hidden), "{hidden} is in {log}");
        }
    }

    #[tokio::test]
    async fn headers_are_shown_on_demand_and_credentials_never() {
        let answer = Answer::json("{}")
            .with_header("X-Databricks-Azure-SP-Management-Token", "hidden-header")
            .with_header("Set-Cookie", "hidden-cookie")
            .with_header("X-Request-Id", "request-1");
        let log = log(DEBUG, &[("debugHeaders", "true")], json!({}), answer).await;
        for shown in [
            "authorization: ***",
            "user-agent: pulumi-resource-databricks/",
            "x-databricks-azure-sp-management-token: ***",
            "set-cookie: ***",
            "x-request-id: request-1",
        ] {
            assert!(log.contains(shown), "{shown} is not in {log}");
        }
        assert!(!log.contains("hidden-") && !log.contains("pat-in-config"), "{log}");
    }

    #[tokio::test]
    async fn long_texts_and_lists_are_shortened() {
        let body = json!({ "text": "ü".repeat(60), "list": vec![1; 25] });
        let log = log(DEBUG, &[("debugTruncateBytes", "11")], body, Answer::json("{}")).await;
        assert!(log.contains("üüüüü... (110 more bytes)"), "{log}");
        assert!(log.contains("1,1,\\\"... (5 more items)\\\"]"), "{log}");
    }

    #[tokio::test]
    async fn other_bodies_are_described_by_kind_and_length() {
        let page = Answer { body: "<html>hidden-page</html>".into(), ..Answer::status(403) };
        let log = log(DEBUG, &[], json!({}), page.with_header("Content-Type", "text/html")).await;
        assert!(log.contains("body=\"text/html, 24 bytes\""), "{log}");
        assert!(!log.contains("hidden-page"), "{log}");
    }

    #[tokio::test]
    async fn nothing_is_written_at_other_levels() {
        let log = log(tracing::Level::INFO, &[], json!({}), Answer::json("{}")).await;
        assert_eq!(log, "");
    }
}
