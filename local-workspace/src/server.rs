//! Connections, and the way of a request: read, log, fault, API, answer.
//!
//! Scripted faults reset a connection or stop in the middle of a body, so connections are served here with
//! hyper instead of by `axum::serve`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, DATE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::Options;
use crate::error::ApiError;
use crate::faults::{Action, Drop as DropConnection};
use crate::requests::Origin;
use crate::state::{State, random_hex};

/// The longest request body that is read.
const MAX_BODY_BYTES: usize = 1 << 20;
/// The same for the control API, which takes snapshots.
const MAX_CONTROL_BODY_BYTES: usize = 1 << 28;
/// Time for the bytes before a cut to leave, before the connection is closed.
const FLUSH_TIME: Duration = Duration::from_millis(50);

/// What every request handler shares.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) options: Options,
    /// Shows that a request comes from the page that was served here.
    pub(crate) page_key: String,
    state: Mutex<State>,
}

impl App {
    pub(crate) fn new(options: Options) -> io::Result<Self> {
        let state = State::started(&options)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("the seed: {error}")))?;
        Ok(Self { options, page_key: random_hex(16), state: Mutex::new(state) })
    }

    /// The state, for one short, synchronous piece of work.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Address under which the client reached this server, such as `http://127.0.0.1:4321`.
#[derive(Clone, Debug)]
pub(crate) struct BaseUrl(pub(crate) String);

impl BaseUrl {
    /// A client behind a proxy or a port forwarding must be sent back through it, so the host that it names is used.
    fn of(parts: &Parts, scheme: &str, address: SocketAddr) -> Self {
        let host = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
        let authority = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
        Self(match authority {
            Some(authority) => format!("{scheme}://{authority}"),
            None => format!("{scheme}://{address}"),
        })
    }
}

/// Accepts connections until `stop` is cancelled, which also closes every connection at once.
pub(crate) async fn run(
    app: Arc<App>,
    router: Router,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    let Ok(address) = listener.local_addr() else { return };
    let mut connections = 0;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of file descriptors, or the client is gone: neither is helped by trying again at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        connections += 1;
        let connection = Connection {
            app: app.clone(),
            router: router.clone(),
            address,
            tls: tls.clone(),
            origin: Origin { connection: connections, remote_port: remote.port() },
            reset: Arc::default(),
            close: stop.child_token(),
        };
        tokio::spawn(connection.serve(stream));
    }
}

