//! Tokens that expire: fetched once for all who need them, and renewed in the background before their expiry.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::error::AuthError;
use crate::single_flight::SingleFlight;

/// Renewal begins this long before the expiry, or at half the lifetime if that is later.
const EARLIEST_RENEWAL: Duration = Duration::from_secs(20 * 60);
/// How long a renewal in the background may take, and how long the next one waits after a failure.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// A token and how long it is good for.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) value: SecretString,
    /// Word before the token in the Authorization header, `Bearer` as a rule.
    pub(crate) kind: String,
    /// When it stops working; `None` means never.
    pub(crate) expires: Option<SystemTime>,
}

impl Token {
    /// A token from the answer to the request `what`. `kind` is the type of the token as the answer states it, or
    /// empty. An empty token is an error.
    pub(crate) fn new(
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
pub(crate) trait Source: Send + Sync + 'static {
    /// Gets a new token.
    async fn fetch(&self) -> Result<Token, AuthError>;
}

/// The current token of a source.
pub(crate) struct Cache<S>(Arc<Shared<S>>);

struct Shared<S> {
    source: S,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
    /// Shared by those who wait for a token.
    flight: SingleFlight<AuthError>,
}

#[derive(Default)]
struct Current {
    token: Option<Arc<Token>>,
    /// When to begin to renew in the background.
    renew_at: Option<SystemTime>,
    renewing: bool,
}

impl<S: Source> Cache<S> {
    pub(crate) fn new(source: S, clock: Arc<dyn Clock>) -> Self {
        Cache(Arc::new(Shared { source, clock, current: Mutex::default(), flight: SingleFlight::default() }))
    }

    /// A token that works now.
    pub(crate) async fn token(&self) -> Result<Arc<Token>, AuthError> {
        let fetch = || async { Ok(self.0.store(self.0.source.fetch().await?)) };
        self.0.flight.get(|| self.live(), fetch).await
    }

