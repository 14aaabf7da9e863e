//! Requests to token endpoints: sent again while the endpoint is busy, read with care, and never quoted in errors.

use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::HeaderMap;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::backoff::{Backoff, UNREACHABLE_TIMEOUT, retry_after};
use crate::error::AuthError;
use crate::redact::Redactor;
use crate::redirect::known_redirect;
use crate::settings::Settings;
use crate::token_cache::Token;
use crate::transport::{FailureKind, Request, authorization, credentials_in};

/// How long to keep requesting a token, over all attempts.
const TOKEN_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a token endpoint gave no token.
pub(crate) struct Refusal {
    /// HTTP status; `None` where no answer came.
    pub(crate) status: Option<u16>,
    /// What the endpoint says, in RFC 6749's or another form; without anything that was sent.
    pub(crate) reason: String,
}

/// A token as in RFC 6749, or from services that say until when it lasts rather than how long.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    access_token: SecretString,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    pub(crate) expires_in: Seconds,
    /// In seconds since 1970.
    #[serde(default)]
    expires_on: Seconds,
}

impl TokenAnswer {
    /// The token that the request `what` got just now. Where the answer says both how long it lasts and until when, the
    /// former counts, since clocks differ.
    pub(crate) fn token(self, what: &str, settings: &Settings) -> Result<Token, AuthError> {
        let expires = match (self.expires_in, self.expires_on) {
            (Seconds(0), Seconds(0)) => None,
            (Seconds(0), end) => Some(SystemTime::UNIX_EPOCH + end.duration()),
            (lifetime, _) => Some(settings.clock.now() + lifetime.duration()),
        };
        Token::new(what, self.access_token, &self.token_type, expires)
    }
}

/// Seconds: a number, or the text of one, as some services send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u64);

impl Seconds {
    pub(crate) fn duration(self) -> Duration {
        // Two centuries are as good as forever, and can be added to any date.
        Duration::from_secs(self.0.min(200 * 365 * 24 * 60 * 60))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Whole(u64),
            Text(String),
        }
        Ok(Seconds(match Option::<Form>::deserialize(deserializer)? {
            None => 0,
            Some(Form::Whole(seconds)) => seconds,
            Some(Form::Text(text)) if text.is_empty() => 0,
            Some(Form::Text(text)) => text.parse().map_err(serde::de::Error::custom)?,
        }))
    }
}

/// A form body. It may hold a credential, so it is wiped after use.
pub(crate) fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    // Room for the longest encoding, since text that grows leaves copies behind.
    let room = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
    Zeroizing::new(form.extend_pairs(fields).finish())
}

/// Client credentials in a header: RFC 6749 requires each to be encoded as in a form before a colon joins them.
pub(crate) fn client_authorization(id: &str, secret: &str) -> Result<HeaderMap, AuthError> {
    let encoded =
        |text: &str| Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
    let pair = Zeroizing::new(format!("{}:{}", *encoded(id), *encoded(secret)));
    authorization("Basic", &Zeroizing::new(BASE64_STANDARD.encode(&*pair)))
}

/// A POST of a form.
pub(crate) fn post_form(settings: &Settings, url: &str, form: &Zeroizing<String>) -> Request {
    settings.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(form.to_string())
}

/// Sends a request, made anew for each attempt, and reads the JSON of a successful answer.
///
/// `what` names it in errors, such as `token request to https://…/oidc/v1/token`.
pub(crate) async fn send<T: DeserializeOwned>(
    settings: &Settings,
    what: &str,
    request: impl Fn() -> Request,
) -> Result<T, AuthError> {
    try_send(settings, what, request).await.map_err(|refusal| AuthError(refusal.reason))
}

/// Like [`send`], for a caller that decides by the status.
pub(crate) async fn try_send<T: DeserializeOwned>(
    settings: &Settings,
    what: &str,
    request: impl Fn() -> Request,
) -> Result<T, Refusal> {
    let mut backoff = Backoff::brisk(settings.clock.now());
    loop {
        let (refusal, again) = match once(settings, what, request()).await {
            Ok(body) => {
                return serde_json::from_slice(&body).map_err(|error| Refusal {
                    status: Some(200),
                    reason: format!(
                        "{what}: the answer has an unexpected form (line {}, column {})",
                        error.line(),
                        error.column()
                    ),
                });
            }
            Err(failure) => failure,
        };
        let Some(Again { asked, within }) = again else { return Err(refusal) };
        let Some(wait) = backoff.next(settings.clock.now(), within, None, asked) else {
            return Err(refusal);
        };
        tracing::debug!(what, ?wait, "asking a token endpoint again");
        settings.clock.sleep(wait).await;
    }
}

