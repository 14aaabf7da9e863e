//! What was created must reach the engine, or be deleted again.
//!
//! [`Unclaimed`] goes with a new resource from the task that created it to the end of the reply. Wherever the
//! way ends before that (the call is dropped, the connection is lost, the engine dies), it deletes the resource by
//! its id, which nobody else knows.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, BoxFuture, Service, http};
use tonic::server::NamedService;

use super::status;
use crate::client::Client;
use crate::context::Context;
use crate::property::Map;
use crate::resource::Resource;

/// A new resource that the engine does not know yet. Clones share one claim; the last to be dropped deletes the
/// resource.
#[derive(Clone)]
pub(super) struct Unclaimed(Arc<Claim>);

struct Claim(Mutex<Option<Undo>>);

/// How long deleting the resource may take, with all attempts.
const UNDO_TIME: Duration = Duration::from_secs(5 * 60);

/// Everything that deleting the resource takes.
pub(super) struct Undo {
    pub(super) resource: &'static dyn Resource,
    pub(super) client: Client,
    pub(super) ctx: Context,
    pub(super) id: String,
    pub(super) outputs: Map,
    pub(super) in_flight: TaskTracker,
}

impl Unclaimed {
    pub(super) fn new(undo: Undo) -> Self {
        Unclaimed(Arc::new(Claim(Mutex::new(Some(undo)))))
    }

    /// Notes that the engine has the reply.
    fn claim(&self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let undo = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Without a runtime the process is at its end, and nothing can be sent.
        if let (Some(undo), Ok(runtime)) = (undo, tokio::runtime::Handle::try_current()) {
            undo.in_flight.clone().spawn_on(undo.run(), &runtime);
        }
    }
}

impl Undo {
    async fn run(self) {
        // The engine's wish to give up is the reason to do this, not a reason to stop.
        let deadline = self.ctx.clock.now().checked_add(UNDO_TIME);
        let ctx = Context { cancel: CancellationToken::new(), deadline, ..self.ctx.clone() };
        let (noun, id) = (self.resource.noun(), &self.id);
        match self.resource.delete(&self.client, &ctx, id, &self.outputs).await {
            Ok(()) => tracing::warn!(id, "the engine did not take the reply with a new {noun}; deleted it"),
            Err(error) => {
                tracing::error!(id, %error, "the engine did not take the reply with a new {noun}, which is left")
            }
        }
    }
}

/// Where a call leaves what it has created, so that its reply is watched. It is among the extensions of every request.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Option<Unclaimed>>>);

impl Watch {
    /// Has the reply watched: whether it is an answer or an error, it tells the engine of this resource.
    pub(super) fn over(&self, unclaimed: Unclaimed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(unclaimed);
    }

    fn take(&self) -> Option<Unclaimed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The service, with each reply watched on its way out. A panic in one call becomes the error of that call.
#[derive(Clone)]
pub(super) struct Delivered<S>(pub(super) S);

impl<S: NamedService> NamedService for Delivered<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Delivered<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let watch = Watch::default();
        request.extensions_mut().insert(watch.clone());
        let reply = self.0.call(request);
        Box::pin(async move {
            let reply = match status::guarded(reply).await {
                Ok(reply) => reply?,
                Err(bug) => bug.into_http(),
            };
            Ok(match watch.take() {
                Some(unclaimed) => watched(reply, unclaimed),
                None => reply,
            })
        })
    }
}

/// A reply that claims the resource once the engine has the reply. An error is one frame of headers, which nobody can
/// watch leave; it goes out as headers and trailers instead, which means the same. Its code is then an extension of the
/// reply.
fn watched(reply: http::Response<Body>, unclaimed: Unclaimed) -> http::Response<Body> {
    let (mut head, mut body) = reply.into_parts();
    if let Some(code) = head.headers.get(tonic::Status::GRPC_STATUS) {
        head.extensions.insert(tonic::Code::from_bytes(code.as_bytes()));
        let content_type = head.headers.remove(http::header::CONTENT_TYPE);
        let trailers = std::mem::take(&mut head.headers);
        head.headers.extend(content_type.map(|value| (http::header::CONTENT_TYPE, value)));
        body = Body::new(Trailers(Some(trailers)));
    }
    http::Response::from_parts(head, Body::new(Watched { body, unclaimed }))
}

