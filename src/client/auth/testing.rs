//! What the tests of the strategies share: a server that records what it is asked, a clock, stand-ins for tools.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AuthError, Credentials, Endpoints, STRATEGIES, Settings, SignIn};
use crate::client::http_client;
use crate::client::metadata::Metadata;
use crate::config::{Config, Host};
use crate::context::{self, BoxFuture, Context, Reporter, Severity};
use crate::env::Env;

/// When every test begins.
pub(super) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A clock that only moves when it is told to.
#[derive(Clone)]
pub(in crate::client) struct Clock(Arc<Time>);

struct Time {
    now: watch::Sender<SystemTime>,
    slept: watch::Sender<Vec<Duration>>,
    /// Whether whoever sleeps moves the clock, and wakes at once.
    hasty: bool,
}

impl Clock {
    /// A clock on which sleepers wait for [`Clock::advance`].
    pub(in crate::client) fn still() -> Self {
        Clock::new(false)
    }

    /// A clock that jumps ahead whenever somebody sleeps.
    pub(in crate::client) fn hasty() -> Self {
        Clock::new(true)
    }

    fn new(hasty: bool) -> Self {
        Clock(Arc::new(Time { now: watch::Sender::new(start()), slept: watch::Sender::default(), hasty }))
    }

    pub(super) fn advance(&self, duration: Duration) {
        self.0.now.send_modify(|now| *now += duration);
    }

    /// How long each sleep was to be, from the first on.
    pub(in crate::client) fn slept(&self) -> Vec<Duration> {
        self.0.slept.borrow().clone()
    }

    /// Waits until `count` sleeps have begun.
    pub(super) async fn until_asleep(&self, count: usize) {
        let mut slept = self.0.slept.subscribe();
        slept.wait_for(|slept| slept.len() >= count).await.unwrap();
    }
}

impl context::Clock for Clock {
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

struct Silent;

impl Reporter for Silent {
    fn report<'a>(&'a self, _: Severity, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// An operation without a limit, of which nobody is told.
pub(in crate::client) fn context(clock: Arc<dyn context::Clock>) -> Context {
    Context {
        urn: String::new(),
        resource: "token",
        clock,
        reporter: Arc::new(Silent),
        cancel: CancellationToken::new(),
        deadline: None,
    }
}

/// A request as the server saw it.
#[derive(Clone, Debug, Default)]
pub(in crate::client) struct Seen {
    pub(in crate::client) method: String,
    /// Path and query.
    pub(in crate::client) path: String,
    /// By name in lower case.
    pub(in crate::client) headers: HashMap<String, String>,
    pub(in crate::client) body: String,
}

impl Seen {
    /// A header, or "" where it was not sent.
    pub(in crate::client) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer of the server.
#[derive(Clone, Debug)]
pub(in crate::client) struct Answer {
    /// HTTP status; 0 closes the connection without an answer.
    pub(in crate::client) status: u16,
    pub(in crate::client) headers: Vec<(&'static str, String)>,
    pub(in crate::client) body: String,
}

impl Answer {
    pub(in crate::client) fn status(status: u16) -> Self {
        Answer { status, headers: Vec::new(), body: String::new() }
    }

    pub(in crate::client) fn json(body: impl ToString) -> Self {
        Answer { status: 200, headers: Vec::new(), body: body.to_string() }
    }

