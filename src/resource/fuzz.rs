//! Fuzz target: whole operations against a host that answers anything. `docs/fuzzing.md` says how to run it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bolero::{Driver, ValueGenerator};
use databricks_auth::testing::{Answer, Seen, Server};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use super::{ALL, Diff, Known, Resource, State};
use crate::client::Client;
use crate::config;
use crate::context::{BoxFuture, Clock, Context, Reporter, Severity};
use crate::env::Env;
use crate::property::{Map, Value};

/// What only secret values hold.
const HUSH: &str = "dapi-hush";

const TEXTS: &[&str] = &[
    "",
    "a",
    "i",
    "sql",
    "<html><pre> Invalid access token.</pre>",
    "ABC: def",
    "RESOURCE_DOES_NOT_EXIST",
    "QUOTA_EXCEEDED",
    "TEMPORARILY_UNAVAILABLE",
    "AUTOSCOPE_STATE_RUNNING",
    "REQUEST_LIMIT_EXCEEDED",
    "/login.html?error=private-link-validation-error",
    "https://b/login",
    "0",
    "18446744073709551615",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "12345",
];
const NUMBERS: &[i64] = &[0, -1, 1, 1_700_000_000_000, 1_700_000_060_000, i64::MAX, i64::MIN, 1 << 53];
const STATUSES: &[u16] = &[200, 200, 200, 200, 200, 302, 400, 401, 403, 404, 408, 429, 500, 503];

/// What the host answers, request by request, and to which operation.
#[derive(Debug)]
struct Case {
    operation: u8,
    inputs: u8,
    replies: Vec<Reply>,
}

#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    header: Option<(&'static str, &'static str)>,
    body: Vec<u8>,
}

struct Cases;

impl ValueGenerator for Cases {
    type Output = Case;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Case> {
        let (operation, inputs) = (byte(driver), byte(driver));
        let replies = (0..=byte(driver) % 4).map(|_| reply(driver)).collect();
        Some(Case { operation, inputs, replies })
    }
}

/// The next byte; zero once there are no more.
fn byte<D: Driver>(driver: &mut D) -> u8 {
    driver.produce().unwrap_or_default()
}

fn pick<T: Copy, D: Driver>(driver: &mut D, from: &[T]) -> T {
    from[usize::from(byte(driver)) % from.len()]
}

fn reply<D: Driver>(driver: &mut D) -> Reply {
    let status = pick(driver, STATUSES);
    let name = pick(driver, &[None, Some("retry-after"), Some("location"), Some("x-databricks-org-id")]);
    let header = name.map(|name| (name, pick(driver, TEXTS)));
    let body = match byte(driver) % 8 {
        0 => (0..byte(driver)).map(|_| byte(driver)).collect(),
        1 => pick(driver, TEXTS).into(),
        2 => json!({ "error_code": json(driver, 2), "message": json(driver, 2), "error": json(driver, 2) })
            .to_string()
            .into_bytes(),
        3 => json!({ "token_infos": (0..byte(driver) % 4).map(|_| info(driver)).collect::<Json>() })
            .to_string()
            .into_bytes(),
        4 => json!({
            "secrets": (0..byte(driver) % 7).map(|_| secret(driver, false)).collect::<Json>(),
            "next_page_token": if byte(driver) > 200 { pick(driver, TEXTS) } else { "" },
        })
        .to_string()
        .into_bytes(),
        5 => secret(driver, status == 200).to_string().into_bytes(),
        _ => {
            // Only a good answer holds a token.
            let value = if status == 200 && byte(driver) > 0 { json!(HUSH) } else { json(driver, 1) };
            json!({ "token_value": value, "token_info": info(driver) }).to_string().into_bytes()
        }
    };
    Reply { status, header, body }
}

fn secret<D: Driver>(driver: &mut D, with_value: bool) -> Json {
    let mut secret = json!({ "id": pick(driver, TEXTS), "create_time": pick(driver, TEXTS) });
    secret["expire_time"] =
        json!(pick(driver, &["", "2020-01-01T00:00:00.000Z", "9999-12-31T23:59:59Z", "x"]));
    if byte(driver) > 200 {
        secret["scopes"] = json(driver, 2);
    }
    if with_value && byte(driver) > 0 {
        secret["secret"] = json!(HUSH);
    }
    secret
}

