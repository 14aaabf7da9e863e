//! Whether a credential exists. One that is forgotten lives on unknown, so it counts as gone only if that is proved, or
//! if nobody who can be asked knows it and the state leaves open whose it is, or where; the user is then warned.

use std::time::Duration;

use super::Error;
use super::rotation::{Life, date};
use crate::client::{self, Client};
use crate::context::{Context, Severity};

/// What looking for a credential has found.
pub(super) enum Presence<L> {
    /// It lives.
    Live(L),
    /// It does not exist any more.
    Gone(Gone),
}

/// Why a credential counts as gone.
pub(super) struct Gone {
    /// In words that can follow a colon.
    reason: String,
    /// Whether the reason is a proof. If not, it counts as gone because nobody who was asked knows it.
    is_proved: bool,
}

impl Gone {
    pub(super) fn proved(reason: impl Into<String>) -> Self {
        Gone { reason: reason.into(), is_proved: true }
    }

    pub(super) fn unproved(reason: impl Into<String>) -> Self {
        Gone { reason: reason.into(), is_proved: false }
    }

    /// Its time is over.
    pub(super) fn expired(expires: i64) -> Self {
        Gone::proved(format!("it expired on {}", date(expires)))
    }

    /// The reason, where it is no proof.
    pub(super) fn doubt(&self) -> Option<&str> {
        (!self.is_proved).then_some(self.reason.as_str())
    }

    /// Tells the user what becomes of the credential, and why.
    pub(super) async fn tell(&self, ctx: &Context, what: &str) {
        let severity = if self.is_proved { Severity::Info } else { Severity::Warning };
        ctx.report(severity, &format!("{what}: {}", self.reason)).await;
    }
}

/// The reason why a credential is gone, if its time is over by the workspace's clock.
pub(super) async fn expired(client: &Client, ctx: &Context, life: Life) -> Option<Gone> {
    let expires = life.end()?;
    (client.now_ms(ctx).await >= expires).then(|| Gone::expired(expires))
}

/// How long a list, or a look-up, may lag behind a create.
const LONGEST_LAG: Duration = Duration::from_secs(30);

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether a credential is so new that the workspace may not show it yet. `created` is in the workspace's time, in
/// milliseconds since 1970.
pub(super) async fn is_new(client: &Client, ctx: &Context, created: Option<i64>) -> bool {
    let Some(created) = created else { return false };
    let age = client.now_ms(ctx).await.saturating_sub(created);
    (0..LONGEST_LAG.as_millis() as i64).contains(&age)
}

/// As long as the credential is new, waits a little and returns `true`, so that the caller looks again.
pub(super) async fn may_lag(
    client: &Client,
    ctx: &Context,
    noun: &str,
    created: Option<i64>,
) -> Result<bool, Error> {
    if !is_new(client, ctx, created).await {
        return Ok(false);
    }
    let status =
        format!("the workspace does not show the new {noun} yet; looking again in {} s", PAUSE.as_secs());
    ctx.report(Severity::Status, &status).await;
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => {}
        () = ctx.time_is_up() => {}
        () = ctx.clock.sleep(PAUSE) => return Ok(true),
    }
    Err(client::Error::Cancelled { request: format!("another look for the {noun}") }.into())
}
