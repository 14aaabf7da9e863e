//! Reads of the same thing that many ask for at the same time, as a refresh of a large stack does, are one request.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::Shared;

use super::{Client, Error};
use crate::context::{BoxFuture, Context};

type Answer<T> = Shared<BoxFuture<'static, Result<Arc<T>, Error>>>;

/// Something that is read, such as a list of tokens.
struct SharedRead<T> {
    /// The request that has not been sent yet, which whoever asks now may join.
    next: Mutex<Option<Answer<T>>>,
    /// Held by the request that is under way: there is one at a time.
    turn: tokio::sync::Mutex<()>,
}

/// Everything that a client reads in this way, by its type and name.
#[derive(Default)]
pub(super) struct SharedReads(Mutex<HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>);

impl SharedReads {
    fn of<T: Send + Sync + 'static>(&self, name: &str) -> Arc<SharedRead<T>> {
        let new =
            || Arc::new(SharedRead::<T> { next: Mutex::default(), turn: tokio::sync::Mutex::default() });
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = reads.entry((TypeId::of::<T>(), name.to_owned())).or_insert_with(|| new());
        // The key holds the type, so this is always one of it.
        Arc::clone(read).downcast().unwrap_or_else(|_| new())
    }
}

impl Client {
    /// Reads what `name` stands for, together with whoever else asks for it.
    ///
    /// The answer was asked for after this call: one that was under way before may lack what the caller knows to exist.
    pub(crate) async fn read_shared<T, F>(
        &self,
        ctx: &Context,
        name: &str,
        fetch: impl FnOnce(Client, Context) -> F + Send + 'static,
    ) -> Result<Arc<T>, Error>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let read = self.0.shared_reads.of::<T>(name);
        let answer = read.next().get_or_insert_with(|| start(&read, self, ctx, name, fetch)).clone();
        // Each reader gives up for itself: others may wait for the same answer.
        tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => Err(Error::Cancelled { request: name.to_owned() }),
            answer = answer => answer,
            () = ctx.time_is_up() => Err(Error::TimedOut { request: name.to_owned() }),
        }
    }
}

impl<T: Send + Sync + 'static> SharedRead<T> {
    fn next(&self) -> MutexGuard<'_, Option<Answer<T>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next request. It is sent when the one under way has been answered.
fn start<T, F>(
    read: &Arc<SharedRead<T>>,
    client: &Client,
    ctx: &Context,
    name: &str,
    fetch: impl FnOnce(Client, Context) -> F + Send + 'static,
) -> Answer<T>
where
    T: Send + Sync + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    // A request that nobody waits for any more must not keep its client alive.
    let (read, client, name) = (Arc::clone(read), Arc::downgrade(&client.0), name.to_owned());
    let ctx = Context { deadline: None, cancel: Default::default(), ..ctx.clone() };
    let request: BoxFuture<'static, _> = Box::pin(async move {
        let _turn = read.turn.lock().await;
        read.next().take();
        match client.upgrade() {
            Some(inner) => fetch(Client(inner), ctx).await.map(Arc::new),
            None => Err(Error::Cancelled { request: name }),
        }
    });
    request.shared()
}
