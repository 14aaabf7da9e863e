//! A workspace, a client of it, a clock that a test can steer, and messages that it can see.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use databricks_local_workspace::{Options, Running, Workspace};
use pulumi_resource_databricks::client::Client;
use pulumi_resource_databricks::config;
use pulumi_resource_databricks::context::{BoxFuture, Clock, Context, Reporter, Severity};
use pulumi_resource_databricks::env::Env;
use pulumi_resource_databricks::property::{Map, Value};
use pulumi_resource_databricks::resource::{ALL, Resource};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

pub(crate) fn token() -> &'static dyn Resource {
    ALL[0]
}

pub(crate) fn obo_token() -> &'static dyn Resource {
    ALL[1]
}

/// A local workspace and its control API.
pub(crate) struct Local {
    running: Running,
    http: reqwest::Client,
}

impl Local {
    pub(crate) async fn start() -> Local {
        // Client and server of several hundred connections at once are in this process.
        #[cfg(unix)]
        {
            use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
            let limit = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let running = Workspace::start(Options::default()).await.unwrap();
        Local { running, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// A client that signs in with the workspace's first token. It has no limit of requests per second, since that
    /// goes by the machine's clock.
    pub(crate) fn client(&self, clock: Arc<dyn Clock>) -> Client {
        let stated = Map::from([
            ("host".into(), Value::String(self.running.url())),
            ("token".into(), Value::secret(Value::String(self.running.options().token.clone()))),
            ("rateLimit".into(), Value::Number(1_000_000.0)),
        ]);
        let config = config::resolve(&stated, &Env::default()).unwrap();
        Client::new(config, Env::default(), clock)
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Json {
        let response = request.send().await.unwrap();
        let status = response.status();
        let body: Json = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert!(status.is_success(), "{status}: {body}");
        body
    }

    /// Adds faults to the script.
    pub(crate) async fn faults(&self, faults: Json) {
        let url = format!("{}/local/control/faults", self.running.url());
        self.call(self.http.post(url).body(faults.to_string()).header("content-type", "application/json"))
            .await;
    }

    /// Every token ever made.
    pub(crate) async fn tokens(&self) -> Vec<Json> {
        let url = format!("{}/local/control/state", self.running.url());
        self.call(self.http.get(url)).await["tokens"].as_array().unwrap().clone()
    }

    /// The requests so far whose path ends in `path`.
    pub(crate) async fn requests(&self, path: &str) -> Vec<Json> {
        let url = format!("{}/local/control/requests", self.running.url());
        let log = self.call(self.http.get(url)).await;
        let ends_so = |entry: &&Json| entry["path"].as_str().unwrap().ends_with(path);
        log["requests"].as_array().unwrap().iter().filter(ends_so).cloned().collect()
    }

    /// Creates a token without the plugin and returns its id.
    pub(crate) async fn mint(&self, comment: &str) -> String {
        let url = format!("{}/api/2.0/token/create", self.running.url());
        let request = self.http.post(url).bearer_auth(&self.running.options().token);
        let body = json!({ "comment": comment }).to_string();
        let answer = self.call(request.body(body).header("content-type", "application/json")).await;
        answer["token_info"]["token_id"].as_str().unwrap().to_owned()
    }
}

/// Keeps what the user is told: (severity, urn, message).
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<(Severity, String, String)>>);

impl Told {
    pub(crate) fn all(&self) -> Vec<(Severity, String, String)> {
        self.0.lock().unwrap().clone()
    }
}

impl Reporter for Told {
    fn report<'a>(&'a self, severity: Severity, urn: &'a str, message: &'a str) -> BoxFuture<'a, ()> {
        self.0.lock().unwrap().push((severity, urn.to_owned(), message.to_owned()));
        Box::pin(std::future::ready(()))
    }
}

pub(crate) fn context(urn: &str, clock: Arc<dyn Clock>, reporter: Arc<dyn Reporter>) -> Context {
    Context {
        urn: urn.to_owned(),
        resource: "token",
        clock,
        reporter,
        cancel: Default::default(),
        deadline: None,
    }
}

/// A clock that stands while anybody is at work, and jumps to the next wake-up when everybody sleeps: time passes only
/// by being waited for, however slow the machine is.
pub(crate) struct Jumping(Mutex<Sleepers>);

struct Sleepers {
    now: SystemTime,
    asleep: Vec<(SystemTime, oneshot::Sender<()>)>,
    /// How many operations are at work or asleep.
    busy: usize,
}

/// Those who are to wake so soon after the next one wake with it; one by one would take long.
const TOGETHER: Duration = Duration::from_millis(500);

impl Jumping {
    /// A clock for so many operations at once.
    pub(crate) fn start(busy: usize) -> Arc<Jumping> {
        Arc::new(Jumping(Mutex::new(Sleepers { now: SystemTime::now(), asleep: Vec::new(), busy })))
    }

    /// One of the operations is over.
    pub(crate) fn done(&self) {
        let mut sleepers = self.0.lock().unwrap();
        sleepers.busy -= 1;
        sleepers.jump();
    }
}

impl Sleepers {
    fn jump(&mut self) {
        if self.asleep.len() < self.busy {
            return;
        }
        let Some(next) = self.asleep.iter().map(|(wake, _)| *wake).min() else { return };
        self.now = self.now.max(next + TOGETHER);
        let now = self.now;
        for (_, wake) in self.asleep.extract_if(.., |(wake, _)| *wake <= now) {
            let _ = wake.send(());
        }
    }
}

impl Clock for Jumping {
    fn now(&self) -> SystemTime {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (wake, woken) = oneshot::channel();
        let mut sleepers = self.0.lock().unwrap();
        let at = sleepers.now + duration;
        sleepers.asleep.push((at, wake));
        sleepers.jump();
        Box::pin(async move {
            // Where the clock is gone, so is the test.
            let _ = woken.await;
        })
    }
}
