//! HTTP: building the client, sending a request, reading its body up to a bound, and telling failures apart. This is
//! the only module that knows the HTTP library.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError};
use crate::error::AuthError;

/// Longest body that is read, in bytes.
pub const LONGEST_BODY: usize = 16 << 20;
/// Seconds without a byte after which a request is given up, where the configuration does not say. The official
/// provider has the same default.
const INACTIVITY_SECONDS: i64 = 65;
/// How long it may take to establish a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);

/// An HTTP client, cheap to clone. It follows no redirect and repeats no request.
#[derive(Clone, Debug)]
pub struct HttpClient(reqwest::Client);

/// How long a server may be silent before a request to it counts as lost.
pub fn longest_silence(config: &Config) -> Duration {
    let stated = config.attributes.http_timeout_seconds;
    Duration::from_secs(if stated > 0 { stated } else { INACTIVITY_SECONDS }.unsigned_abs())
}

impl HttpClient {
    /// A client with the time limits of a configuration. It uses the proxy that the environment names.
    pub fn new(config: &Config) -> Result<HttpClient, ConfigError> {
        HttpClient::build(config, reqwest::Client::builder())
    }

    /// A client that uses no proxy: for this machine itself, and for the metadata service of its cloud.
    pub fn direct(config: &Config) -> Result<HttpClient, ConfigError> {
        HttpClient::build(config, reqwest::Client::builder().no_proxy())
    }

    fn build(config: &Config, builder: reqwest::ClientBuilder) -> Result<HttpClient, ConfigError> {
        // Fails only where another client of this process has installed a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        builder
            // The User-Agent of token requests. Requests for a resource set one that says more.
            .user_agent(concat!("pulumi-resource-databricks/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(longest_silence(config))
            .pool_idle_timeout(IDLE_TIMEOUT)
            // An API that redirects sends to a login page, and credentials must not go there.
            .redirect(reqwest::redirect::Policy::none())
            // Whether a request may be repeated is for the caller to decide.
            .retry(reqwest::retry::never())
            .tls_danger_accept_invalid_certs(config.attributes.skip_verify)
            .build()
            .map(HttpClient)
            .map_err(|error| config.error(format!("cannot set up HTTP: {}", chain(&error))))
    }

    /// A request.
    pub fn request(&self, method: Method, url: &str) -> Request {
        Request(self.0.request(method, url))
    }

    /// A GET request.
    pub fn get(&self, url: &str) -> Request {
        self.request(Method::GET, url)
    }

    /// A POST request.
    pub fn post(&self, url: &str) -> Request {
        self.request(Method::POST, url)
    }
}

/// A request that is being put together. A part that cannot be used makes [`Request::ready`] fail.
#[derive(Debug)]
pub struct Request(reqwest::RequestBuilder);

impl Request {
    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Request(self.0.header(name, value))
    }

    /// Sets these headers.
    pub fn headers(self, headers: HeaderMap) -> Self {
        Request(self.0.headers(headers))
    }

    /// Sets the body.
    pub fn body(self, body: String) -> Self {
        Request(self.0.body(body))
    }

    /// Limits the time for the whole of the request.
    pub fn timeout(self, timeout: Duration) -> Self {
        Request(self.0.timeout(timeout))
    }

    /// The complete request.
    pub fn ready(self) -> Result<ReadyRequest, Failure> {
        let (client, request) = self.0.build_split();
        Ok(ReadyRequest { client, request: request.map_err(|error| Failure::of(&error))? })
    }

    /// Sends the request.
    pub async fn send(self) -> Result<Response, Failure> {
        self.ready()?.send().await
    }
}

/// A request that is complete and has not been sent.
#[derive(Debug)]
pub struct ReadyRequest {
    client: reqwest::Client,
    request: reqwest::Request,
}

impl ReadyRequest {
    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The body, if there is one.
    pub fn body(&self) -> Option<&[u8]> {
        self.request.body()?.as_bytes()
    }

