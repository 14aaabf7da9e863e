//! What every operation carries from the server down to the HTTP request: time, the way to the user, and the
//! reasons to give up waiting.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

pub use databricks_auth::clock::{BoxFuture, Clock, SystemClock};
use tokio_util::sync::CancellationToken;

/// The target of `tracing` spans that go to the engine's traces and to no log.
pub const SPANS: &str = "traces";

/// How a message to the user is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Only with `pulumi up -d`.
    Debug,
    /// Under the resource and among the diagnostics.
    Info,
    /// Like `Info`, but marked as a warning.
    Warning,
    /// Only in the status column, until the next one.
    Status,
}

/// Shows messages to the user of the engine.
pub trait Reporter: Send + Sync + 'static {
    /// Shows `message` for the resource `urn`, or for the provider if that is empty. Never fails: the engine may be
    /// gone, and no operation depends on it.
    fn report<'a>(&'a self, severity: Severity, urn: &'a str, message: &'a str) -> BoxFuture<'a, ()>;
}

/// Shows nothing, for use without an engine.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Reporter for Silent {
    fn report<'a>(&'a self, _: Severity, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// One operation: what it is for, and when to stop waiting.
#[derive(Clone)]
pub struct Context {
    /// The resource, for messages; empty for the whole provider.
    pub urn: String,
    /// The word for the kind of resource in the User-Agent, such as `token`.
    pub resource: &'static str,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where messages to the user go.
    pub reporter: Arc<dyn Reporter>,
    /// Cancelled once the engine asks to give up: requests in flight finish, waits end.
    pub cancel: CancellationToken,
    /// The resource's own time limit, in the clock's time.
    pub deadline: Option<SystemTime>,
}

impl Context {
    /// Resolves when the resource's time is up; never if it has no limit.
    pub async fn time_is_up(&self) {
        match self.deadline {
            Some(deadline) => {
                self.clock.sleep(deadline.duration_since(self.clock.now()).unwrap_or_default()).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Shows a message for this resource.
    pub async fn report(&self, severity: Severity, message: &str) {
        self.reporter.report(severity, &self.urn, message).await;
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("urn", &self.urn)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