fn info<D: Driver>(driver: &mut D) -> Json {
    if byte(driver) == 255 {
        return json(driver, 2);
    }
    let mut info = json!({});
    let present = byte(driver);
    let names = ["comment", "creation_time", "expiry_time", "scopes", "autoscope_state", "inferred_scopes"];
    for (at, name) in names.into_iter().enumerate().filter(|(at, _)| present & (1 << at) != 0) {
        info[name] = match (byte(driver), at) {
            (0..=31, _) => json(driver, 2),
            (_, 0 | 4) => json!(pick(driver, TEXTS)),
            (_, 1 | 2) => json!(pick(driver, NUMBERS)),
            _ => json!([pick(driver, TEXTS), pick(driver, TEXTS)]),
        };
    }
    if present & 64 == 0 {
        info["token_id"] = json!("i");
    }
    info
}

fn json<D: Driver>(driver: &mut D, depth: u8) -> Json {
    match byte(driver) % if depth == 0 { 4 } else { 6 } {
        0 => json!(null),
        1 => json!(byte(driver).is_multiple_of(2)),
        2 => json!(pick(driver, NUMBERS)),
        3 => json!(pick(driver, TEXTS)),
        4 => (0..byte(driver) % 3).map(|_| json(driver, depth - 1)).collect(),
        _ => json!({ pick(driver, TEXTS): json(driver, depth - 1) }),
    }
}

/// What a host answers, in turn and from the beginning again.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(Vec<Reply>, usize)>>);

impl Script {
    fn set(&self, replies: &[Reply]) {
        *self.0.lock().unwrap() = (replies.to_vec(), 0);
    }

    fn answer(&self, seen: &Seen) -> Answer {
        if seen.path.starts_with("/.well-known/") {
            return Answer::status(404);
        }
        let (replies, at) = &mut *self.0.lock().unwrap();
        *at += 1;
        assert!(*at < 200, "a request without end");
        let Reply { status, header, body } = replies[(*at - 1) % replies.len()].clone();
        let headers = header.map(|(name, value)| (name, value.to_owned())).into_iter().collect();
        Answer { status, headers, body }
    }
}

/// Time passes only by waiting.
struct Waits(AtomicU64);

impl Clock for Waits {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
        Box::pin(async {})
    }
}

struct Listener;

impl Reporter for Listener {
    fn report<'a>(&'a self, _: Severity, _: &'a str, message: &'a str) -> BoxFuture<'a, ()> {
        assert!(!message.contains(HUSH), "a secret in a message: {message}");
        Box::pin(async {})
    }
}

struct World {
    runtime: Runtime,
    script: Script,
    _server: Server,
    client: Client,
    ctx: Context,
}

impl World {
    /// A panic ends the process or the test, so nothing sees the state that it leaves behind.
    fn new() -> AssertUnwindSafe<World> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let script = Script::default();
        let server = runtime.block_on(Server::start({
            let script = script.clone();
            move |seen, _| script.answer(seen)
        }));
        let stated = Map::from([
            ("host".into(), server.url.as_str().into()),
            ("token".into(), "t".into()),
            ("rateLimit".into(), Value::Number(1e9)),
            ("retryTimeoutSeconds".into(), Value::Number(3.0)),
        ]);
        let clock = Arc::new(Waits(AtomicU64::new(1_700_000_000_000)));
        let config = config::resolve(&stated, &Env::default()).unwrap();
        let client = Client::new(config, Env::default(), clock.clone());
        let ctx = Context {
            urn: String::new(),
            resource: "token",
            clock,
            reporter: Arc::new(Listener),
            cancel: Default::default(),
            deadline: None,
        };
        AssertUnwindSafe(World { runtime, script, _server: server, client, ctx })
    }
}

fn inputs(which: u8) -> Map {
    let all = [
        ("comment", Value::secret("sql".into())),
        ("lifetimeSeconds", Value::Number(60.0)),
        ("scopes", Value::Array(vec!["sql".into(), "a".into()])),
        ("autoscopeEnabled", Value::Bool(true)),
        ("expiryTime", Value::Number(0.0)),
        ("rotateBeforeSeconds", Value::Number(59.0)),
    ];
    let stated = all.into_iter().enumerate().filter(|(at, _)| which & (1 << at) != 0);
    stated.map(|(_, (name, value))| (name.to_owned(), value)).collect()
}

/// Asserts that the engine may keep a state: its credential is secret, and nothing prints it.
#[track_caller]
fn sound(outputs: &Map, value: &str) {
    assert!(matches!(&outputs[value], Value::Secret(_)));
    assert!(!outputs.values().any(Value::has_unknown));
    assert!(!format!("{outputs:?}").contains(HUSH), "a secret in the clear");
}

