//! Sending one request: sign, pace, send, read the answer, and repeat where that is safe.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use databricks_auth::SignIn;
use databricks_auth::backoff::{date, retry_after};
use databricks_auth::redirect::known_redirect;
use databricks_auth::transport::{Response, credentials_in};
use http::{HeaderMap, Method};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::de::DeserializeOwned;
use tracing::{Instrument as _, Span};

use super::debug_log::DebugLog;
use super::retry::{self, Retry};
use super::{ApiError, Client, Endpoint, Error, Repeat, Reply, Request, user_agent};
use crate::context::Context;

/// The header that routes a request where one host serves several workspaces.
const WORKSPACE_HEADER: &str = "x-databricks-workspace-id";
/// The header in which a workspace names itself.
const ORG_HEADER: &str = "x-databricks-org-id";

/// What has been tried for a request.
#[derive(Default)]
pub(super) struct Attempts {
    count: u64,
    /// Whether another access token was requested.
    has_renewed: bool,
}

impl Client {
    /// Sends a request, repeatedly where that is safe and may help, and reads the answer.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        request: &Request,
    ) -> Result<Reply<T>, Error> {
        let _writing = (request.method != Method::GET).then(|| self.0.shared_reads.writing());
        let mut retry = self.retry(ctx);
        let mut attempts = Attempts::default();
        loop {
            let sent = self.attempt_signed(ctx, request, &mut attempts);
            let outcome = match request.repeat {
                // When the engine asks to give up, a read ends at once. A change that has not been sent is not sent any
                // more; once it is sent, its answer is awaited, or the state would be wrong about it.
                Repeat::Always => tokio::select! {
                    biased;
                    () = ctx.cancel.cancelled(), if request.method == Method::GET => {
                        Err(Error::Cancelled { request: request.to_string() })
                    }
                    outcome = sent => outcome,
                    () = ctx.time_is_up() => Err(Error::TimedOut { request: request.to_string() }),
                },
                Repeat::IfItDidNotRun | Repeat::Never => sent.await,
            };
            match outcome {
                Ok(reply) => return Ok(reply),
                Err(error) => retry.wait(ctx, request.repeat, error).await?,
            }
        }
    }

    /// The attempts of a request, whose time begins now.
    pub(crate) fn retry(&self, ctx: &Context) -> Retry {
        Retry::new(ctx, self.retry_total())
    }

    fn retry_total(&self) -> Duration {
        match self.config().attributes.retry_timeout_seconds {
            seconds if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
            _ => retry::DEFAULT_TIMEOUT,
        }
    }

    /// Everything that comes before a request: who answers, how to sign in, and when it is our turn.
    pub(super) async fn sign(&self, ctx: &Context) -> Result<Signed, Error> {
        let endpoint = self.endpoint().await?;
        let sign_in = self.credentials(&endpoint).await?.clone();
        endpoint.rate_limit.wait(ctx).await;
        let headers = sign_in.headers().await?;
        Ok(Signed { endpoint, sign_in, headers })
    }

    /// Signs a request and sends it once. Where its access token is refused and another can be had, it is sent once more:
    /// the token may have been revoked before its time, and whatever was requested was not carried out.
    pub(super) async fn attempt_signed<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        request: &Request,
        attempts: &mut Attempts,
    ) -> Result<Reply<T>, Error> {
        loop {
            let signed = unless_too_late(ctx, request, self.sign(ctx)).await?;
            let (sign_in, headers) = (signed.sign_in.clone(), signed.headers.clone());
            let repeated = attempts.count;
            attempts.count += 1;
            match self.attempt(ctx, signed, request, repeated).await {
                Err(error)
                    if error.wants_other_credentials()
                        && !attempts.has_renewed
                        && sign_in.renew(&headers) =>
                {
                    tracing::debug!(%request, "asking again with another access token");
                    attempts.has_renewed = true;
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends a request once, in a span of its own. It was sent `repeated` times before.
    pub(super) async fn attempt<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        signed: Signed,
        request: &Request,
        repeated: u64,
    ) -> Result<Reply<T>, Error> {
        self.exchange(ctx, signed, request).instrument(request.span(repeated)).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        signed: Signed,
        request: &Request,
    ) -> Result<Reply<T>, Error> {
        let Signed { endpoint, sign_in, headers } = signed;
        let host = &endpoint.found.host;
        // An answer may echo the secrets of its request.
        let secrets = [credentials_in(&headers), request.secrets.clone()].concat();
        let log = DebugLog::new(self.config(), &self.0.redactor, &secrets, &request.secret_fields);
        let mut builder = endpoint
            .found
            .http
            .request(request.method.clone(), &format!("{}{}", host.url, request.path))
            .headers(headers)
            .header("accept", "application/json")
            .header("traceparent", &traceparent())
            .header(
                "user-agent",
                &user_agent::user_agent(self.0.auth.env(), ctx.resource, sign_in.auth_type()),
            );
        let workspace_id = endpoint.found.metadata.workspace_id.as_ref();
        if let Some(id) = workspace_id.filter(|_| !request.to_account) {
            builder = builder.header(WORKSPACE_HEADER, id);
        }
        if let Some(body) = &request.body {
            builder = builder.header("content-type", "application/json").body(body.to_string());
        }
        let send = async {
            let signed = builder.ready()?;
            if let Some(log) = &log {
                log.request(request, signed.headers());
            }
            signed.send().await
        };
        let response = send.await.map_err(|failure| {
            Span::current().record("error.type", "connection");
            Error::of_connection(host, &request.to_string(), failure)
        })?;
        Span::current().record("http.response.status_code", response.status().as_u16());
        let reply = self.read(ctx, &endpoint, request, response, log.as_ref()).await;
        reply.map_err(|error| error.map_texts(|text| self.0.redactor.hide(text, &secrets)))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        endpoint: &Endpoint,
        request: &Request,
        response: Response,
        log: Option<&DebugLog<'_>>,
    ) -> Result<Reply<T>, Error> {
        let status = response.status();
        let headers = response.headers().clone();
        let header = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        if status.is_redirection() {
            if let Some(log) = log {
                log.answer(status, &headers, b"");
            }
            let location = header("location").unwrap_or_default();
            return Err(Error::NotAnApi {
                host: endpoint.found.host.url.clone(),
                request: request.to_string(),
                reason: known_redirect(endpoint.found.metadata.cloud, &location).unwrap_or_else(|| {
                    let target = location.split(['?', '#']).next().unwrap_or_default();
                    format!("redirected to {target:?}, which is not followed. Check databricks:host")
                }),
                turned_away: true,
            });
        }
        let workspace_id = header(ORG_HEADER);
        let date = date(&headers);
        if let Some(date) = date {
            self.0.workspace_clock.set(date, ctx.clock.now());
        }
        let retry_after = retry_after(&headers, ctx.clock.now());
        let body = response.body().await.map_err(|reason| Error::Interrupted {
            host: endpoint.found.host.url.clone(),
            request: request.to_string(),
            reason,
        })?;
        if let Some(log) = log {
            log.answer(status, &headers, &body);
        }
        if status.is_success() {
            let body = read_answer(&body).map_err(|reason| Error::NotAnApi {
                host: endpoint.found.host.url.clone(),
                request: request.to_string(),
                reason,
                turned_away: false,
            })?;
            let date = date.unwrap_or_else(|| ctx.clock.now());
            return Ok(Reply { body, workspace_id, date });
        }
        let reason = status.canonical_reason().unwrap_or("unknown status");
        let error = ApiError::parse(request.to_string(), status.as_u16(), reason, &body, retry_after);
        let advice = (request.advice)(&error.code).or_else(|| error.of_narrow_scopes(self.config()));
        Err(Error::Api(ApiError { advice, ..error }))
    }
}

/// Where a request goes, and what it is signed with.
pub(super) struct Signed {
    endpoint: Arc<Endpoint>,
    sign_in: SignIn,
    headers: HeaderMap,
}

impl Signed {
    /// The same, signed with other headers.
    pub(super) fn with(self, headers: HeaderMap) -> Self {
        Signed { headers, ..self }
    }
}

/// What an error calls the request that is given up while it is not even clear which host it goes to.
pub(super) const ANY_REQUEST: &str = "any request";

/// Does what comes before a request. It ends early if the engine asks to give up, or if the resource's time is up.
pub(super) async fn unless_too_late<T>(
    ctx: &Context,
    request: &impl fmt::Display,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => Err(Error::Cancelled { request: request.to_string() }),
        outcome = work => outcome,
        () = ctx.time_is_up() => Err(Error::TooLate { request: request.to_string() }),
    }
}

/// An id of W3C Trace Context, new for every attempt, by which Databricks can find the attempt in its logs.
fn traceparent() -> String {
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    // A machine without random numbers could not have set up TLS before.
    let random = SystemRandom::new();
    let _ = random.fill(&mut trace).and_then(|()| random.fill(&mut span));
    format!("00-{:032x}-{:016x}-01", u128::from_ne_bytes(trace), u64::from_ne_bytes(span))
}

/// Reads a good answer. No error quotes the body, which may hold a token.
pub(super) fn read_answer<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // An empty body is a good answer only for a caller who expects none: it is read as `null`, which is no list or
    // object.
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        if body.trim_ascii_start().starts_with(b"<") {
            "received HTML response instead of JSON: the host is not the URL of a Databricks workspace, or a proxy or \
             login page stands in front of it. Check databricks:host"
                .to_owned()
        } else {
            format!(
                "the answer is not what the Databricks API promises (line {}, column {}). Check that databricks:host \
                 is the URL of a workspace",
                error.line(),
                error.column()
            )
        }
    })
}
