//! Whether a request that failed is sent again, and when.

use std::time::Duration;

use databricks_auth::backoff::{Backoff, UNREACHABLE_TIMEOUT};

use super::error::Error;
use crate::context::{Context, Severity};

/// How long a request is repeated where neither the configuration nor the resource sets a limit: as long as the
/// official provider does.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// Whether a request that failed may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Carrying it out twice is the same as once.
    Always,
    /// Only if it certainly was not carried out.
    IfItDidNotRun,
    /// Not by the client: the caller first looks whether it was carried out.
    Never,
}

/// The attempts of one request.
pub(crate) struct Retry {
    total: Duration,
    backoff: Backoff,
}

impl Retry {
    pub(super) fn new(ctx: &Context, total: Duration) -> Self {
        Retry { total, backoff: Backoff::start(ctx.clock.now()) }
    }

    /// After a failed attempt: waits until it is time for the next one, or returns the error to end with.
    pub(crate) async fn wait(&mut self, ctx: &Context, repeat: Repeat, error: Error) -> Result<(), Error> {
        if repeat == Repeat::Never || repeat == Repeat::IfItDidNotRun && !error.did_not_run() {
            return Err(error);
        }
        let (limit, asked) = match &error {
            Error::Api(api) if api.is_transient() => (self.total, api.retry_after),
            Error::Unreachable { .. } | Error::Interrupted { .. } => {
                (self.total.min(UNREACHABLE_TIMEOUT), None)
            }
            _ => return Err(error),
        };
        let now = ctx.clock.now();
        let wait = self.backoff.next(now, limit, ctx.deadline, asked);
        let attempts = self.backoff.attempts();
        let Some(wait) = wait else {
            return Err(if attempts == 1 && asked.is_none() {
                error
            } else {
                Error::GaveUp { waited: self.backoff.elapsed(now), attempts, last: Box::new(error) }
            });
        };
        let status = format!("waiting {} s to ask again: {error}", wait.as_secs_f64().ceil());
        tracing::debug!(attempt = attempts, ?wait, %error, "repeating a request");
        ctx.report(Severity::Status, &status).await;
        tokio::select! {
            () = ctx.clock.sleep(wait) => Ok(()),
            () = ctx.cancel.cancelled() => Err(error),
        }
    }
}
