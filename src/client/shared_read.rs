//! One request for all who read the same thing at the same time, as the resources of a large stack do in a refresh.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};

use super::{Client, Error};
use crate::context::{BoxFuture, Context};

type Asking<T> = BoxFuture<'static, Result<Arc<T>, Error>>;
type Answer<T> = Shared<Asking<T>>;

/// How long after its request began an answer still proves that something exists: a refresh of hundreds of resources
/// takes seconds, and what others change meanwhile is seen by the next one.
const RECENT: Duration = Duration::from_secs(10);

/// How many things are looked up one by one before a list is worth its size: it may have thousands that are managed
/// elsewhere.
const FEW: usize = 3;

/// Something that is read, such as a list of credentials.
struct SharedRead<T> {
    /// The request that has not been sent yet, which whoever reads now may join.
    next: Mutex<Option<Answer<T>>>,
    /// The newest request that was sent.
    newest: Mutex<Option<Sent<T>>>,
    /// Held by the request that is under way: there is one at a time.
    turn: tokio::sync::Mutex<()>,
    /// What was looked for so far. Whoever looks again wants to know whether it still exists.
    looked_for: Mutex<HashSet<String>>,
}

/// One look-up.
struct Look {
    /// Whether nobody has looked for the same thing before.
    is_new: bool,
    /// How many different things were looked for, this one included.
    so_far: usize,
}

/// A request that was sent, and what was true then.
struct Sent<T> {
    /// How many requests were sent up to this one.
    number: u64,
    at: SystemTime,
    writes: u64,
    came: Came<T>,
}

impl<T> Sent<T> {
    /// Whether what is in the answer can be taken to exist still, after so many changes.
    fn is_recent(&self, now: SystemTime, writes: u64) -> bool {
        self.writes == writes && now.duration_since(self.at).is_ok_and(|age| age <= RECENT)
    }
}

/// What has come of a request.
enum Came<T> {
    /// Nothing yet, or an error. The request ends when nobody waits for it any more.
    Nothing(WeakShared<Asking<T>>),
    /// The answer.
    Answer(Arc<T>),
}

/// Everything that a client reads in this way, by its type and name.
#[derive(Default)]
pub(super) struct SharedReads {
    reads: Mutex<HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>,
    /// How often a change by the client has begun or ended.
    writes: AtomicU64,
}

/// A change by the client that is under way. From its beginning, what was read before is out of date; from its end, so
/// is what was read meanwhile.
pub(super) struct Writing<'a>(&'a AtomicU64);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl SharedReads {
    /// Notes that a change begins; it ends when the returned value is dropped.
    pub(super) fn writing(&self) -> Writing<'_> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Writing(&self.writes)
    }

    fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    fn of<T: Send + Sync + 'static>(&self, name: &str) -> Arc<SharedRead<T>> {
        let new = || Arc::new(SharedRead::<T>::default());
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let read = reads.entry((TypeId::of::<T>(), name.to_owned())).or_insert_with(|| new());
        // The key holds the type, so the value always has that type.
        Arc::clone(read).downcast().unwrap_or_else(|_| new())
    }
}

impl<T> Default for SharedRead<T> {
    fn default() -> Self {
        SharedRead {
            next: Mutex::default(),
            newest: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            looked_for: Mutex::default(),
        }
    }
}

