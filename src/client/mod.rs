//! The Databricks REST client: typed requests and answers, signed, paced and repeated where that is safe.

mod auth;
mod debug_log;
mod error;
#[cfg(test)]
mod fuzz;
mod metadata;
mod rate_limit;
mod redact;
mod retry;
#[cfg(test)]
mod tests;

mod shared_read;
mod single_flight;
mod user_agent;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

pub use auth::AuthError;
pub use error::{ApiError, Error};
pub use retry::Repeat;

use crate::config::{Cloud, Config, Host};
use crate::context::{Clock, Context};
use crate::env::Env;
use debug_log::DebugLog;
use metadata::{HostType, Metadata};
use rate_limit::RateLimit;
use redact::Mask;
use retry::Retry;
use shared_read::SharedReads;
use single_flight::SingleFlight;

/// Longest answer that is read, in bytes; 600 tokens are about 300 kB.
const LONGEST_ANSWER: usize = 16 << 20;
/// Seconds without a byte, as the official provider waits.
const INACTIVITY_SECONDS: i64 = 65;
/// A connection that has not come about by then does not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The header that routes a request where one host serves several workspaces.
const WORKSPACE_HEADER: &str = "x-databricks-workspace-id";
/// The header in which a workspace names itself.
const ORG_HEADER: &str = "x-databricks-org-id";

/// A client of one workspace. Cheap to clone; nothing is sent, and no certificate is read, before the first request.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    env: Env,
    clock: Arc<dyn Clock>,
    endpoints: auth::Endpoints,
    endpoint: OnceCell<Endpoint>,
    credentials: OnceLock<auth::Chosen>,
    signing_in: SingleFlight<AuthError>,
    /// What a host that does not describe itself answers to the question which workspace it is.
    asked_workspace: OnceCell<Option<String>>,
    mask: Mask,
    workspaces: Mutex<HashMap<String, Client>>,
    shared_reads: SharedReads,
    memory: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// Who answers at the host.
struct Endpoint {
    host: Host,
    http: reqwest::Client,
    metadata: Metadata,
    rate_limit: RateLimit,
}

/// A request to the REST API.
pub(crate) struct Request {
    method: Method,
    path: String,
    body: Option<Json>,
    repeat: Repeat,
    /// Secret parts of the request, which no message about it repeats.
    secrets: Vec<SecretString>,
    /// JSON properties that hold a credential in the request or its answer, besides those that always do.
    secret_fields: &'static [&'static str],
    /// Whether the account answers, whose API acts on no workspace.
    for_account: bool,
}

/// What a host serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One workspace.
    Workspace,
    /// An account.
    Account,
    /// An account and its workspaces.
    Both,
}

/// A text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NOT_UNRESERVED).to_string()
}

