//! How long to wait before a request is sent again, and when to give up: one policy for every request.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBuilder};

/// The first wait; each further one is about twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Waits do not grow beyond this, apart from jitter.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long a host is tried that takes no connection, or drops it. This is long enough for a restart, and short enough
/// for a person who mistyped the host.
pub const UNREACHABLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The attempts of one request, and the waits between them.
pub struct Backoff {
    started: SystemTime,
    attempts: u32,
    waits: Box<dyn Iterator<Item = Duration> + Send>,
}

impl Backoff {
    /// Begins to count at `now`.
    pub fn start(now: SystemTime) -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_jitter()
            .without_max_times()
            .build();
        Backoff { started: now, attempts: 0, waits: Box::new(waits) }
    }

    /// Counts a failed attempt. Gives how long to wait before the next one: at least what the server asked for.
    /// Gives `None` where the next attempt would begin after the time limit, or after the deadline.
    pub fn next(
        &mut self,
        now: SystemTime,
        within: Duration,
        deadline: Option<SystemTime>,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        self.attempts += 1;
        let wait = self.waits.next().unwrap_or_default().max(asked.unwrap_or_default());
        // A sum that no clock can show is no limit.
        let end = [self.started.checked_add(within), deadline].into_iter().flatten().min();
        let is_late = end.is_some_and(|end| now.checked_add(wait).is_none_or(|wake| wake > end));
        (!is_late).then_some(wait)
    }

    /// How many attempts have failed.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long it has taken so far.
    pub fn elapsed(&self, now: SystemTime) -> Duration {
        now.duration_since(self.started).unwrap_or_default()
    }
}

impl std::fmt::Debug for Backoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backoff").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

/// Reads the Retry-After header, which holds seconds or a date.
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        // More than this, about a century, cannot be added to every date. Nobody waits that long anyway.
        return Some(Duration::from_secs(seconds.min(u32::MAX.into())));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now), Some(Duration::from_secs(60)));
        let later = now + Duration::from_secs(100);
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:01:00 GMT", later), Some(Duration::ZERO));
        assert!(retry_after(&u64::MAX.to_string(), now).is_some_and(|wait| now.checked_add(wait).is_some()));
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
    }
}