    /// Sends the request, and waits for the head of the answer.
    pub async fn send(self) -> Result<Response, Failure> {
        self.client.execute(self.request).await.map(Response).map_err(|error| Failure::of(&error))
    }
}

/// The head of an answer, whose body has not been read.
#[derive(Debug)]
pub struct Response(reqwest::Response);

impl Response {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Reads the body up to [`LONGEST_BODY`]. It may hold a credential, so it is wiped after use. The error says why
    /// it is incomplete.
    pub async fn body(mut self) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut body = Zeroizing::new(Vec::with_capacity(1024));
        loop {
            match self.0.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > LONGEST_BODY => {
                    return Err(format!("the answer is longer than {} MiB", LONGEST_BODY >> 20));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                Err(error) => return Err(chain(&error)),
            }
        }
    }
}

/// How far a request without an answer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request cannot be sent as it is; nothing was sent.
    Invalid,
    /// The certificate of the server is not trusted, and another attempt does not change that; nothing was sent.
    Untrusted,
    /// The server answers a TLS greeting with something else, and another attempt does not change that; nothing was
    /// sent.
    NotTls,
    /// No connection came about; nothing was sent.
    Unreachable,
    /// The request may have been sent, and no complete answer came.
    Interrupted,
}

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// How far it got.
    pub kind: FailureKind,
    /// What went wrong, cause by cause. It holds no URL, since a URL may hold a credential.
    pub reason: String,
}

impl Failure {
    fn of(error: &reqwest::Error) -> Self {
        let kind = if let Some(kind) = tls_failure(error) {
            kind
        } else if error.is_builder() {
            FailureKind::Invalid
        } else if error.is_connect() {
            FailureKind::Unreachable
        } else {
            FailureKind::Interrupted
        };
        Failure { kind, reason: chain(error) }
    }
}

/// What is wrong with the TLS of a server, if that is what failed.
fn tls_failure(error: &reqwest::Error) -> Option<FailureKind> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(rustls::Error::InvalidCertificate(_)) => return Some(FailureKind::Untrusted),
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                return Some(FailureKind::NotTls);
            }
            _ => {}
        }
        // `std::io::Error` does not give the error that it wraps as its source.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = held.map_or_else(|| error.source(), |held| Some(held));
    }
    None
}

/// An error and its causes, each once, without the URL that reqwest would add.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "timed out".to_owned() } else { String::new() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&next);
        }
        cause = error.source();
    }
    if text.is_empty() { "request failed".to_owned() } else { text }
}

/// An `Authorization` header whose value is never printed.
pub(crate) fn authorization(kind: &str, credential: &str) -> Result<HeaderMap, AuthError> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, sensitive(&format!("{kind} {credential}"))?);
    Ok(headers)
}

/// The `Authorization` header of a request that is made with this token.
pub fn bearer(token: &SecretString) -> Result<HeaderMap, AuthError> {
    authorization("Bearer", token.expose_secret())
}

/// A header value that is never printed.
pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, AuthError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        AuthError(
            "the credential holds a character that no HTTP header can carry, such as a line break".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The credentials in the headers of a request, without the words before them, such as `Bearer`.
pub fn credentials_in(headers: &HeaderMap) -> Vec<SecretString> {
    let texts = headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    texts.filter_map(|text| text.split(' ').next_back()).map(SecretString::from).collect()
}

/// Reads a URL.
pub(crate) fn parse_url(text: &str) -> Result<reqwest::Url, String> {
    text.parse::<reqwest::Url>().map_err(|error| error.to_string())
}

/// A URL with more parameters in its query.
pub(crate) fn url_with_parameters(url: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
    let mut url = parse_url(url)?;
    url.query_pairs_mut().extend_pairs(parameters);
    Ok(url.into())
}

/// The path and the query of a URL, or of the target of a redirect, which may be a path already.
pub(crate) fn path_of(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]))
}
