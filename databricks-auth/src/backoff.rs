//! How long to wait before a request is sent again, and when to give up: one policy for every request.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use http::HeaderMap;

/// The first wait; each further one is about twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The first wait of a request that others wait for.
const BRISK_WAIT: Duration = Duration::from_millis(500);
/// Waits do not grow beyond this, apart from jitter.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long to keep trying a host that takes no connection, or drops it. This is long enough for a restart, and short
/// enough for a person who mistyped the host.
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
        Backoff::begin(now, FIRST_WAIT)
    }

    /// Like [`Backoff::start`], but with shorter first waits, for requests on which others wait.
    pub fn brisk(now: SystemTime) -> Self {
        Backoff::begin(now, BRISK_WAIT)
    }

    fn begin(now: SystemTime, first: Duration) -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(first)
            .with_max_delay(LONGEST_WAIT)
            .with_jitter()
            .without_max_times()
            .build();
        Backoff { started: now, attempts: 0, waits: Box::new(waits) }
    }

    /// Counts a failed attempt. Returns how long to wait before the next one: at least as long as the server `asked`.
    /// Returns `None` where the next attempt would begin after the time limit, or after the deadline.
    pub fn next(
        &mut self,
        now: SystemTime,
        within: Duration,
        deadline: Option<SystemTime>,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        self.attempts += 1;
        let wait = self.waits.next().unwrap_or_default().max(asked.unwrap_or_default());
        // A time that no clock can show is no limit.
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

/// The time on the clock of the server that answered with these headers.
pub fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(http::header::DATE)?.to_str().ok()?).ok()
}

/// How long to wait according to the Retry-After header, which holds seconds or a date. A date is by the server's
/// clock, so it is compared with the Date header, or with `now` where there is none.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        // More than this, about a century, cannot be added to every date. Nobody waits that long anyway.
        return Some(Duration::from_secs(seconds.min(u32::MAX.into())));
    }
    let end = httpdate::parse_http_date(text).ok()?;
    Some(end.duration_since(date(headers).unwrap_or(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |text: &str, date: Option<&str>, now| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            if let Some(date) = date {
                headers.insert("date", date.parse().unwrap());
            }
            retry_after(&headers, now)
        };
        let minute = "Thu, 01 Jan 1970 00:01:00 GMT";
        let now = SystemTime::UNIX_EPOCH;
        let later = now + Duration::from_secs(100);
        assert_eq!(wait("7", None, now), Some(Duration::from_secs(7)));
        assert_eq!(wait("7", Some(minute), now), Some(Duration::from_secs(7)));
        assert_eq!(wait(minute, None, now), Some(Duration::from_secs(60)));
        assert_eq!(wait(minute, None, later), Some(Duration::ZERO));
        assert_eq!(wait(minute, Some("Thu, 01 Jan 1970 00:00:20 GMT"), later), Some(Duration::from_secs(40)));
        assert_eq!(wait(minute, Some("today"), now), Some(Duration::from_secs(60)));
        let long = wait(&u64::MAX.to_string(), None, now);
        assert!(long.is_some_and(|wait| now.checked_add(wait).is_some()));
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(wait(text, None, now), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
