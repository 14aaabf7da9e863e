//! What tests share: a server that records its requests, and a clock that the test controls.

// This is code for tests, even where they are in another crate.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::clock::{self, BoxFuture};

/// When every test begins.
pub fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A clock that only moves when it is told to.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Time>);

#[derive(Debug)]
struct Time {
    now: watch::Sender<SystemTime>,
    slept: watch::Sender<Vec<Duration>>,
    /// Whether a sleep moves the clock itself, and ends at once.
    hasty: bool,
}

impl Clock {
    /// A clock on which sleepers wait for [`Clock::advance`].
    pub fn still() -> Self {
        Clock::new(false)
    }

    /// A clock that jumps ahead whenever somebody sleeps.
    pub fn hasty() -> Self {
        Clock::new(true)
    }

    fn new(hasty: bool) -> Self {
        Clock(Arc::new(Time { now: watch::Sender::new(start()), slept: watch::Sender::default(), hasty }))
    }

    /// Moves the clock.
    pub fn advance(&self, duration: Duration) {
        self.0.now.send_modify(|now| *now += duration);
    }

    /// The duration that each sleep asked for, from the first on.
    pub fn slept(&self) -> Vec<Duration> {
        self.0.slept.borrow().clone()
    }

    /// Waits until `count` sleeps have begun.
    pub async fn until_asleep(&self, count: usize) {
        let mut slept = self.0.slept.subscribe();
        slept.wait_for(|slept| slept.len() >= count).await.unwrap();
    }
}

impl clock::Clock for Clock {
    fn now(&self) -> SystemTime {
        *self.0.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.0.now.subscribe();
        let until = *now.borrow() + duration;
        if self.0.hasty {
            self.advance(duration);
        }
        self.0.slept.send_modify(|slept| slept.push(duration));
        Box::pin(async move {
            now.wait_for(|now| *now >= until).await.unwrap();
        })
    }
}

/// A request as the server saw it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers by name, in lower case.
    pub headers: HashMap<String, String>,
    /// Body.
    pub body: String,
}

impl Seen {
    /// A header, or "" where it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer of the server.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status; 0 closes the connection without an answer.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with no body.
    pub fn status(status: u16) -> Self {
        Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An answer with status 200 and this body.
    pub fn json(body: impl ToString) -> Self {
        Answer { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// A server on this machine that records its requests. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Address, without a trailing slash.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Starts a server that answers by a function of the request and of the server's address.
    pub async fn start(answer: impl Fn(&Seen, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let answer: Arc<dyn Fn(&Seen) -> Answer + Send + Sync> = Arc::new({
            let url = url.clone();
            move |seen| answer(seen, &url)
        });
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&log)));
            }
        });
        Server { url, seen, task }
    }

    /// The requests so far, except those in which the client asks the host to describe itself.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.path != "/.well-known/databricks-config").cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    answer: Arc<dyn Fn(&Seen) -> Answer + Send + Sync>,
    log: Arc<Mutex<Vec<Seen>>>,
) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
        async move {
            let (head, body) = request.into_parts();
            let headers = head.headers.iter();
            let seen = Seen {
                method: head.method.to_string(),
                path: head.uri.to_string(),
                headers: headers
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                    .collect(),
                body: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
            };
            log.lock().unwrap().push(seen.clone());
            let Answer { status, headers, body } = answer(&seen);
            if status == 0 {
                return Err(std::io::Error::other("the connection is closed without an answer"));
            }
            let mut response = http::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::<Bytes>::from(body)).unwrap())
        }
    });
    // Each request has a connection of its own, and each answer a date only where the test gives it one. Errors are
    // ignored, since the client may have given up.
    let mut builder = http1::Builder::new();
    let connection = builder.keep_alive(false).auto_date_header(false);
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}