    /// Forgets the current token if it is the one in this header, which was refused.
    pub(crate) fn drop_token(&self, refused: Option<&HeaderValue>) {
        let Some(refused) = refused.and_then(|value| value.to_str().ok()) else { return };
        let mut current = self.0.lock();
        // By now the current token may be another one, which other requests have fetched.
        if current
            .token
            .as_ref()
            .is_some_and(|token| refused.split(' ').next_back() == Some(token.value.expose_secret()))
        {
            current.token = None;
            current.renew_at = None;
        }
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

    /// Stores a token, unless the current one lives longer. Returns the one that is kept.
    fn store(&self, token: Token) -> Arc<Token> {
        let now = self.clock.now();
        let mut current = self.lock();
        current.renewing = false;
        if let Some(kept) = &current.token
            && matches!((kept.expires, token.expires), (Some(kept), Some(new)) if kept > new)
        {
            let kept = Arc::clone(kept);
            current.renew_at = Some(now + RENEWAL_PAUSE);
            return kept;
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use secrecy::ExposeSecret;
    use tokio::sync::{Semaphore, watch};

    use super::*;
    use crate::testing;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A source of `token-1`, `token-2` and so on, with lifetimes from a list. It hands out each when the test lets it.
    #[derive(Clone)]
    struct Tokens(Arc<State>);

    struct State {
        clock: testing::Clock,
        /// Lifetimes of the next tokens: `None` is a failure, and so is the end of the list.
        lifetimes: Mutex<VecDeque<Option<Duration>>>,
        asked: watch::Sender<u32>,
        gate: Semaphore,
    }

    #[async_trait]
    impl Source for Tokens {
        async fn fetch(&self) -> Result<Token, AuthError> {
            self.0.asked.send_modify(|asked| *asked += 1);
            let number = *self.0.asked.borrow();
            self.0.gate.acquire().await.unwrap().forget();
            let lifetime = self.0.lifetimes.lock().unwrap().pop_front().flatten();
            let lifetime = lifetime.ok_or_else(|| AuthError(format!("failure {number}")))?;
            Ok(Token {
                value: format!("token-{number}").into(),
                kind: "Bearer".to_owned(),
                expires: (lifetime > Duration::ZERO).then(|| self.0.clock.now() + lifetime),
            })
        }
    }

    impl Tokens {
        fn asked(&self) -> u32 {
            *self.0.asked.borrow()
        }

        /// Waits until a token has been requested `count` times.
        async fn until_asked(&self, count: u32) {
            self.0.asked.subscribe().wait_for(|asked| *asked >= count).await.unwrap();
        }

        fn let_pass(&self, count: usize) {
            self.0.gate.add_permits(count);
        }
    }

    /// A cache of tokens with these lifetimes in minutes; 0 is for ever, and a negative one a failure.
    fn cache(lifetimes: &[i32]) -> (Arc<Cache<Tokens>>, Tokens, testing::Clock) {
        let clock = testing::Clock::still();
        let lifetimes =
            lifetimes.iter().map(|minutes| u32::try_from(*minutes).ok().map(|count| MINUTE * count));
        let tokens = Tokens(Arc::new(State {
            clock: clock.clone(),
            lifetimes: Mutex::new(lifetimes.collect()),
            asked: watch::Sender::new(0),
            gate: Semaphore::new(0),
        }));
        (Arc::new(Cache::new(tokens.clone(), Arc::new(clock.clone()))), tokens, clock)
    }

    async fn value(cache: &Cache<Tokens>) -> String {
        cache.token().await.unwrap().value.expose_secret().to_owned()
    }

    /// Lets the tasks that can go on do so.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn twenty_who_ask_at_once_share_one_fetch() {
        let (cache, tokens, _) = cache(&[60]);
        let asking: Vec<_> = (0..20)
            .map(|_| {
                let cache = Arc::clone(&cache);
                tokio::spawn(async move { value(&cache).await })
            })
            .collect();
        settle().await;
        tokens.let_pass(20);
        for task in asking {
            assert_eq!(task.await.unwrap(), "token-1");
        }
        assert_eq!(tokens.asked(), 1);
    }

    #[tokio::test]
    async fn those_who_wait_for_a_fetch_share_its_failure() {
        let (cache, tokens, _) = cache(&[-1, 60]);
        let asking: Vec<_> = (0..20)
            .map(|_| {
                let cache = Arc::clone(&cache);
                tokio::spawn(async move { cache.token().await.map(drop).unwrap_err().0 })
            })
            .collect();
        settle().await;
        tokens.let_pass(20);
        for task in asking {
            assert_eq!(task.await.unwrap(), "failure 1");
        }
        assert_eq!(tokens.asked(), 1);
        // Whoever asks later tries anew.
        assert_eq!(value(&cache).await, "token-2");
    }

    #[tokio::test]
    async fn a_token_is_renewed_in_the_background_before_it_expires() {
        let (cache, tokens, clock) = cache(&[60, 60]);
        tokens.let_pass(1);
        assert_eq!(value(&cache).await, "token-1");
        clock.advance(40 * MINUTE - Duration::from_secs(1));
        assert_eq!(value(&cache).await, "token-1");
        settle().await;
        assert_eq!(tokens.asked(), 1, "twenty minutes and a second are left");

        clock.advance(Duration::from_secs(1));
        for _ in 0..20 {
            assert_eq!(value(&cache).await, "token-1", "nobody waits");
        }
        tokens.until_asked(2).await;
        tokens.let_pass(1);
        settle().await;
        assert_eq!(value(&cache).await, "token-2");
        assert_eq!(tokens.asked(), 2, "one renewal at a time");
    }

    #[tokio::test]
    async fn a_short_token_is_renewed_at_half_its_life() {
        let (cache, tokens, clock) = cache(&[10, 10]);
        tokens.let_pass(2);
        value(&cache).await;
        clock.advance(5 * MINUTE - Duration::from_secs(1));
        value(&cache).await;
        settle().await;
        assert_eq!(tokens.asked(), 1);
        clock.advance(Duration::from_secs(1));
        value(&cache).await;
        tokens.until_asked(2).await;
    }

    #[tokio::test]
    async fn an_expired_token_is_waited_for() {
        let (cache, tokens, clock) = cache(&[60, 60]);
        tokens.let_pass(1);
        value(&cache).await;
        clock.advance(60 * MINUTE + Duration::from_secs(1));
        let waiting = tokio::spawn({
            let cache = Arc::clone(&cache);
            async move { value(&cache).await }
        });
        tokens.until_asked(2).await;
        assert!(!waiting.is_finished());
        tokens.let_pass(1);
        assert_eq!(waiting.await.unwrap(), "token-2");
    }

    #[tokio::test]
    async fn a_renewal_that_fails_is_tried_again_after_a_minute() {
        let (cache, tokens, clock) = cache(&[60, -1, 60]);
        tokens.let_pass(3);
        value(&cache).await;
        clock.advance(40 * MINUTE);
        value(&cache).await;
        tokens.until_asked(2).await;
        settle().await;
        clock.advance(Duration::from_secs(59));
        assert_eq!(value(&cache).await, "token-1");
        settle().await;
        assert_eq!(tokens.asked(), 2);
        clock.advance(Duration::from_secs(1));
        assert_eq!(value(&cache).await, "token-1");
        tokens.until_asked(3).await;
        settle().await;
        assert_eq!(value(&cache).await, "token-3");
    }

    #[tokio::test]
    async fn a_renewal_that_hangs_is_given_up() {
        let (cache, tokens, clock) = cache(&[60, 60]);
        tokens.let_pass(1);
        value(&cache).await;
        clock.advance(40 * MINUTE);
        value(&cache).await;
        tokens.until_asked(2).await;
        clock.until_asleep(1).await;
        clock.advance(RENEWAL_PAUSE);
        settle().await;
        clock.advance(RENEWAL_PAUSE);
        assert_eq!(value(&cache).await, "token-1");
        tokens.until_asked(3).await;
    }

    #[tokio::test]
    async fn a_token_that_lives_shorter_does_not_replace_one() {
        let (cache, tokens, clock) = cache(&[60, 5, 60]);
        tokens.let_pass(3);
        value(&cache).await;
        clock.advance(40 * MINUTE);
        value(&cache).await;
        tokens.until_asked(2).await;
        settle().await;
        assert_eq!(value(&cache).await, "token-1");
        settle().await;
        assert_eq!(tokens.asked(), 2, "the next attempt waits");
        clock.advance(RENEWAL_PAUSE);
        value(&cache).await;
        tokens.until_asked(3).await;
        settle().await;
        assert_eq!(value(&cache).await, "token-3");
    }

    #[tokio::test]
    async fn a_token_that_is_refused_is_fetched_anew_once() {
        let (cache, tokens, _) = cache(&[60, 60]);
        tokens.let_pass(2);
        assert_eq!(value(&cache).await, "token-1");
        let refused = HeaderValue::from_static("Bearer token-1");
        // All those whose requests were refused say so, some of them late.
        cache.drop_token(Some(&refused));
        cache.drop_token(Some(&refused));
        assert_eq!(value(&cache).await, "token-2");
        cache.drop_token(Some(&refused));
        cache.drop_token(None);
        assert_eq!(value(&cache).await, "token-2");
        assert_eq!(tokens.asked(), 2);
    }

    #[tokio::test]
    async fn a_token_without_an_expiry_is_kept() {
        let (cache, tokens, clock) = cache(&[0]);
        tokens.let_pass(1);
        value(&cache).await;
        clock.advance(10_000 * MINUTE);
        assert_eq!(value(&cache).await, "token-1");
        settle().await;
        assert_eq!(tokens.asked(), 1);
    }

    #[test]
    fn the_word_for_a_token_is_that_of_the_header() {
        for (kind, expected) in [
            ("", "Bearer"),
            ("bearer", "Bearer"),
            ("BEARER", "Bearer"),
            ("mac", "MAC"),
            ("basic", "Basic"),
            ("X", "X"),
        ] {
            assert_eq!(Token::new("", "t".into(), kind, None).unwrap().kind, expected);
        }
    }
}