/// One client connection.
#[derive(Clone)]
struct Connection {
    app: Arc<App>,
    router: Router,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    origin: Origin,
    /// Set before `close` if the client shall see a reset.
    reset: Arc<AtomicBool>,
    close: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // Small answers are sent at once; failing that, they are merely slower.
        let _ = stream.set_nodelay(true);
        let socket = Socket { stream, reset: self.reset.clone() };
        let close = self.close.clone();
        tokio::select! {
            () = close.cancelled() => {}
            () = self.serve_socket(socket) => {}
        }
    }

    async fn serve_socket(self, socket: Socket) {
        match self.tls.clone() {
            None => self.serve_http(socket).await,
            // A client that does not trust the certificate reports so itself.
            Some(acceptor) => {
                if let Ok(stream) = acceptor.accept(socket).await {
                    self.serve_http(stream).await;
                }
            }
        }
    }

    async fn serve_http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let connection = self.clone();
            async move {
                let mut response = connection.answer(request).await;
                // hyper would set the Date header by the clock of the system.
                let date = http_date(connection.app.state().now_ms());
                response.headers_mut().entry(DATE).or_insert(date);
                Ok::<_, Infallible>(response)
            }
        });
        // A client that leaves or sends garbage is no failure of this server.
        let _ =
            auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    }

    /// Resets the connection. The task that serves it ends, and this future with it.
    async fn reset(&self) -> ! {
        self.reset.store(true, Ordering::Relaxed);
        self.close.cancel();
        std::future::pending().await
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        // Nothing that a client of a workspace would call: such requests are neither logged nor hit by faults.
        let control = path == "/" || path.starts_with("/local/control/");
        let limit = if control { MAX_CONTROL_BODY_BYTES } else { MAX_BODY_BYTES };
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                let message = format!("The request body could not be read: {error}");
                return ApiError::malformed(message).into_response();
            }
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let base_url = BaseUrl::of(&parts, scheme, self.address);
        if control {
            return self.call(parts, body, base_url).await;
        }

        let (seq, action, workspace_id) = {
            let mut state = self.app.state();
            let now_ms = state.now_ms();
            let head = (&parts.method, &parts.uri, parts.version, &parts.headers);
            let seq = state.requests.begin(now_ms, self.origin, head, &body);
            let action = state.faults.take(&parts.method, &path).map(|(action, script)| {
                state.requests.set_fault(seq, script);
                action
            });
            let workspace_id = state.workspace_id_of(&parts.headers);
            (seq, action, workspace_id.unwrap_or_else(|_| state.default_workspace.clone()))
        };
        let mut told = Told {
            line: self
                .app
                .options
                .verbose
                .then(|| format!("{} {} {path}", self.origin.connection, parts.method)),
            status: None,
        };
        let mut response = match action {
            None => self.work(seq, parts, body, base_url).await,
            Some(action) => self.faulty(seq, action, parts, body, base_url).await,
        };
        let headers = response.headers_mut();
        for (name, value) in [("x-request-id", random_uuid()), ("x-databricks-org-id", workspace_id)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.entry(HeaderName::from_static(name)).or_insert(value);
            }
        }
        self.app.state().requests.set_status(seq, response.status().as_u16());
        told.status = Some(response.status());
        response
    }

    /// Lets the API carry out a request.
    async fn work(&self, seq: u64, parts: Parts, body: Bytes, base_url: BaseUrl) -> Response<Body> {
        let response = self.call(parts, body, base_url).await;
        if response.status().as_u16() < 400 {
            self.app.state().requests.set_work_done(seq);
        }
        response
    }

    async fn call(&self, parts: Parts, body: Bytes, base_url: BaseUrl) -> Response<Body> {
        let mut request = Request::from_parts(parts, Body::from(body));
        request.extensions_mut().insert(base_url);
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Carries out a scripted fault.
    async fn faulty(
        &self,
        seq: u64,
        action: Action,
        parts: Parts,
        body: Bytes,
        base_url: BaseUrl,
    ) -> Response<Body> {
        let delay = Duration::from_millis(action.delay_ms);
        let before = action.drop == Some(DropConnection::Before);
        let silent = action.hang && action.truncate_after_bytes.is_none();
        let works = action.work || !(before || silent || action.answers());
        let connection = self.clone();
        let work = async move {
            if !action.work {
                tokio::time::sleep(delay).await;
            }
            if works { Some(connection.work(seq, parts, body, base_url).await) } else { None }
        };
        // The future of a request ends when its client leaves; a task of its own goes on.
        let response = if action.detached { tokio::spawn(work).await.unwrap_or(None) } else { work.await };
        if action.work {
            tokio::time::sleep(delay).await;
        }
        if action.drop.is_some() {
            self.reset().await;
        }
        if silent {
            return std::future::pending().await;
        }
        let response = match response {
            Some(response) if !action.answers() => response,
            _ => action.response().unwrap_or_else(|problem| {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", problem).into_response()
            }),
        };
        match action.truncate_after_bytes {
            Some(length) => cut(response, length, action.hang).await,
            None => response,
        }
    }
}

/// The line about a request. It is written when the request is over, even if it ends by a reset or its client has left.
struct Told {
    line: Option<String>,
    status: Option<StatusCode>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            let end =
                self.status.map_or_else(|| "no answer".to_owned(), |status| status.as_u16().to_string());
            log_line(&format!("{line} -> {end}"));
        }
    }
}

/// An answer whose body ends after `length` bytes although its Content-Length says more.
async fn cut(response: Response<Body>, length: usize, hang: bool) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return Response::from_parts(parts, Body::empty());
    };
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let start = body.slice(..length.min(body.len()));
    let (mut sender, channel) = Channel::<Bytes, io::Error>::new(1);
    tokio::spawn(async move {
        if sender.send_data(start).await.is_err() {
            return;
        }
        if hang {
            // The channel refuses data once the client is gone; empty data sends nothing.
            while sender.send_data(Bytes::new()).await.is_ok() {
                tokio::time::sleep(FLUSH_TIME).await;
            }
        } else {
            tokio::time::sleep(FLUSH_TIME).await;
            sender.abort(io::Error::other("scripted end of the body"));
        }
    });
    Response::from_parts(parts, Body::new(channel))
}

/// A time in the form of the Date header, which has only the years 1970 to 9999.
fn http_date(now_ms: i64) -> HeaderValue {
    const END_OF_9999_MS: i64 = 253_402_300_799_000;
    let since_epoch = Duration::from_millis(now_ms.clamp(0, END_OF_9999_MS).unsigned_abs());
    let text = httpdate::fmt_http_date(UNIX_EPOCH + since_epoch);
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A new UUID, which is the form of real request ids, application ids and policy ids.
pub(crate) fn random_uuid() -> String {
    let hex = random_hex(16);
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]).join("-")
}

/// Writes a line to stderr; a closed stderr is no reason to stop.
pub(crate) fn log_line(line: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "{line}");
}

/// A TCP connection that is reset instead of closed if `reset` is set.
struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // If this fails, the client sees a plain end of the stream, which is a transport error as well.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
