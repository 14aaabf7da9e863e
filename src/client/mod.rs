//! The Databricks REST client: typed requests and answers, signed, paced and repeated where that is safe.
//!
//! [`databricks_auth`] finds out who answers at the host, and how to sign a request.

mod current_user;
mod debug_log;
mod error;
#[cfg(test)]
mod fuzz;
mod proof;
mod rate_limit;
mod request;
mod retry;
mod send;
mod shared_read;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod user_agent;
mod workspace_clock;
mod workspaces;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

pub use databricks_auth::AuthError;
use databricks_auth::metadata::HostType;
pub(crate) use databricks_auth::redact::Redactor;
use databricks_auth::single_flight::SingleFlight;
use databricks_auth::transport::longest_silence;
use databricks_auth::{SignIn, UnifiedAuth};
use tokio::sync::OnceCell;

pub use current_user::User;
pub(crate) use current_user::question;
pub use error::{ApiError, Error};
pub(crate) use request::{Reply, Request};
pub use retry::Repeat;
pub use workspaces::Level;

use crate::config::Config;
use crate::context::Clock;
use crate::env::Env;
use current_user::Introduction;
use rate_limit::RateLimit;
use shared_read::SharedReads;
use workspace_clock::WorkspaceClock;

/// A client of one workspace. Cheap to clone; nothing is sent, and no certificate is read, before the first request.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

/// How long to go by a guess about a host that does not describe itself.
const GUESS_LIFETIME: Duration = Duration::from_secs(60);

struct Inner {
    auth: UnifiedAuth,
    endpoint: Mutex<Option<Found>>,
    finding: SingleFlight<Error>,
    /// The workspace's answer to the question who signs in.
    introduction: OnceCell<Introduction>,
    workspace_clock: WorkspaceClock,
    redactor: Redactor,
    own_token_id: OnceLock<Option<String>>,
    workspaces: Mutex<HashMap<String, Client>>,
    shared_reads: SharedReads,
    memory: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// Who answers at the host, how many requests a second it takes, and how to sign in there.
struct Endpoint {
    found: databricks_auth::Endpoint,
    rate_limit: RateLimit,
    credentials: OnceLock<SignIn>,
    signing_in: SingleFlight<AuthError>,
}

/// An endpoint, and when the host was asked about it.
struct Found {
    endpoint: Arc<Endpoint>,
    at: SystemTime,
}

impl Found {
    /// Whether the host is to be asked again: it has not described itself, and that was a while ago, or in the future
    /// if the clock has jumped.
    fn is_stale(&self, now: SystemTime) -> bool {
        !self.endpoint.found.metadata.is_certain
            && now.duration_since(self.at).map_or(true, |age| age > GUESS_LIFETIME)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.config().host).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the workspace that the configuration names.
    pub fn new(config: Config, env: Env, clock: Arc<dyn Clock>) -> Self {
        Client::with(UnifiedAuth::new(config, env, clock))
    }

    fn with(auth: UnifiedAuth) -> Self {
        Client(Arc::new(Inner {
            redactor: Redactor::of(auth.config()),
            auth,
            endpoint: Mutex::default(),
            finding: SingleFlight::default(),
            introduction: OnceCell::new(),
            workspace_clock: WorkspaceClock::default(),
            own_token_id: OnceLock::new(),
            workspaces: Mutex::default(),
            shared_reads: SharedReads::default(),
            memory: Mutex::default(),
        }))
    }

    /// The configuration of this client.
    pub fn config(&self) -> &Config {
        self.0.auth.config()
    }

    /// Hides the credentials of this client.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    /// Id of the personal access token that requests are signed with; `None` where they are signed with something else.
    pub fn own_token_id(&self) -> Option<&str> {
        let find = || {
            let attributes = &self.config().attributes;
            let is_used = attributes.auth_type.as_deref().is_none_or(|name| name == "pat")
                && attributes.group_id.is_none();
            self.config().token_id().filter(|_| is_used)
        };
        self.0.own_token_id.get_or_init(find).as_deref()
    }

    /// Whether a text is, or looks like, the value of a credential.
    pub(crate) fn is_a_credential(&self, text: &str) -> bool {
        self.0.redactor.hide(text, &[]) != text
    }

    /// How long Databricks may be silent before a request counts as lost.
    pub fn longest_silence(&self) -> Duration {
        longest_silence(self.config())
    }

    /// What this process remembers about the workspace, by type.
    pub(crate) fn memory<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = memory.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // The key is the type, so the value always has that type.
        Arc::clone(kept).downcast().unwrap_or_default()
    }

    /// Fails, saying what to do, where nothing says which workspace is meant. Sends nothing.
    pub fn check_host(&self) -> Result<(), Error> {
        Ok(self.config().check_host()?)
    }

    /// Finds out who answers at the host, and which host that is: once, or again from time to time while the host does
    /// not describe itself.
    async fn endpoint(&self) -> Result<Arc<Endpoint>, Error> {
        let now = self.0.auth.clock().now();
        let known = || {
            let found = self.found();
            found.as_ref().filter(|found| !found.is_stale(now)).map(|found| Arc::clone(&found.endpoint))
        };
        self.0.finding.get(known, || self.find()).await
    }

    async fn find(&self) -> Result<Arc<Endpoint>, Error> {
        self.check_host()?;
        let auth = &self.0.auth;
        let guess = self.found().as_ref().map(|found| Arc::clone(&found.endpoint));
        let endpoint = match guess {
            None => self.endpoint_of(auth.endpoint().await?)?,
            Some(guess) => match auth.ask_again(&guess.found).await {
                None => guess,
                Some(found) => self.endpoint_of(found)?,
            },
        };
        *self.found() = Some(Found { endpoint: Arc::clone(&endpoint), at: auth.clock().now() });
        Ok(endpoint)
    }

    fn endpoint_of(&self, found: databricks_auth::Endpoint) -> Result<Arc<Endpoint>, Error> {
        if let Some(date) = found.metadata.date {
            self.0.workspace_clock.set(date, self.0.auth.clock().now());
        }
        let config = self.config();
        workspaces::check_workspace(config, &found.metadata)?;
        let id = found.metadata.workspace_id.as_deref();
        let routed = id.filter(|_| found.metadata.host_type != HostType::Workspace);
        let rate_limit = RateLimit::of(&found.host.url, routed, config.attributes.rate_limit);
        let (credentials, signing_in) = (OnceLock::new(), SingleFlight::default());
        Ok(Arc::new(Endpoint { found, rate_limit, credentials, signing_in }))
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.0.endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out, once, how to sign in.
    async fn credentials<'a>(&self, endpoint: &'a Endpoint) -> Result<&'a SignIn, Error> {
        let sign_in = || async {
            let chosen = self.0.auth.sign_in(&endpoint.found).await?;
            tracing::debug!(host = %endpoint.found.host, auth = chosen.auth_type(), "signed in");
            Ok(endpoint.credentials.get_or_init(|| chosen))
        };
        Ok(endpoint.signing_in.get(|| endpoint.credentials.get(), sign_in).await?)
    }
}
