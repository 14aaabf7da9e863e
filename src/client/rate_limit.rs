//! Requests per second: all that this process sends to one workspace shares a limit, whichever providers send it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::context::Context;

/// Requests per second, as in every Databricks tool.
const REQUESTS_PER_SECOND: u32 = 15;

/// Whose limit it is: the URL of the host, the workspace that it routes to, and the requests per second.
type Key = (String, Option<String>, NonZeroU32);

/// The limits in use, of all clients of this process.
static LIMITS: Mutex<BTreeMap<Key, Weak<Limit>>> = Mutex::new(BTreeMap::new());

/// The limit of a workspace.
#[derive(Clone)]
pub(super) struct RateLimit(Arc<Limit>);

struct Limit {
    limiter: DefaultDirectRateLimiter,
    /// Whoever is next holds this, and the others queue behind it. Otherwise all that wake at the same time would race,
    /// and one of many could lose for minutes.
    queue: tokio::sync::Mutex<()>,
}

impl RateLimit {
    /// The limit of a workspace for clients that are configured for this many requests per second; 0 means the usual
    /// number.
    pub(super) fn of(url: &str, workspace: Option<&str>, stated: i64) -> Self {
        let stated = u32::try_from(stated.clamp(0, u32::MAX.into())).ok().and_then(NonZeroU32::new);
        let usual = NonZeroU32::new(REQUESTS_PER_SECOND).unwrap_or(NonZeroU32::MIN);
        let rate = stated.unwrap_or(usual);
        let key = (url.to_ascii_lowercase(), workspace.map(str::to_owned), rate);
        let mut limits = LIMITS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = limits.get(&key).and_then(Weak::upgrade) {
            return RateLimit(limit);
        }
        limits.retain(|_, limit| limit.strong_count() > 0);
        let limiter = RateLimiter::direct(Quota::per_second(rate));
        let limit = Arc::new(Limit { limiter, queue: tokio::sync::Mutex::default() });
        limits.insert(key, Arc::downgrade(&limit));
        RateLimit(limit)
    }

    /// Waits until the next request may be sent; first come, first served.
    pub(super) async fn wait(&self, ctx: &Context) {
        let _first = self.0.queue.lock().await;
        while let Some(wait) = self.pause() {
            ctx.clock.sleep(wait).await;
        }
    }

    /// Takes a turn; where there is none now, returns how long to wait for one.
    fn pause(&self) -> Option<Duration> {
        let not_until = self.0.limiter.check().err()?;
        Some(not_until.wait_time_from(self.0.limiter.clock().now()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Requests that may be sent at once, and how long the next one waits.
    fn burst(limit: &RateLimit) -> (u32, Duration) {
        let mut count = 0;
        loop {
            match limit.pause() {
                None => count += 1,
                Some(wait) => return (count, wait),
            }
        }
    }

    #[test]
    fn a_burst_passes_and_then_one_after_the_other() {
        for (stated, rate) in [(0, 15), (-1, 15), (1, 1), (3, 3)] {
            let began = Instant::now();
            let (count, wait) = burst(&RateLimit::of("https://burst", None, stated));
            // A busy machine may take so long that more turns come up meanwhile.
            let meanwhile = (began.elapsed().as_secs_f64() * f64::from(rate)) as u32;
            assert!((rate..=rate + meanwhile).contains(&count), "{count} of {rate}");
            assert!(!wait.is_zero() || count < rate + meanwhile, "{count} of {rate}");
            assert!(wait <= Duration::from_secs(1) / rate, "{wait:?}");
        }
    }

    #[tokio::test]
    async fn who_comes_first_is_served_first() {
        let limit = RateLimit::of("https://queue", None, 40);
        while limit.pause().is_none() {}
        let ctx = crate::client::testing::context(Arc::new(crate::context::SystemClock));
        let served = Mutex::new(Vec::new());
        let waits = (0..8).map(|number| {
            let (limit, ctx, served) = (&limit, &ctx, &served);
            async move {
                limit.wait(ctx).await;
                served.lock().unwrap().push(number);
            }
        });
        // The last is polled first, as timers may do: only the order of arrival counts.
        let mut waits: Vec<_> = waits.map(Box::pin).collect();
        for wait in &mut waits {
            assert!(futures_util::poll!(wait).is_pending());
        }
        waits.reverse();
        futures_util::future::join_all(waits).await;
        assert_eq!(served.into_inner().unwrap(), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_workspace_has_one_limit_whoever_asks() {
        let first = RateLimit::of("https://shared", None, 7);
        let shared = |other: RateLimit| Arc::ptr_eq(&first.0, &other.0);
        assert!(shared(RateLimit::of("HTTPS://Shared", None, 7)));
        assert!(!shared(RateLimit::of("https://shared", Some("1"), 7)));
        assert!(!shared(RateLimit::of("https://other", None, 7)));
        assert!(!shared(RateLimit::of("https://shared", None, 8)));
        // A limit that nobody uses any more is forgotten.
        let limit = Arc::downgrade(&first.0);
        drop(first);
        assert!(limit.upgrade().is_none());
    }
}
