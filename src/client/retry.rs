use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};

use super::error::Error;
use crate::context::{Context, Severity};

/// How long a request is repeated where neither the configuration nor the resource sets a limit: the official
/// provider's.
pub(super) const DEFAULT_TOTAL: Duration = Duration::from_secs(20 * 60);

/// How long a host that takes no connection, or drops it, is tried: long enough for a restart, short enough for a
/// person who mistyped the host.
pub(super) const UNREACHABLE_TOTAL: Duration = Duration::from_secs(20);

/// What a request allows after an answer that never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Carrying it out twice is the same as once.
    Always,
    /// Only if it certainly was not carried out.
    IfItDidNotRun,
    /// Not by the client; the caller looks before it asks again.
    Never,
}

/// The attempts of one request.
pub(crate) struct Retry {
    started: SystemTime,
    total: Duration,
    attempts: u32,
    waits: Box<dyn Iterator<Item = Duration> + Send>,
}

impl Retry {
    pub(super) fn new(ctx: &Context, total: Duration) -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_secs(1))
            .with_max_delay(Duration::from_secs(10))
            .with_jitter()
            .without_max_times()
            .build();
        Retry { started: ctx.clock.now(), total, attempts: 0, waits: Box::new(waits) }
    }

    /// After a failed attempt: waits and returns, or gives the error to end with.
    pub(crate) async fn wait(&mut self, ctx: &Context, repeat: Repeat, error: Error) -> Result<(), Error> {
        self.attempts += 1;
        if repeat == Repeat::Never || repeat == Repeat::IfItDidNotRun && !error.did_not_run() {
            return Err(error);
        }
        let (limit, asked) = match &error {
            Error::Api(api) if api.is_transient() => (self.total, api.retry_after),
            Error::Unreachable { .. } | Error::Interrupted { .. } => {
                (self.total.min(UNREACHABLE_TOTAL), None)
            }
            _ => return Err(error),
        };
        let own = self.waits.next().unwrap_or_default();
        let wait = asked.map_or(own, |asked| asked.max(own));
        let now = ctx.clock.now();
        // A limit beyond all time is none.
        let limit = self.started.checked_add(limit);
        let end = [limit, ctx.deadline].into_iter().flatten().min();
        if end.is_some_and(|end| now.checked_add(wait).is_none_or(|wake| wake > end)) {
            let waited = now.duration_since(self.started).unwrap_or_default();
            return Err(if self.attempts == 1 && asked.is_none() {
                error
            } else {
                Error::GaveUp { waited, attempts: self.attempts, last: Box::new(error) }
            });
        }
        let status = format!("waiting {} s to ask again: {error}", wait.as_secs_f64().ceil());
        tracing::debug!(attempt = self.attempts, ?wait, %error, "repeating a request");
        ctx.report(Severity::Status, &status).await;
        tokio::select! {
            () = ctx.clock.sleep(wait) => Ok(()),
            () = ctx.cancel.cancelled() => Err(error),
        }
    }
}

/// The Retry-After header: seconds, or a date.
pub(super) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        // What is too long to count is too long to wait for.
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
