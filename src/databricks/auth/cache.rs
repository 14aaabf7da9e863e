//! Tokens that expire: fetched once for all who ask, and renewed in the background before they do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::AuthError;
use crate::context::Clock;

/// Renewal begins this long before the expiry, or at half the lifetime if that is later.
const EARLIEST_RENEWAL: Duration = Duration::from_secs(20 * 60);
/// How long a renewal in the background may take, and how long the next one waits after a failure.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// A token and how long it is good for.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) value: SecretString,
    /// Word before the token in the Authorization header, `Bearer` as a rule.
    pub(super) kind: String,
    /// When it stops working; `None` is never.
    pub(super) expires: Option<SystemTime>,
}

impl Token {
    /// A token that an answer holds; `what` was asked for it. The word for its type is as the answer has it, if at all.
    pub(super) fn new(
        what: &str,
        value: SecretString,
        kind: &str,
        expires: Option<SystemTime>,
    ) -> Result<Self, AuthError> {
        if value.expose_secret().is_empty() {
            return Err(AuthError(format!("{what}: the answer holds no token")));
        }
        let kind = match kind.to_ascii_lowercase().as_str() {
            "" | "bearer" => "Bearer",
            "mac" => "MAC",
            "basic" => "Basic",
            _ => kind,
        };
        Ok(Token { value, kind: kind.to_owned(), expires })
    }
}

/// Where tokens come from.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    /// Gets a new token.
    async fn fetch(&self) -> Result<Token, AuthError>;
}

/// The current token of a source.
pub(super) struct Cache<S>(Arc<Shared<S>>);

struct Shared<S> {
    source: S,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
    /// Held while a token is fetched that somebody waits for.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    token: Option<Arc<Token>>,
    /// From when on to renew in the background.
    renew_at: Option<SystemTime>,
    renewing: bool,
}

impl<S: Source> Cache<S> {
    pub(super) fn new(source: S, clock: Arc<dyn Clock>) -> Self {
        Cache(Arc::new(Shared {
            source,
            clock,
            current: Mutex::default(),
            fetching: tokio::sync::Mutex::new(()),
        }))
    }

    /// A token that works now.
    pub(super) async fn token(&self) -> Result<Arc<Token>, AuthError> {
        if let Some(token) = self.live() {
            return Ok(token);
        }
        let _turn = self.0.fetching.lock().await;
        // Whoever held the lock before may have fetched it.
        if let Some(token) = self.live() {
            return Ok(token);
        }
        let token = self.0.source.fetch().await?;
        Ok(self.0.store(token))
    }

    /// The current token, if it works; starts its renewal if that is due.
    fn live(&self) -> Option<Arc<Token>> {
        let now = self.0.clock.now();
        let mut current = self.0.lock();
        let token = current.token.clone()?;
        if token.expires.is_some_and(|expires| now > expires) {
            return None;
        }
        if !current.renewing && current.renew_at.is_some_and(|at| now >= at) {
            current.renewing = true;
            tokio::spawn(Arc::clone(&self.0).renew());
        }
        Some(token)
    }
}

impl<S: Source> Shared<S> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(self: Arc<Self>) {
        let fetched = tokio::select! {
            fetched = self.source.fetch() => fetched,
            () = self.clock.sleep(RENEWAL_PAUSE) => Err(AuthError("timed out".to_owned())),
        };
        match fetched {
            Ok(token) => drop(self.store(token)),
            Err(error) => {
                tracing::debug!(%error, "a token could not be renewed ahead of time");
                let mut current = self.lock();
                current.renewing = false;
                current.renew_at = Some(self.clock.now() + RENEWAL_PAUSE);
            }
        }
    }

    /// Keeps a token, unless one that lives longer is there already.
    fn store(&self, token: Token) -> Arc<Token> {
        let now = self.clock.now();
        let mut current = self.lock();
        current.renewing = false;
        if let Some(kept) = &current.token
            && matches!((kept.expires, token.expires), (Some(kept), Some(new)) if kept > new)
        {
            return Arc::clone(kept);
        }
        current.renew_at = token.expires.map(|expires| {
            let lifetime = expires.duration_since(now).unwrap_or_default();
            expires - EARLIEST_RENEWAL.min(lifetime / 2)
        });
        let token = Arc::new(token);
        current.token = Some(Arc::clone(&token));
        token
    }
}
