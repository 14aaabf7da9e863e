//! The time of the workspace. It decides when a credential expires; the clock of this machine may be wrong.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use databricks_auth::clock::unix_ms;

use super::Client;
use crate::context::Context;

/// Smaller differences come from the time that an answer travels, and from a header that counts whole seconds.
const PRECISION: Duration = Duration::from_secs(3);

/// How far the clock of the workspace is ahead of this machine's, in milliseconds, once an answer has shown it.
#[derive(Debug, Default)]
pub(super) struct WorkspaceClock(Mutex<Option<i64>>);

impl WorkspaceClock {
    /// Takes in an answer that came `now` and is dated `date`.
    pub(super) fn set(&self, date: SystemTime, now: SystemTime) {
        let ahead = unix_ms(date).saturating_sub(unix_ms(now));
        let is_precise = ahead.unsigned_abs() < PRECISION.as_millis() as u64;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(if is_precise { 0 } else { ahead });
    }

    fn ahead(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// What time it is for the workspace, in milliseconds since 1970. Asks the host if no answer has shown it yet;
    /// where none does, this machine's clock has to do.
    pub async fn now_ms(&self, ctx: &Context) -> i64 {
        if self.clock_difference_ms().is_none() {
            // The host's description of itself has a date, and so has the answer that there is none.
            let _ = self.endpoint().await;
        }
        ctx.clock.now_ms().saturating_add(self.clock_difference_ms().unwrap_or_default())
    }

    /// How far the clock of the workspace is ahead of this machine's, in milliseconds, if an answer has shown it.
    pub fn clock_difference_ms(&self) -> Option<i64> {
        self.0.workspace_clock.ahead()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_differences_are_none() {
        let clock = WorkspaceClock::default();
        assert_eq!(clock.ahead(), None);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (date, ahead) in [
            (now - Duration::from_millis(2999), 0),
            (now + Duration::from_secs(3600), 3_600_000),
            (now - Duration::from_secs(3600), -3_600_000),
        ] {
            clock.set(date, now);
            assert_eq!(clock.ahead(), Some(ahead));
        }
    }
}