/// A body that is only trailers.
struct Trailers(Option<http::HeaderMap>);

impl HttpBody for Trailers {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|trailers| Ok(http_body::Frame::trailers(trailers))))
    }
}

/// A reply's body. An engine has the reply only when it has the trailers, which come last.
struct Watched {
    body: Body,
    unclaimed: Unclaimed,
}

impl HttpBody for Watched {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(task);
        if matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_trailers()) {
            self.unclaimed.claim();
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use databricks_auth::testing::{Answer, Server};

    use super::*;
    use crate::config;
    use crate::context::{Clock, SystemClock};
    use crate::env::Env;
    use crate::resource::ALL;
    use crate::server::engine::EngineLog;

    /// Panics in every call.
    struct Faulty;

    impl Service<http::Request<Body>> for Faulty {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;

        fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            Box::pin(async { panic!("hidden") })
        }
    }

    /// Creates a token and answers that it is not complete.
    struct Incomplete(Mutex<Option<Unclaimed>>);

    impl Service<http::Request<Body>> for Incomplete {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;

        fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let unclaimed = self.0.get_mut().unwrap().take().unwrap();
            request.extensions().get::<Watch>().unwrap().over(unclaimed);
            let reply =
                status::init_failed("id".to_owned(), &Map::new(), None, vec!["why".to_owned()], false);
            Box::pin(async { Ok(reply.into_http()) })
        }
    }

    /// The reply of a service that has created a token, and the workspace.
    async fn incomplete() -> (http::Response<Body>, Server) {
        let server = Server::start(|_, _| Answer::json("{}")).await;
        let stated = [("host", server.url.as_str()), ("token", "pat")];
        let stated = stated.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let config = config::resolve(&stated, &Env::default()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let client = Client::new(config, Env::default(), Arc::clone(&clock));
        let ctx = Context {
            urn: String::new(),
            resource: "token",
            clock,
            reporter: Arc::new(EngineLog::default()),
            cancel: CancellationToken::new(),
            deadline: None,
        };
        let in_flight = TaskTracker::new();
        let undo =
            Undo { resource: ALL[0], client, ctx, id: "id".to_owned(), outputs: Map::new(), in_flight };
        let service = Incomplete(Mutex::new(Some(Unclaimed::new(undo))));
        (Delivered(service).call(http::Request::default()).await.unwrap(), server)
    }

    fn revoked(server: &Server) -> bool {
        server.seen().iter().any(|seen| seen.path == "/api/2.0/token/delete")
    }

    #[tokio::test]
    async fn an_error_that_tells_of_a_token_is_watched_to_its_end() {
        let (mut reply, server) = incomplete().await;
        assert!(!reply.headers().contains_key("grpc-status"), "nobody could watch it leave");
        let frame = std::future::poll_fn(|task| Pin::new(reply.body_mut()).poll_frame(task)).await;
        let trailers = frame.unwrap().unwrap().into_trailers().unwrap();
        let error = tonic::Status::from_header_map(&trailers).unwrap();
        assert_eq!((error.code(), error.message()), (tonic::Code::Unknown, "why"));
        assert!(!error.details().is_empty());
        drop(reply);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!revoked(&server), "the engine has the token");
    }

    #[tokio::test]
    async fn an_error_that_nobody_takes_revokes_the_token() {
        let (reply, server) = incomplete().await;
        drop(reply);
        while !revoked(&server) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_bug_in_any_call_is_an_error() {
        let reply = Delivered(Faulty).call(http::Request::default()).await.unwrap();
        let status = tonic::Status::from_header_map(reply.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(status.message().contains("please report it") && !status.message().contains("hidden"));
    }
}