impl Client {
    /// Looks for something, by its `id`, in what `name` stands for.
    ///
    /// An answer of a moment ago, or one that is under way, can prove that it exists if this client has changed nothing
    /// since that request, and if nobody has looked for this id before. To prove that it does not exist takes a request
    /// that is sent after this call.
    pub(crate) async fn find_shared<T, R, F>(
        &self,
        ctx: &Context,
        name: &str,
        id: &str,
        fetch: impl FnOnce(Client, Context) -> F + Send + 'static,
        pick: impl Fn(&T) -> Option<R>,
    ) -> Result<Option<R>, Error>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let read = self.0.shared_reads.of::<T>(name);
        let sent = read.sent();
        if read.look_for(id).is_new
            && let Some(answer) = self.recent(ctx, &read)
            && let Ok(all) = unless_given_up(ctx, name, answer).await?
            && let Some(found) = pick(&all)
        {
            return Ok(Some(found));
        }
        Ok(pick(&*self.read_since(ctx, &read, sent, name, fetch).await?))
    }

    /// Looks for one of many, by its `id`, in what `name` stands for. `None` means that the caller has to look it up by
    /// itself: it is not there, it is among the first few, or it was looked for before.
    pub(crate) async fn find_among_many<T, R, F>(
        &self,
        ctx: &Context,
        name: &str,
        id: &str,
        fetch: impl FnOnce(Client, Context) -> F + Send + 'static,
        pick: impl Fn(&T) -> Option<R>,
    ) -> Result<Option<R>, Error>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let read = self.0.shared_reads.of::<T>(name);
        let look = read.look_for(id);
        if !look.is_new || look.so_far <= FEW {
            return Ok(None);
        }
        let all = match self.recent(ctx, &read) {
            Some(answer) => unless_given_up(ctx, name, answer).await??,
            None => self.read_since(ctx, &read, read.sent(), name, fetch).await?,
        };
        Ok(pick(&all))
    }

    /// The newest answer, whether it has come or is under way, if what is in it can be taken to exist still.
    fn recent<T: Send + Sync + 'static>(&self, ctx: &Context, read: &SharedRead<T>) -> Option<Answer<T>> {
        let (now, writes) = (ctx.clock.now(), self.0.shared_reads.writes());
        read.answer(|sent| sent.is_recent(now, writes))
    }

    /// Reads what `name` stands for, together with whoever else reads it.
    ///
    /// The request is sent after this call: an answer that was under way before may lack what the caller knows to
    /// exist.
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
        self.read_since(ctx, &read, read.sent(), name, fetch).await
    }

    /// Reads with a request that comes after the first `sent` ones.
    async fn read_since<T, F>(
        &self,
        ctx: &Context,
        read: &Arc<SharedRead<T>>,
        sent: u64,
        name: &str,
        fetch: impl FnOnce(Client, Context) -> F + Send + 'static,
    ) -> Result<Arc<T>, Error>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let answer = read.answer(|newest| newest.number > sent).unwrap_or_else(|| {
            read.next().get_or_insert_with(|| start(read, self, ctx, name, fetch)).clone()
        });
        unless_given_up(ctx, name, answer).await?
    }
}

/// Waits for an answer. Each reader gives up for itself: others may wait for the same one.
async fn unless_given_up<T>(
    ctx: &Context,
    name: &str,
    answer: Answer<T>,
) -> Result<Result<Arc<T>, Error>, Error> {
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => Err(Error::Cancelled { request: name.to_owned() }),
        answer = answer => Ok(answer),
        () = ctx.time_is_up() => Err(Error::TimedOut { request: name.to_owned() }),
    }
}

impl<T: Send + Sync + 'static> SharedRead<T> {
    fn next(&self) -> MutexGuard<'_, Option<Answer<T>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self) -> MutexGuard<'_, Option<Sent<T>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody looks for this.
    fn look_for(&self, id: &str) -> Look {
        let mut looked_for = self.looked_for.lock().unwrap_or_else(PoisonError::into_inner);
        Look { is_new: looked_for.insert(id.to_owned()), so_far: looked_for.len() }
    }

    /// How many requests were sent.
    fn sent(&self) -> u64 {
        self.newest().as_ref().map_or(0, |sent| sent.number)
    }

    /// What comes of the newest request, if that will do.
    fn answer(&self, will_do: impl FnOnce(&Sent<T>) -> bool) -> Option<Answer<T>> {
        match &self.newest().as_ref().filter(|sent| will_do(sent))?.came {
            Came::Nothing(answer) => answer.upgrade(),
            Came::Answer(all) => {
                let answer: Asking<T> = Box::pin(std::future::ready(Ok(Arc::clone(all))));
                Some(answer.shared())
            }
        }
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
        let this = read.next().take();
        let Some(inner) = client.upgrade() else { return Err(Error::Cancelled { request: name }) };
        let (number, at, writes) = (read.sent() + 1, ctx.clock.now(), inner.shared_reads.writes());
        if let Some(this) = this.and_then(|this| this.downgrade()) {
            *read.newest() = Some(Sent { number, at, writes, came: Came::Nothing(this) });
        }
        let answer = fetch(Client(inner), ctx).await.map(Arc::new);
        if let (Ok(all), Some(sent)) = (&answer, read.newest().as_mut()) {
            sent.came = Came::Answer(Arc::clone(all));
        }
        answer
    });
    request.shared()
}