/// How to try again after a failure that may pass.
struct Again {
    /// How long the endpoint asks to wait.
    asked: Option<Duration>,
    /// How long it is worth trying in all.
    within: Duration,
}

/// One attempt.
async fn once(
    settings: &Settings,
    what: &str,
    request: Request,
) -> Result<Zeroizing<Vec<u8>>, (Refusal, Option<Again>)> {
    let again = |asked, within| Some(Again { asked, within });
    let mut secrets = Vec::new();
    let sent = match request.header("accept", "application/json").ready() {
        Ok(request) => {
            // An answer may echo what was sent.
            secrets =
                [credentials_in(request.headers()), secrets_in(request.body().unwrap_or_default())].concat();
            request.send().await
        }
        Err(failure) => Err(failure),
    };
    let response = sent.map_err(|failure| {
        let again = match failure.kind {
            FailureKind::Invalid | FailureKind::Untrusted | FailureKind::NotTls => None,
            FailureKind::Unreachable => again(None, UNREACHABLE_TIMEOUT),
            FailureKind::Interrupted => again(None, TOKEN_REQUEST_TIMEOUT),
        };
        (Refusal { status: None, reason: format!("{what}: {failure}") }, again)
    })?;
    let status = response.status();
    tracing::debug!(what, status = status.as_u16(), "answer of a token endpoint");
    if status.is_redirection() {
        // The target is not quoted, since it may echo what was sent.
        let why = known_redirect(settings.metadata.cloud, response.header("location").unwrap_or_default())
            .unwrap_or_else(|| "redirected, which is not followed".to_owned());
        return Err((Refusal { status: Some(status.as_u16()), reason: format!("{what}: {why}") }, None));
    }
    let asked = retry_after(response.headers(), settings.clock.now());
    let body = response.body().await.map_err(|reason| {
        (Refusal { status: None, reason: format!("{what}: {reason}") }, again(None, TOKEN_REQUEST_TIMEOUT))
    })?;
    if status.is_success() {
        return Ok(body);
    }
    // A second token does no harm, so a request that the endpoint cannot serve just now may be repeated.
    let again = if matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504) {
        again(asked, TOKEN_REQUEST_TIMEOUT)
    } else {
        None
    };
    let reason = format!("{what}: {} {}", status.as_u16(), describe(&body));
    let reason = Redactor::of(&settings.config).hide(&reason, &secrets);
    Err((Refusal { status: Some(status.as_u16()), reason }, again))
}

/// Fields of token requests that are not secret; every other field is.
const PUBLIC: &[&str] = &[
    "assume_group",
    "audience",
    "client_assertion_type",
    "client_id",
    "grant_type",
    "lifetime",
    "resource",
    "scope",
    "subject_token_type",
];

/// The secrets in the body of a token request, which is a form or JSON.
fn secrets_in(body: &[u8]) -> Vec<SecretString> {
    let mut secrets = Vec::new();
    match serde_json::from_slice::<Json>(body) {
        Ok(json) => add_secrets(&json, &mut secrets),
        Err(_) => {
            let fields = form_urlencoded::parse(body);
            secrets.extend(
                fields.filter(|(name, _)| !is_public(name)).map(|(_, value)| value.into_owned().into()),
            );
        }
    }
    secrets
}

