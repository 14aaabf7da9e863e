//! Work that is done once for all who need it, and fails once for all who wait for it.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lets one task at a time do the work. Tasks that waited share its outcome instead of doing the work again: otherwise
/// each of them in turn would wait for an endpoint that is down.
#[derive(Debug)]
pub struct SingleFlight<E> {
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Last<E>>,
}

#[derive(Debug)]
struct Last<E> {
    /// How often the work has been done, with success or not.
    count: u64,
    /// Why the work failed, if it failed the last time.
    failure: Option<E>,
}

impl<E> Default for SingleFlight<E> {
    fn default() -> Self {
        SingleFlight {
            turn: tokio::sync::Mutex::default(),
            last: Mutex::new(Last { count: 0, failure: None }),
        }
    }
}

impl<E: Clone> SingleFlight<E> {
    /// Returns what is `ready`. If nothing is, does the `work`, or waits for another task that is doing it and fails if
    /// that task fails.
    pub async fn get<T, W: Future<Output = Result<T, E>>>(
        &self,
        ready: impl Fn() -> Option<T>,
        work: impl FnOnce() -> W,
    ) -> Result<T, E> {
        if let Some(ready) = ready() {
            return Ok(ready);
        }
        let before = self.last().count;
        let _turn = self.turn.lock().await;
        if let Some(ready) = ready() {
            return Ok(ready);
        }
        if let Some(failure) = self.failure_since(before) {
            return Err(failure);
        }
        // On the heap: it is seldom needed, and every future that awaits this one would be larger by its size.
        let outcome = Box::pin(work()).await;
        let mut last = self.last();
        last.count += 1;
        last.failure = outcome.as_ref().err().cloned();
        outcome
    }

    fn failure_since(&self, count: u64) -> Option<E> {
        let last = self.last();
        last.failure.clone().filter(|_| last.count != count)
    }

    fn last(&self) -> MutexGuard<'_, Last<E>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_what_comes_of_it() {
        let (flight, value, done) = (SingleFlight::default(), OnceLock::new(), AtomicUsize::new(0));
        let succeed_at = |attempt: usize| {
            let (value, done) = (&value, &done);
            let work = move || async move {
                let now = done.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                if now < attempt { Err(now) } else { Ok(*value.get_or_init(|| now)) }
            };
            flight.get(move || value.get().copied(), work)
        };
        assert_eq!(join_all((0..20).map(|_| succeed_at(2))).await, [Err(1); 20]);
        // Whoever asks later tries again.
        assert_eq!(join_all((0..20).map(|_| succeed_at(2))).await, [Ok(2); 20]);
        assert_eq!(done.into_inner(), 2);
    }

    #[tokio::test]
    async fn work_that_is_given_up_is_done_by_the_next() {
        let flight = SingleFlight::<()>::default();
        let given_up = flight.get(|| None::<u8>, std::future::pending);
        assert!(futures_util::poll!(Box::pin(given_up)).is_pending());
        assert_eq!(flight.get(|| None, || async { Ok(1) }).await, Ok(1));
    }
}