/// Everything but the characters that RFC 3986 calls unreserved.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

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
        let (path, secrets) = (path.into(), Vec::new());
        Request { method, path, body, repeat, secrets, secret_fields: &[], for_account: false }
    }

    /// Keeps parts of the request out of every message about it.
    pub(crate) fn hiding(mut self, secrets: &[&str]) -> Self {
        self.secrets.extend(secrets.iter().map(|secret| SecretString::from(*secret)));
        self
    }

    /// Keeps these JSON properties of the request and its answer out of logs.
    pub(crate) fn secret_fields(mut self, fields: &'static [&'static str]) -> Self {
        self.secret_fields = fields;
        self
    }

    /// Asks the account, not one of its workspaces.
    pub(crate) fn for_account(mut self) -> Self {
        self.for_account = true;
        self
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.0.config.host).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the workspace that the configuration names.
    pub fn new(config: Config, env: Env, clock: Arc<dyn Clock>) -> Self {
        Client::with(config, env, clock, auth::Endpoints::default())
    }

    fn with(config: Config, env: Env, clock: Arc<dyn Clock>, endpoints: auth::Endpoints) -> Self {
        Client(Arc::new(Inner {
            mask: Mask::of(&config),
            config,
            env,
            clock,
            endpoints,
            endpoint: OnceCell::new(),
            credentials: OnceLock::new(),
            signing_in: SingleFlight::default(),
            asked_workspace: OnceCell::new(),
            workspaces: Mutex::default(),
            shared_reads: SharedReads::default(),
            memory: Mutex::default(),
        }))
    }

    /// The configuration of this client.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Says what to do where nothing tells which workspace is meant. Asks nobody.
    pub fn check_host(&self) -> Result<(), Error> {
        let config = &self.0.config;
        if config.host.is_some() || config.attributes.azure_workspace_resource_id.is_some() {
            return Ok(());
        }
        Err(Error::Config(config.error(
            "no host configured: run `pulumi config set databricks:host https://<workspace>`, set DATABRICKS_HOST, or \
             name a profile of ~/.databrickscfg with databricks:profile",
        )))
    }

    /// Sends a request, again where that is safe and may help, and reads the answer.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        request: &Request,
    ) -> Result<Reply<T>, Error> {
        let mut retry = self.retry(ctx);
        loop {
            let prepared = async {
                let endpoint = self.endpoint().await?;
                let credentials = self.credentials(endpoint).await?;
                endpoint.rate_limit.wait(ctx).await;
                let headers = credentials.credentials.headers().await?;
                Ok((endpoint, credentials.name, headers))
            };
            let sent = async {
                let (endpoint, auth, headers) = unless_too_late(ctx, request, prepared).await?;
                self.attempt(ctx, endpoint, auth, headers, request).await
            };
            let outcome = match request.repeat {
                // What may be sent again may be given up at once when the engine asks.
                Repeat::Always => tokio::select! {
                    biased;
                    outcome = unless_cancelled(ctx, request, sent) => outcome,
                    () = ctx.time_is_up() => Err(Error::TimedOut { request: request.to_string() }),
                },
                // Anything else is not sent any more then; once it is sent, its answer is waited for.
                Repeat::IfItDidNotRun | Repeat::Never => sent.await,
            };
            match outcome {
                Ok(reply) => return Ok(reply),
                Err(error) => retry.wait(ctx, request.repeat, error).await?,
            }
        }
    }

    /// The attempts of a request that begin now.
    pub(crate) fn retry(&self, ctx: &Context) -> Retry {
        Retry::new(ctx, self.retry_total())
    }

    /// What this process keeps in mind about the workspace, by type.
    pub(crate) fn memory<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = memory.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // The key is the type, so this is always one of it.
        Arc::clone(kept).downcast().unwrap_or_default()
    }

    fn retry_total(&self) -> Duration {
        match self.0.config.attributes.retry_timeout_seconds {
            seconds if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
            _ => retry::DEFAULT_TOTAL,
        }
    }

    /// Finds out, once, who answers at the host, and which host that is.
    async fn endpoint(&self) -> Result<&Endpoint, Error> {
        self.0
            .endpoint
            .get_or_try_init(|| async {
                self.check_host()?;
                let config = &self.0.config;
                let host = match &config.host {
                    Some(host) => host.clone(),
                    None => {
                        let http = http_client(config, false)?;
                        auth::find_host(&self.settings(config.clone(), Metadata::default(), http)).await?
                    }
                };
                let http = http_client(config, host.is_loopback())?;
                let metadata = Metadata::fetch(&http, config, &host).await;
                check_workspace(config, &metadata)?;
                let routed =
                    metadata.workspace_id.as_deref().filter(|_| metadata.host_type != HostType::Workspace);
                let rate_limit = RateLimit::of(&host.url, routed, config.attributes.rate_limit);
                Ok(Endpoint { host, http, metadata, rate_limit })
            })
            .await
    }

    /// Finds out, once, how to sign in.
    async fn credentials(&self, endpoint: &Endpoint) -> Result<&auth::Chosen, Error> {
        let sign_in = async {
            let config = self.0.config.at(endpoint.host.clone());
            let settings = self.settings(config, endpoint.metadata.clone(), endpoint.http.clone());
            let chosen = auth::choose(&settings).await?;
            tracing::debug!(host = %endpoint.host, auth = chosen.name, "signed in");
            Ok(self.0.credentials.get_or_init(|| chosen))
        };
        Ok(self.0.signing_in.get(|| self.0.credentials.get(), sign_in).await?)
    }

    fn settings(&self, config: Config, metadata: Metadata, http: reqwest::Client) -> Arc<auth::Settings> {
        Arc::new(auth::Settings {
            config,
            env: self.0.env.clone(),
            metadata,
            http,
            clock: Arc::clone(&self.0.clock),
            endpoints: self.0.endpoints.clone(),
        })
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        endpoint: &Endpoint,
        auth: &str,
        headers: HeaderMap,
        request: &Request,
    ) -> Result<Reply<T>, Error> {
        // What answers may echo what it was asked.
        let secrets = [signature(&headers), request.secrets.clone()].concat();
        let log = DebugLog::new(&self.0.config, &self.0.mask, &secrets, request.secret_fields);
        let mut builder = endpoint
            .http
            .request(request.method.clone(), format!("{}{}", endpoint.host.url, request.path))
            .headers(headers)
            .header("accept", "application/json")
            .header("traceparent", traceparent())
            .header("user-agent", user_agent::user_agent(&self.0.env, ctx.resource, auth));
        if let Some(id) = endpoint.metadata.workspace_id.as_ref().filter(|_| !request.for_account) {
            builder = builder.header(WORKSPACE_HEADER, id);
        }
        if let Some(body) = &request.body {
            builder = builder.header("content-type", "application/json").body(body.to_string());
        }
        let send = async {
            let signed = builder.build()?;
            if let Some(log) = &log {
                log.request(request, signed.headers());
            }
            endpoint.http.execute(signed).await
        };
        let response = send.await.map_err(|error| transport_error(&endpoint.host, request, &error))?;
        let reply = self.read(ctx, endpoint, request, response, log.as_ref()).await;
        reply.map_err(|error| error.map_texts(|text| self.0.mask.hide(text, &secrets)))
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
                host: endpoint.host.url.clone(),
                request: request.to_string(),
                reason: known_redirect(endpoint.metadata.cloud, &location).unwrap_or_else(|| {
                    let target = location.split(['?', '#']).next().unwrap_or_default();
                    format!("redirected to {target:?}, which is not followed. Check databricks:host")
                }),
                turned_away: true,
            });
        }
        let workspace_id = header(ORG_HEADER);
        let date = header("date").and_then(|text| httpdate::parse_http_date(&text).ok());
        let retry_after = header("retry-after").and_then(|text| retry::retry_after(&text, ctx.clock.now()));
        let body = read_body(response).await.map_err(|reason| Error::Interrupted {
            host: endpoint.host.url.clone(),
            request: request.to_string(),
            reason,
        })?;
        if let Some(log) = log {
            log.answer(status, &headers, &body);
        }
        if status.is_success() {
            let body = read_answer(&body).map_err(|reason| Error::NotAnApi {
                host: endpoint.host.url.clone(),
                request: request.to_string(),
                reason,
                turned_away: false,
            })?;
            let date = date.unwrap_or_else(|| ctx.clock.now());
            return Ok(Reply { body, workspace_id, date });
        }
        let reason = status.canonical_reason().unwrap_or("unknown status");
        Err(Error::Api(ApiError::parse(request.to_string(), status.as_u16(), reason, &body, retry_after)))
    }

    /// The workspace that this client acts on, if that is known: asks the host on first use.
    pub async fn workspace_id(&self, ctx: &Context) -> Result<Option<&str>, Error> {
        let found = async {
            let metadata = &self.endpoint().await?.metadata;
            if metadata.workspace_id.is_some() || metadata.host_type != HostType::Workspace {
                return Ok(metadata.workspace_id.as_deref());
            }
            Ok(self.0.asked_workspace.get_or_init(|| self.ask_workspace(ctx)).await.as_deref())
        };
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    /// Asks a workspace that does not describe itself for its id, which is a header of every answer. Asks once and
    /// briefly: whoever may not ask who they are can do without.
    async fn ask_workspace(&self, ctx: &Context) -> Option<String> {
        let path = "/api/2.0/preview/scim/v2/Me?excludedAttributes=entitlements";
        let request = Request::new(Method::GET, path, None, Repeat::Always);
        let asking = async {
            let endpoint = self.endpoint().await?;
            let credentials = self.credentials(endpoint).await?;
            endpoint.rate_limit.wait(ctx).await;
            let headers = credentials.credentials.headers().await?;
            self.attempt::<IgnoredAny>(ctx, endpoint, credentials.name, headers, &request).await
        };
        tokio::time::timeout(CONNECT_TIMEOUT, asking).await.ok()?.ok()?.workspace_id
    }

    /// What the host serves, which it is asked on first use.
    pub async fn level(&self, ctx: &Context) -> Result<Level, Error> {
        let found = async {
            Ok(match self.endpoint().await?.metadata.host_type {
                HostType::Workspace => Level::Workspace,
                HostType::Account => Level::Account,
                HostType::Unified => Level::Both,
            })
        };
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    /// The account that the host belongs to, if that is known: by the configuration, or by the host's own word.
    pub async fn account_id(&self, ctx: &Context) -> Result<Option<&str>, Error> {
        let found = async { Ok(self.endpoint().await?.metadata.account_id.as_deref()) };
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    /// The client for the workspace that a resource names, or that the provider is configured for.
    ///
    /// A workspace's own host serves only itself. An account's host knows its workspaces by id: each gets a client of
    /// its own, with the same credentials.
    pub async fn for_workspace(&self, ctx: &Context, id: Option<&str>) -> Result<Client, Error> {
        // On the heap, since each future that holds this one would be as large again.
        let found = Box::pin(self.find_workspace(ctx, id));
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    async fn find_workspace(&self, ctx: &Context, id: Option<&str>) -> Result<Client, Error> {
        let metadata = &self.endpoint().await?.metadata;
        let configured = metadata.workspace_id.as_deref();
        if metadata.host_type == HostType::Workspace {
            // The provider's own id was compared with what the host says already, and need not be a number.
            let Some(id) = id.filter(|id| configured != Some(id)) else { return Ok(self.clone()) };
            if id.parse::<u64>().is_err() {
                return Err(Error::Workspace(format!(
                    "failed to validate workspace_id: workspace_id {id:?} is not a numeric workspace ID. Connection IDs \
                     are only supported where databricks:host is an account's host or one that serves several \
                     workspaces"
                )));
            }
            let own = match &metadata.own_workspace_id {
                Some(own) => Some(own.as_str()),
                None => self.workspace_id(ctx).await?,
            };
            return match own {
                Some(own) if own != id => Err(Error::Workspace(format!(
                    "failed to validate workspace_id: workspace_id mismatch: provider is configured for workspace \
                     {own} but got {id} in provider_config. please check the workspace_id provided in provider_config"
                ))),
                _ => Ok(self.clone()),
            };
        }
        let Some(id) = id.or(configured) else {
            return Err(Error::Workspace(
                "the host is an account console, and tokens belong to a workspace: managing workspace-level \
                 resources requires a workspace_id, but none was found in the resource's providerConfig or the \
                 provider's workspaceId. Set one of them, or set databricks:host to the workspace's own URL"
                    .to_owned(),
            ));
        };
        if let Some(client) = self.workspaces().get(id) {
            return Ok(client.clone());
        }
        let mut config = self.0.config.clone();
        config.attributes.workspace_id = Some(id.to_owned());
        if let Some((host, resource_id)) = self.workspace_host(ctx, metadata, id).await {
            config.attributes.account_id = None;
            config.attributes.azure_workspace_resource_id = resource_id;
            config = config.at(host);
        }
        let inner = &self.0;
        let client =
            Client::with(config, inner.env.clone(), Arc::clone(&inner.clock), inner.endpoints.clone());
        Ok(self.workspaces().entry(id.to_owned()).or_insert(client).clone())
    }

    fn workspaces(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.0.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The own host of a workspace of this account, and its resource id on Azure. Where the account does not tell, the
    /// account's host routes by the workspace header instead.
    async fn workspace_host(
        &self,
        ctx: &Context,
        metadata: &Metadata,
        id: &str,
    ) -> Option<(Host, Option<String>)> {
        let account = metadata.account_id.as_deref()?;
        let number: u64 = id.parse().ok()?;
        let url = &self.0.config.host.as_ref()?.url;
        let zone =
            url.strip_prefix("https://accounts-dod.").or_else(|| url.strip_prefix("https://accounts."))?;
        let path = format!("/api/2.0/accounts/{account}/workspaces/{number}");
        let request = Request::new(Method::GET, path, None, Repeat::Always).for_account();
        match self.send::<WorkspaceReply>(ctx, &request).await {
            Ok(Reply { body: workspace, .. }) => {
                let host = Host::parse(&format!("https://{}.{zone}", workspace.deployment_name)).ok()?;
                Some((host, workspace.resource_id()))
            }
            Err(error) => {
                tracing::debug!(id, %error, "the account does not tell the workspace's host");
                None
            }
        }
    }
}

#[derive(Deserialize)]
struct WorkspaceReply {
    deployment_name: String,
    #[serde(default)]
    workspace_name: String,
    azure_workspace_info: Option<AzureWorkspace>,
}

#[derive(Deserialize)]
struct AzureWorkspace {
    subscription_id: String,
    resource_group: String,
}

impl WorkspaceReply {
    fn resource_id(&self) -> Option<String> {
        let AzureWorkspace { subscription_id, resource_group } = self.azure_workspace_info.as_ref()?;
        Some(format!(
            "/subscriptions/{subscription_id}/resourceGroups/{resource_group}/providers/Microsoft.Databricks/workspaces/{}",
            self.workspace_name
        ))
    }
}

/// What an error calls the request that is given up while it is not even clear which host it goes to.
const ANY_REQUEST: &str = "any request";

/// Does what comes before a request, which the end of the resource's time limit ends too.
async fn unless_too_late<T>(
    ctx: &Context,
    request: &impl fmt::Display,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        outcome = unless_cancelled(ctx, request, work) => outcome,
        () = ctx.time_is_up() => Err(Error::TooLate { request: request.to_string() }),
    }
}

/// Does what is not worth doing, or not to be done, once the engine asks to give up.
async fn unless_cancelled<T>(
    ctx: &Context,
    request: &impl fmt::Display,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => Err(Error::Cancelled { request: request.to_string() }),
        outcome = work => outcome,
    }
}

/// An id of W3C Trace Context, new for every attempt, by which Databricks can find it in its logs.
fn traceparent() -> String {
    let mut id = [0; 24];
    // Without chance there would be no TLS either.
    let _ = SystemRandom::new().fill(&mut id);
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("00-{}-{}-01", &digits[..32], &digits[32..])
}

/// What a request is signed with, without the words before it.
fn signature(headers: &HeaderMap) -> Vec<SecretString> {
    let texts = headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    texts.filter_map(|text| text.split(' ').next_back()).map(SecretString::from).collect()
}

/// A workspace that is configured by id must be the one that answers at the host.
fn check_workspace(config: &Config, metadata: &Metadata) -> Result<(), Error> {
    match (&config.attributes.workspace_id, &metadata.own_workspace_id) {
        (Some(stated), Some(own))
            if stated != own
                && metadata.host_type == HostType::Workspace
                && stated.parse::<i64>().is_ok() =>
        {
            Err(Error::Workspace(format!(
                "workspace_id mismatch: the provider is configured with workspace_id {stated} but the host resolves \
                 to workspace {own}. please check the workspace_id in the provider configuration"
            )))
        }
        _ => Ok(()),
    }
}

/// The HTTP client; a direct one uses no proxy, whatever the environment says.
fn http_client(config: &Config, direct: bool) -> Result<reqwest::Client, Error> {
    // Fails only where another client of this process has installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seconds = match config.attributes.http_timeout_seconds {
        seconds if seconds > 0 => seconds,
        _ => INACTIVITY_SECONDS,
    };
    let mut client = reqwest::Client::builder();
    if direct {
        client = client.no_proxy();
    }
    client
        // Requests for a resource say more.
        .user_agent(concat!("pulumi-resource-databricks/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(Duration::from_secs(seconds.unsigned_abs()))
        .pool_idle_timeout(Duration::from_secs(180))
        // A redirect of an API is a login page; credentials never follow it.
        .redirect(reqwest::redirect::Policy::none())
        // Whether a request may be repeated is decided here alone.
        .retry(reqwest::retry::never())
        .tls_danger_accept_invalid_certs(config.attributes.skip_verify)
        .build()
        .map_err(|error| Error::Config(config.error(format!("cannot set up HTTP: {}", chain(&error)))))
}

/// Whether a failure happened before anything could have been carried out, or leaves that open.
fn transport_error(host: &Host, request: &Request, error: &reqwest::Error) -> Error {
    let reason = chain(error);
    if is_untrusted(error) {
        Error::Untrusted { host: host.url.clone(), reason }
    } else if error.is_connect() || error.is_builder() {
        Error::Unreachable { host: host.url.clone(), reason }
    } else {
        Error::Interrupted { host: host.url.clone(), request: request.to_string(), reason }
    }
}

/// Whether a certificate was refused, which asking again does not change.
fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // An error of input and output does not count what it holds among its causes.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = held.map_or_else(|| error.source(), |held| Some(held));
    }
    false
}

/// An error and its causes, without the URL that reqwest would add.
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

/// Reads a body up to [`LONGEST_ANSWER`]. It may hold a token, so it is wiped after use.
pub(crate) async fn read_body(mut response: Response) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut body = Zeroizing::new(Vec::with_capacity(1024));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > LONGEST_ANSWER => {
                return Err(format!("the answer is longer than {} MiB", LONGEST_ANSWER >> 20));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(chain(&error)),
        }
    }
}