fn add_secrets(json: &Json, secrets: &mut Vec<SecretString>) {
    match json {
        Json::String(text) => secrets.push(text.as_str().into()),
        Json::Array(items) => items.iter().for_each(|item| add_secrets(item, secrets)),
        Json::Object(fields) => {
            let hidden = fields.iter().filter(|(name, _)| !is_public(name));
            hidden.for_each(|(_, value)| add_secrets(value, secrets));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn is_public(name: &str) -> bool {
    PUBLIC.contains(&name)
}

/// The error in the answer of a token endpoint: RFC 6749's, Azure's, or Databricks'. Anything else is not repeated,
/// since it may echo what was sent.
pub(crate) fn describe(body: &[u8]) -> String {
    let json: Json = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let (code, message) = match &json["error"] {
        Json::Object(error) => (
            text(error.get("code").unwrap_or(&Json::Null)),
            text(error.get("message").unwrap_or(&Json::Null)),
        ),
        Json::String(code) => (code.clone(), text(&json["error_description"])),
        _ => (text(&json["error_code"]), text(&json["message"])),
    };
    // Azure adds lines of trace ids.
    let message = message.split(". Trace ID").next().unwrap_or_default().trim();
    match (code.is_empty(), message.is_empty()) {
        (true, true) => "without an explanation".to_owned(),
        (false, false) => format!("{code}: {message}"),
        (_, _) => format!("{code}{message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::Clock as _;
    use crate::env::Env;
    use crate::strategies::testing::{Answer, Clock, Server, settings, start};

    /// Requests a token from a server that gives these answers, and repeats the last one.
    async fn ask(answers: Vec<Answer>) -> (Result<Json, Refusal>, usize, Clock) {
        let next = AtomicUsize::new(0);
        let server = Server::start(move |seen, _| match seen.path.as_str() {
            "/token" => answers[next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone(),
            _ => Answer::status(404),
        })
        .await;
        let clock = Clock::hasty();
        let stated = [("host", server.url.as_str()), ("clientSecret", "s3cret!")];
        let settings = settings(&stated, Env::default(), clock.clone()).await;
        let url = format!("{}/token", server.url);
        let headers = client_authorization("app", "s3cret!").unwrap();
        let answer =
            try_send(&settings, "POST /token", || settings.http.post(&url).headers(headers.clone())).await;
        (answer, server.seen().len(), clock)
    }

    #[tokio::test]
    async fn a_busy_endpoint_is_asked_again() {
        for status in [429, 500, 502, 503, 504] {
            let (answer, calls, clock) = ask(vec![Answer::status(status), Answer::json("{}")]).await;
            assert!(answer.is_ok(), "{status}");
            assert_eq!(calls, 2, "{status}");
            assert!(clock.slept()[0] >= Duration::from_millis(500));
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_lost_before_the_answer_is_tried_again() {
        let (answer, calls, _) = ask(vec![Answer::status(0), Answer::json("{}")]).await;
        assert!(answer.is_ok());
        assert_eq!(calls, 2);
    }

    #[tokio::test]
    async fn the_endpoint_says_how_long_to_wait() {
        let date = httpdate::fmt_http_date(start() + Duration::from_secs(9));
        for (header, seconds) in [("7", 7), (date.as_str(), 9)] {
            let busy = Answer::status(429).with_header("Retry-After", header);
            let (answer, calls, clock) = ask(vec![busy, Answer::json("{}")]).await;
            assert!(answer.is_ok());
            assert_eq!((calls, clock.slept()), (2, vec![Duration::from_secs(seconds)]));
        }
        // A date is by the endpoint's clock, which may differ from that of this machine.
        let elsewhere = start() + Duration::from_secs(3600);
        let busy = Answer::status(429)
            .with_header("Date", httpdate::fmt_http_date(elsewhere))
            .with_header("Retry-After", httpdate::fmt_http_date(elsewhere + Duration::from_secs(11)));
        let (answer, _, clock) = ask(vec![busy, Answer::json("{}")]).await;
        assert!(answer.is_ok());
        assert_eq!(clock.slept(), [Duration::from_secs(11)]);
        let busy = Answer::status(503).with_header("Retry-After", "61");
        let (answer, calls, _) = ask(vec![busy, Answer::json("{}")]).await;
        assert_eq!((answer.err().and_then(|refusal| refusal.status), calls), (Some(503), 1));
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        for status in [400, 401, 403, 404] {
            let (answer, calls, _) = ask(vec![Answer::status(status), Answer::json("{}")]).await;
            assert_eq!((answer.err().and_then(|refusal| refusal.status), calls), (Some(status), 1));
        }
    }

    #[tokio::test]
    async fn patience_ends() {
        let (answer, calls, clock) = ask(vec![Answer::status(503)]).await;
        assert_eq!(answer.err().and_then(|refusal| refusal.status), Some(503));
        assert!(calls > 3, "{calls}");
        let waited: Duration = clock.slept().iter().sum();
        assert!(waited <= TOKEN_REQUEST_TIMEOUT && waited >= TOKEN_REQUEST_TIMEOUT / 4, "{waited:?}");
    }

    #[tokio::test]
    async fn a_host_that_takes_no_connection_is_given_up_sooner() {
        let clock = Clock::hasty();
        let settings = settings(&[("host", "http://127.0.0.1:1")], Env::default(), clock.clone()).await;
        let answer: Result<Json, _> =
            try_send(&settings, "POST /token", || settings.http.post("http://127.0.0.1:1/token")).await;
        let refusal = answer.unwrap_err();
        assert_eq!(refusal.status, None);
        assert!(refusal.reason.starts_with("POST /token: "), "{}", refusal.reason);
        let waited = clock.now().duration_since(start()).unwrap();
        assert!(waited <= UNREACHABLE_TIMEOUT && !waited.is_zero(), "{waited:?}");
    }

    #[tokio::test]
    async fn an_error_says_what_the_endpoint_says_and_no_more() {
        for (body, expected) in [
            (
                r#"{"error":"invalid_client","error_description":"unknown client"}"#,
                "POST /token: 401 invalid_client: unknown client",
            ),
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: bad secret. Trace ID: 1 \r\nTimestamp"}"#,
                "POST /token: 401 invalid_client: AADSTS7000215: bad secret",
            ),
            (r#"{"error":{"code":"E","message":"m"}}"#, "POST /token: 401 E: m"),
            (
                r#"{"error_code":"PERMISSION_DENIED","message":"no"}"#,
                "POST /token: 401 PERMISSION_DENIED: no",
            ),
            (r#"{"error_description":"s3cret! is wrong","error":"e"}"#, "POST /token: 401 e: *** is wrong"),
            (
                r#"{"error_description":"got YXBwOnMzY3JldCUyMQ==","error":"e"}"#,
                "POST /token: 401 e: got ***",
            ),
            ("<html>s3cret!</html>", "POST /token: 401 without an explanation"),
            ("", "POST /token: 401 without an explanation"),
        ] {
            let (answer, _, _) = ask(vec![Answer { body: body.into(), ..Answer::status(401) }]).await;
            assert_eq!(answer.unwrap_err().reason, expected);
        }
        let (answer, _, _) = ask(vec![Answer::json("s3cret!")]).await;
        assert_eq!(
            answer.unwrap_err().reason,
            "POST /token: the answer has an unexpected form (line 1, column 1)"
        );
    }

    #[tokio::test]
    async fn what_a_body_holds_is_not_repeated() {
        const SECRET: &str = "a/secret +of\"a~kind";
        const ID: &str = "some-application";
        for echoed in [
            SECRET,
            "a%2Fsecret+%2Bof%22a%7Ekind",
            "a%2Fsecret%20%2Bof%22a~kind",
            "a%2fsecret+%2bof%22a~kind",
            "a\\/secret +of\\\"a~kind",
        ] {
            let server = Server::start(move |seen, _| match seen.path.as_str() {
                "/token" => Answer {
                    body: serde_json::json!({ "error": "e", "error_description": format!("{ID} sent {echoed}!") })
                        .to_string()
                        .into(),
                    ..Answer::status(400)
                },
                _ => Answer::status(404),
            })
            .await;
            let settings = settings(&[("host", &server.url)], Env::default(), Clock::hasty()).await;
            let url = format!("{}/token", server.url);
            let body = super::form(&[("client_id", ID), ("refresh_token", SECRET), ("scope", "sent")]);
            let json =
                serde_json::json!({ "audience": "sent", "scope": [ID], "more": [{ "password": SECRET }] });
            let json = || {
                let request = settings.http.post(&url).header("content-type", "application/json");
                request.body(json.to_string())
            };
            let in_form: Result<Json, _> =
                send(&settings, "POST /token", || post_form(&settings, &url, &body)).await;
            let in_json: Result<Json, _> = send(&settings, "POST /token", json).await;
            for error in [in_form, in_json] {
                assert_eq!(error.unwrap_err().0, format!("POST /token: 400 e: {ID} sent ***!"));
            }
        }
    }

    #[test]
    fn forms_and_client_credentials_are_encoded() {
        assert_eq!(*form(&[("a b", "/+ ="), ("c", "ü")]), "a+b=%2F%2B+%3D&c=%C3%BC");
        let headers = client_authorization("i:d", "se/c+r t").unwrap();
        assert!(headers["authorization"].is_sensitive());
        assert_eq!(
            headers["authorization"],
            format!("Basic {}", BASE64_STANDARD.encode("i%3Ad:se%2Fc%2Br+t"))
        );
    }

    #[tokio::test]
    async fn a_token_lives_as_long_as_the_endpoint_says() {
        let settings = settings(&[], Env::default(), Clock::still()).await;
        for (life, expires) in [
            ("", None),
            (r#","expires_in":0"#, None),
            (r#","expires_in":"60""#, Some(start() + Duration::from_secs(60))),
        ] {
            let answer: TokenAnswer =
                serde_json::from_str(&format!(r#"{{"access_token":"t"{life}}}"#)).unwrap();
            assert_eq!(answer.token("POST /token", &settings).unwrap().expires, expires, "{life}");
        }
    }

    #[test]
    fn seconds_are_a_number_or_its_text() {
        for (json, seconds) in [("5", 5), ("\"5\"", 5), ("\"\"", 0), ("null", 0)] {
            assert_eq!(serde_json::from_str::<Seconds>(json).unwrap(), Seconds(seconds), "{json}");
        }
        for json in ["-1", "\"x\"", "[]"] {
            assert!(serde_json::from_str::<Seconds>(json).is_err(), "{json}");
        }
    }
}