    pub(in crate::client) fn with_header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// A server on this machine that records what it is asked. It ends with the test.
pub(in crate::client) struct Server {
    pub(in crate::client) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers by a function of the request and of the address of the server.
    pub(in crate::client) async fn start(
        answer: impl Fn(&Seen, &str) -> Answer + Send + Sync + 'static,
    ) -> Self {
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

    /// The requests so far, but for those in which the client asks who the host is.
    pub(in crate::client) fn seen(&self) -> Vec<Seen> {
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
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let mut seen = Seen { method, path, ..Seen::default() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.split_once(':') else { break };
        seen.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; seen.header("content-length").parse().unwrap_or_default()];
    stream.read_exact(&mut body).await.unwrap();
    seen.body = String::from_utf8(body).unwrap();
    log.lock().unwrap().push(seen.clone());
    let Answer { status, headers, body } = answer(&seen);
    if status == 0 {
        return;
    }
    let mut text = format!("HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("\r\n{body}"));
    // The client may have given up.
    let _ = stream.write_all(text.as_bytes()).await;
}

/// A workspace with OAuth: it describes its endpoints and hands out `token-1`, `token-2` and so on for an hour each.
pub(super) async fn workspace() -> Server {
    let tokens = AtomicU32::new(0);
    Server::start(move |seen, url| match seen.path.as_str() {
        "/oidc/.well-known/oauth-authorization-server" => {
            Answer::json(json!({ "token_endpoint": format!("{url}/oidc/v1/token") }))
        }
        "/oidc/v1/token" => Answer::json(json!({
            "access_token": format!("token-{}", tokens.fetch_add(1, Ordering::SeqCst) + 1),
            "token_type": "Bearer",
            "expires_in": 3600,
        })),
        path if path.starts_with("/github?") => Answer::json(json!({ "value": "github-jwt" })),
        path if path.starts_with("/tfs/") => Answer::json(json!({ "oidcToken": "devops-jwt" })),
        _ => Answer::status(404),
    })
    .await
}

/// An environment with these variables.
pub(super) fn env(vars: &[(&str, &str)]) -> Env {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Env { vars, home: None }
}

/// What a strategy is given, for a program that states these properties.
pub(super) async fn settings(stated: &[(&str, &str)], env: Env, clock: Clock) -> Arc<Settings> {
    settings_at(stated, env, clock, Endpoints::default()).await
}

/// As [`settings`], with other addresses of the services outside Databricks.
pub(super) async fn settings_at(
    stated: &[(&str, &str)],
    env: Env,
    clock: Clock,
    endpoints: Endpoints,
) -> Arc<Settings> {
    let stated = stated.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let mut config = Config::resolve(&stated, &env).unwrap();
    // No test speaks TLS, and reading the platform's certificates takes long.
    config.attributes.skip_verify = true;
    let host = config.host.clone().unwrap_or_else(|| Host::parse("http://127.0.0.1:1").unwrap());
    let http = http_client(&config, true).unwrap();
    let metadata = Metadata::fetch(&http, &config, &host).await;
    Arc::new(Settings { config, env, metadata, http, clock: Arc::new(clock), endpoints })
}

/// The credentials of one strategy, or why there are none.
pub(super) async fn sign_in(settings: &Arc<Settings>, name: &str) -> Result<Arc<dyn Credentials>, AuthError> {
    let strategy = STRATEGIES.iter().find(|strategy| strategy.name() == name).unwrap();
    match strategy.sign_in(settings).await? {
        SignIn::Ready(credentials) => Ok(credentials),
        SignIn::NotConfigured(reason) => Err(AuthError(reason)),
    }
}

/// A folder with stand-ins for command-line tools.
pub(super) struct Tools(tempfile::TempDir);

impl Tools {
    pub(super) fn new() -> Self {
        Tools(tempfile::tempdir().unwrap())
    }

    /// Adds a shell script of at least `size` bytes.
    pub(super) fn add(&self, name: &str, script: &str, size: usize) -> PathBuf {
        let draft = self.path().join(format!("{name}.draft"));
        let text = format!("#!/bin/sh\n{script}\nexit\n");
        std::fs::write(&draft, format!("{text}{}", "#\n".repeat(size.saturating_sub(text.len()) / 2 + 1)))
            .unwrap();
        let path = self.path().join(name);
        // Another process writes it: one that this process has open for writing cannot be run, also while the test of
        // another thread is starting a process of its own.
        let status = std::process::Command::new("install")
            .args(["-m", "755"])
            .arg(&draft)
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success());
        path
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// An environment with these tools, and those that scripts need.
    pub(super) fn env(&self) -> Env {
        let path = format!("{}:/usr/bin:/bin", self.path().display());
        Env { vars: HashMap::from([("PATH".to_owned(), path)]), home: Some(self.path()) }
    }
}

/// Every service outside Databricks, on a server of this machine.
pub(super) fn endpoints(url: &str) -> Endpoints {
    let mut endpoints = Endpoints {
        machine: format!("{url}/machine"),
        google_token: format!("{url}/google/token"),
        google_credentials: format!("{url}/google/iam"),
        ..Endpoints::default()
    };
    for environment in &mut endpoints.azure {
        environment.entra = format!("{url}/entra/{}", environment.name).into();
        environment.resource_manager = format!("{url}/arm/{}/", environment.name).into();
    }
    endpoints
}