/// Whether an answer can prove that the credential with the id `i` is gone: a whole list without it, its expiry, or an
/// error of Databricks whose code says so and whose message names that id, or the service principal that it belongs to.
fn may_prove_gone(reply: &Reply) -> bool {
    let text = String::from_utf8_lossy(&reply.body);
    let body: Json = serde_json::from_str(&text).unwrap_or_default();
    if reply.status != 200 {
        let (code, said) = match text.split_once(": ") {
            Some((code, said)) if !body.is_object() => (code, said.to_owned()),
            _ => (
                body["error_code"].as_str().unwrap_or_default(),
                format!("{} {}", body["error"], body["message"]),
            ),
        };
        let mut words = said.split(|c: char| !c.is_alphanumeric());
        return ["RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"].contains(&code)
            && words.any(|word| ["i", "12345"].contains(&word));
    }
    // Times in the generated answers are long past or far ahead.
    let has_ended = |it: &Json| {
        it["expiry_time"].as_i64().is_some_and(|time| (1..1 << 52).contains(&time))
            || it["expire_time"].as_str().is_some_and(|time| time.starts_with("2020"))
    };
    let is_it = |it: &Json| [&it["token_id"], &it["id"]].contains(&&json!("i"));
    let lacks_it = |list: &Json| match list {
        Json::Array(all) => all.iter().all(|it| !is_it(it) || has_ended(it)),
        other => other.is_null(),
    };
    let Json::Object(fields) = &body else { return false };
    let is_list =
        fields.is_empty() || ["token_infos", "secrets"].iter().any(|name| fields.contains_key(*name));
    is_list && lacks_it(&body["token_infos"]) && lacks_it(&body["secrets"])
        || is_it(&body["token_info"]) && has_ended(&body["token_info"])
}

/// A type of resource, what its inputs need, and the output that holds the credential.
fn kind(which: u8) -> (&'static dyn Resource, Option<(&'static str, &'static str)>, &'static str) {
    let (name, needed, value) = match which >> 6 {
        2 => ("databricks:index/oboToken:OboToken", Some(("applicationId", "a")), "tokenValue"),
        3 => (
            "databricks:index/servicePrincipalSecret:ServicePrincipalSecret",
            Some(("servicePrincipalId", "12345")),
            "secret",
        ),
        _ => ("databricks:index/token:Token", None, "tokenValue"),
    };
    let resource = ALL.iter().find(|resource| resource.type_token() == name).expect("a known type");
    (*resource, needed, value)
}

#[test]
fn answers() {
    assert_eq!(ALL.len(), 3, "each resource has its turn below");
    let world = World::new();
    fuzz::target("answers").with_generator(Cases).for_each(|case| {
        let World { runtime, script, client, ctx, .. } = &*world;
        let (resource, needed, value) = kind(case.inputs);
        script.set(&case.replies);
        let inputs = |which: u8| {
            let mut inputs = inputs(which);
            inputs.extend(needed.map(|(name, text)| (name.to_owned(), text.into())));
            inputs
        };
        let news = inputs(case.inputs);
        let known = || {
            let inputs = inputs(case.inputs.rotate_left(3));
            let mut outputs = inputs.clone();
            outputs.insert(value.into(), Value::secret(HUSH.into()));
            State { inputs, outputs }
        };
        let proved_gone = case.replies.iter().any(may_prove_gone);
        let outcome = runtime.block_on(async {
            let outputs = match case.operation % 6 {
                0 | 1 => {
                    let created = resource.create(client, ctx, news.clone(), false).await?;
                    assert!(!created.id.is_empty(), "a resource without an id");
                    created.outputs
                }
                2 => {
                    let State { inputs, outputs } = &known();
                    let update = Diff {
                        id: "i",
                        old_inputs: inputs,
                        outputs,
                        news: &news,
                        ignore: &[],
                        refresh: false,
                    };
                    resource.update(client, ctx, update).await?.outputs
                }
                3 => match resource.read(client, ctx, "i", Known::State(known())).await? {
                    Some(found) => found.state.outputs,
                    None => {
                        assert!(proved_gone, "gone without a proof");
                        return Ok(());
                    }
                },
                4 => match resource.read(client, ctx, "i", Known::Nothing).await? {
                    Some(found) => found.state.outputs,
                    None => return Ok(()),
                },
                _ => {
                    resource.list(client, ctx, &known().inputs).await?;
                    resource.delete(client, ctx, "i", &known().outputs).await?;
                    let is_done = case.replies.iter().any(|reply| reply.status == 200);
                    assert!(is_done || proved_gone, "revoked without a proof");
                    return Ok(());
                }
            };
            sound(&outputs, value);
            let diff = Diff {
                id: "t",
                old_inputs: &known().inputs,
                outputs: &outputs,
                news: &news,
                ignore: &[],
                refresh: false,
            };
            resource.diff(client, ctx, diff).await.map(drop)
        });
        if let Err(error) = outcome {
            assert!(!error.to_string().contains(HUSH), "a secret in an error: {error}");
        }
    });
}