/// Reads a good answer. No error quotes the body, which may hold a token.
fn read_answer<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // Good for those who expect nothing, and for nobody else: no list is empty for want of an answer.
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        if body.trim_ascii_start().starts_with(b"<") {
            "received HTML response instead of JSON: the host is not the URL of a Databricks workspace, or a proxy or \
             login page stands before it. Check databricks:host"
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

/// What private connectivity is called in a cloud, what leads to it, and where it is described.
fn private_link(cloud: Cloud) -> (&'static str, &'static str, &'static str) {
    match cloud {
        Cloud::Aws => (
            "AWS PrivateLink",
            "AWS VPC endpoint",
            "https://docs.databricks.com/en/security/network/classic/privatelink.html",
        ),
        Cloud::Azure => (
            "Azure Private Link",
            "Azure Private Link endpoint",
            "https://learn.microsoft.com/en-us/azure/databricks/security/network/classic/private-link-standard#authentication-troubleshooting",
        ),
        Cloud::Gcp => (
            "Private Service Connect",
            "GCP VPC endpoint",
            "https://docs.gcp.databricks.com/en/security/network/classic/private-service-connect.html",
        ),
    }
}

/// Why a host of a cloud answers with a redirect, and what to do about it, where its target tells.
fn known_redirect(cloud: Cloud, location: &str) -> Option<String> {
    let path =
        location.split_once("://").map_or(location, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    if path.starts_with("/login.html") && path.contains("error=private-link-validation-error") {
        let (service, way, page) = private_link(cloud);
        Some(format!(
            "the requested workspace has {service} enabled and is not accessible from the current network. Check that \
             {service} is properly configured and that this machine has access to the {way}. See {page}"
        ))
    } else if path.starts_with("/login") {
        Some(
            "redirected to a login page: this looks like an account console, or a workspace that does not know these \
             credentials. Tokens belong to a workspace: set databricks:host to the workspace's own URL"
                .to_owned(),
        )
    } else {
        None
    }
}
