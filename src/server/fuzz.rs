//! Fuzz targets: any property values that an engine, a program or a state can send. Their corpora are replayed as
//! ordinary tests; `docs/fuzzing.md` says more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bolero::{Driver, ValueGenerator};
use databricks_auth::testing::{Answer, Server};
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Wire};
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status};

use super::connection::Instance;
use super::proto::pulumirpc as pb;
use super::proto::pulumirpc::resource_provider_server::ResourceProvider;
use super::provider::Provider;
use super::wire;
use crate::config::ATTRIBUTES;
use crate::context::SystemClock;
use crate::env::Env;
use crate::property::SIGNATURE_KEY as SIGNATURE;
use crate::property::{Map, Value};

const SECRET: &str = "1b47061264138c4ac30d75fd1eb44270";
const OUTPUT: &str = "d0e6a833031e9bbcd3f4e8bde6ca49a4";
const RESOURCE: &str = "5cf8f73096256a8f31e491e813e4eb8e";
const ASSET: &str = "c44067f5952c0a294b673a41bacd8c17";
const UNKNOWN: &str = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/// What only secret values hold: a text, and a number.
const HUSH: &str = "hush";
const HUSH_NUMBER: f64 = 271_828_182.0;

/// Names and texts that mean something to the provider.
const TOKEN_NAMES: &[&str] = &[
    "comment",
    "lifetimeSeconds",
    "scopes",
    "autoscopeEnabled",
    "rotateBeforeSeconds",
    "rotateWhenChanged",
    "providerConfig",
    "creationTime",
    "expiryTime",
    "tokenId",
    "tokenValue",
    "autoscopeState",
    "inferredScopes",
    "backfillScopes",
    "id",
    "lifetime_seconds",
];
const KEYS: &[&str] = &["workspaceId", "__defaults", "value", "secret", "id", SIGNATURE, "a", ""];
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "0",
    "-1",
    "60",
    " 60 ",
    "1e300",
    "NaN",
    "true",
    "false",
    "none",
    "sql",
    "[]",
    "[\"a\",1]",
    "{}",
    "https://a.b",
    "http://a?o=1",
    "localhost:1",
    "pat",
    "~",
    "dépôt",
    "\u{0}",
    UNKNOWN,
    SECRET,
    OUTPUT,
    RESOURCE,
    ASSET,
];
const NUMBERS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    60.0,
    0.5,
    8_640_000.0,
    63_072_001.0,
    1_700_000_000_000.0,
    9_007_199_254_740_993.0,
    1e300,
    -1e300,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

/// How deep the values go. Deeper ones come from [`deep_nesting_is_refused_and_does_not_overflow`].
const DEPTH: u8 = 5;

/// Generates structs whose keys are mostly `names`. Those of `secret` hold secrets even without a mark.
#[derive(Clone)]
struct Properties {
    names: Vec<&'static str>,
    secret: Vec<&'static str>,
}

fn token() -> Properties {
    Properties { names: TOKEN_NAMES.to_vec(), secret: vec![] }
}

fn configuration() -> Properties {
    let names = |secret: bool| {
        ATTRIBUTES.iter().filter(move |attribute| !secret || attribute.secret).map(|attribute| attribute.name)
    };
    Properties { names: names(false).chain(["version"]).collect(), secret: names(true).collect() }
}

impl ValueGenerator for Properties {
    type Output = Struct;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Struct> {
        let count = byte(driver) % 10;
        let mut fields = BTreeMap::new();
        for _ in 0..count {
            let key = match byte(driver) {
                0..=31 => key(driver, false),
                at => self.names[usize::from(at) % self.names.len()].to_owned(),
            };
            let secret = self.secret.contains(&key.as_str());
            fields.insert(key, value(driver, DEPTH, secret));
        }
        Some(Struct { fields })
    }
}

/// The next byte; zero once there are no more.
fn byte<D: Driver>(driver: &mut D) -> u8 {
    driver.produce().unwrap_or_default()
}

fn pick<T: Copy, D: Driver>(driver: &mut D, from: &[T]) -> T {
    from[usize::from(byte(driver)) % from.len()]
}

fn text<D: Driver>(driver: &mut D, secret: bool) -> String {
    if secret && byte(driver) < 128 {
        return format!("{HUSH}{}", byte(driver) % 4);
    }
    if byte(driver) < 160 {
        return pick(driver, TEXTS).to_owned();
    }
    let bytes: Vec<u8> = (0..byte(driver) % 24).map(|_| byte(driver)).collect();
    // What is not secret must not look as if it were.
    Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !tells(text)).unwrap_or_default()
}

fn key<D: Driver>(driver: &mut D, secret: bool) -> String {
    if byte(driver) < 160 { pick(driver, KEYS).to_owned() } else { text(driver, secret) }
}

fn value<D: Driver>(driver: &mut D, depth: u8, secret: bool) -> Wire {
    let kind = match byte(driver) % if depth == 0 { 6 } else { 12 } {
        0 => return Wire { kind: None },
        1 => Kind::NullValue(0),
        2 => Kind::BoolValue(byte(driver) % 2 == 1),
        3 => Kind::NumberValue(match byte(driver) {
            0..=127 if secret => HUSH_NUMBER,
            0..=191 => pick(driver, NUMBERS),
            _ => Some(f64::from_bits(driver.produce().unwrap_or_default()))
                .filter(|number| *number != HUSH_NUMBER)
                .unwrap_or_default(),
        }),
        4 | 5 => Kind::StringValue(text(driver, secret)),
        6 | 7 => {
            let values = (0..byte(driver) % 5).map(|_| value(driver, depth - 1, secret)).collect();
            Kind::ListValue(ListValue { values })
        }
        8 => Kind::StructValue(signed(SECRET, [("value", value(driver, depth - 1, true))])),
        9 => {
            let secret_output = byte(driver) % 2 == 1;
            let value = value(driver, depth - 1, secret || secret_output);
            let flag = Wire { kind: Some(Kind::BoolValue(secret_output)) };
            Kind::StructValue(signed(OUTPUT, [("value", value), ("secret", flag)]))
        }
        10 => Kind::StructValue(signed(
            pick(driver, &[RESOURCE, ASSET]),
            [("id", value(driver, depth - 1, secret)), ("urn", value(driver, depth - 1, secret))],
        )),
        _ => {
            let fields = (0..byte(driver) % 5)
                .map(|_| (key(driver, secret), value(driver, depth - 1, secret)))
                .collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Wire { kind: Some(kind) }
}

fn signed<const N: usize>(signature: &str, fields: [(&str, Wire); N]) -> Struct {
    let fields = fields.into_iter().filter(|(_, value)| value.kind.is_some());
    let signature = Wire { kind: Some(Kind::StringValue(signature.to_owned())) };
    Struct {
        fields: fields
            .map(|(name, value)| (name.to_owned(), value))
            .chain([(SIGNATURE.to_owned(), signature)])
            .collect(),
    }
}

/// Whether a text reveals a secret.
fn tells(text: &str) -> bool {
    text.contains(HUSH) || text.contains(&HUSH_NUMBER.to_string())
}

/// Asserts that a reply's struct is there, that each of its values has a kind, and that secrets are under a mark.
#[track_caller]
fn sound(reply: &Option<Struct>) -> Map {
    fn check(value: &Wire, secret: bool) {
        match value.kind.as_ref().expect("a value without a kind crashes the engine") {
            Kind::NumberValue(number) => assert!(secret || *number != HUSH_NUMBER, "a secret in the clear"),
            Kind::StringValue(text) => assert!(secret || !tells(text), "a secret in the clear: {text}"),
            Kind::ListValue(list) => list.values.iter().for_each(|value| check(value, secret)),
            Kind::StructValue(object) => {
                let signature = object.fields.get(SIGNATURE).and_then(|value| value.kind.as_ref());
                let marked = matches!(signature, Some(Kind::StringValue(text)) if text == SECRET);
                for (key, value) in &object.fields {
                    assert!(secret || !tells(key), "a secret in the clear: {key}");
                    check(value, secret || marked);
                }
            }
            Kind::NullValue(_) | Kind::BoolValue(_) => {}
        }
    }
    let reply = reply.as_ref().expect("an absent struct means something else to the engine");
    reply.fields.values().for_each(|value| check(value, false));
    wire::decode(Some(reply.clone()))
}

/// Asserts equality, with NaN equal to itself.
#[track_caller]
fn same<T: std::fmt::Debug>(a: &T, b: &T) {
    let (a, b) = (format!("{a:?}"), format!("{b:?}"));
    assert!(a == b, "{a}\nis not\n{b}");
}

/// A provider without an environment, and the ways to call it.
struct World {
    runtime: Runtime,
    provider: Provider,
    instance: Arc<Instance>,
    /// Lives as long as the world.
    server: RefCell<Option<Server>>,
}

const TOKEN: &str = "databricks:index/token:Token";
const URN: &str = "urn:pulumi:s::p::databricks:index/token:Token::t";

impl World {
    /// A panic ends the process or the test, so nothing sees the state that it leaves behind.
    fn new(host: Option<&str>) -> AssertUnwindSafe<World> {
        let world = World {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            provider: Provider::new(Env::default(), Arc::new(SystemClock), None),
            instance: Arc::default(),
            server: RefCell::default(),
        };
        let stated = host.map(|host| ("host".to_owned(), Value::from(host))).into_iter().collect();
        world.configure(wire::encode(&stated)).unwrap();
        AssertUnwindSafe(world)
    }

    /// A provider for a workspace that has the token `id`, and nothing else.
    fn with_workspace() -> AssertUnwindSafe<World> {
        let world = World::new(None);
        let server = world.runtime.block_on(Server::start(|seen, _| match seen.path.as_str() {
            "/api/2.0/token/list" => Answer::json(
                r#"{"token_infos":[{"token_id":"id","comment":"a","creation_time":1700000000000,"expiry_time":-1}]}"#,
            ),
            _ => Answer::status(404),
        }));
        let stated =
            [("host", server.url.as_str().into()), ("token", "t".into()), ("rateLimit", Value::Number(1e6))];
        let stated = stated.map(|(name, value)| (name.to_owned(), value)).into();
        world.configure(wire::encode(&stated)).unwrap();
        world.server.replace(Some(server));
        world
    }

    fn call<T, R>(
        &self,
        message: T,
        rpc: impl AsyncFnOnce(&Provider, Request<T>) -> Result<Response<R>, Status>,
    ) -> Result<R, Status> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Arc::clone(&self.instance));
        let reply = self.runtime.block_on(rpc(&self.provider, request)).map(Response::into_inner);
        if let Err(status) = &reply {
            assert!(!tells(status.message()), "a secret in an error: {}", status.message());
            assert_ne!(status.code(), tonic::Code::Internal, "{}", status.message());
        }
        reply
    }

    fn configure(&self, args: Option<Struct>) -> Result<pb::ConfigureResponse, Status> {
        let request = pb::ConfigureRequest { args, ..Default::default() };
        self.call(request, async |provider, request| provider.configure(request).await)
    }

    fn check(&self, news: Struct) -> (pb::CheckResponse, Map) {
        let request = pb::CheckRequest {
            urn: URN.into(),
            r#type: TOKEN.into(),
            news: Some(news),
            ..Default::default()
        };
        let reply = self.call(request, async |provider, request| provider.check(request).await).unwrap();
        let inputs = sound(&reply.inputs);
        for failure in &reply.failures {
            assert!(!failure.reason.is_empty());
            assert!(
                !tells(&failure.reason) && !tells(&failure.property),
                "a secret in a failure: {failure:?}"
            );
            let named = inputs.get(&failure.property).filter(|_| !failure.property.is_empty());
            assert!(!named.is_some_and(Value::has_secret), "the engine prints a secret: {failure:?}");
        }
        (reply, inputs)
    }

    fn diff(&self, request: pb::DiffRequest) -> Result<pb::DiffResponse, Status> {
        let request = pb::DiffRequest { urn: URN.into(), r#type: TOKEN.into(), id: "id".into(), ..request };
        let reply = self.call(request, async |provider, request| provider.diff(request).await)?;
        coherent(&reply);
        Ok(reply)
    }
}

/// Asserts that the parts of a diff agree.
fn coherent(reply: &pb::DiffResponse) {
    let some = pb::diff_response::DiffChanges::DiffSome as i32;
    assert_eq!(reply.changes == some, !reply.diffs.is_empty());
    assert!(reply.replaces.iter().all(|path| reply.diffs.contains(path)));
    assert!(
        reply.detailed_diff.keys().all(|path| reply.diffs.contains(&path.split('.').next().unwrap().into()))
    );
    assert_eq!(reply.detailed_diff.len(), reply.diffs.len());
}

#[test]
fn wire_values() {
    fuzz::target("wire_values").with_generator(token()).for_each(|sent| {
        let map = wire::decode(Some(sent.clone()));
        let written = wire::encode(&map);
        same(&sound(&written), &map);
        assert!(!tells(&format!("{map:?}")), "Debug reveals a secret");
        let known = wire::decode_known(Some(sent.clone()));
        assert_eq!(known.is_ok(), !map.values().any(Value::has_unknown));
        // The bytes, too, are read back as they were written.
        let bytes = written.as_ref().unwrap().encode_to_vec();
        same(&wire::decode(Some(Struct::decode(bytes.as_slice()).unwrap())), &map);
    });
}

#[test]
fn wire_bytes() {
    fuzz::target("wire_bytes").for_each(|bytes: &[u8]| {
        let Ok(sent) = Struct::decode(bytes) else { return };
        let map = wire::decode(Some(sent));
        same(&wire::decode(wire::encode(&map)), &map);
    });
}

#[test]
fn check() {
    let world = World::new(None);
    fuzz::target("check").with_generator(token()).for_each(|news| {
        let (first, inputs) = world.check(news.clone());
        let (second, again) = world.check(first.inputs.clone().unwrap());
        same(&again, &inputs);
        same(&second.failures, &first.failures);
    });
}

#[test]
fn diff_of_the_same_is_nothing() {
    let world = World::new(None);
    fuzz::target("diff_of_the_same_is_nothing").with_generator(token()).for_each(|news| {
        let (checked, inputs) = world.check(news.clone());
        let set_by_databricks = ["creationTime", "expiryTime", "tokenId"];
        if !checked.failures.is_empty()
            || inputs.values().any(Value::has_unknown)
            || set_by_databricks.iter().any(|name| inputs.contains_key(*name))
        {
            return;
        }
        let mut outputs = inputs.clone();
        outputs.extend([
            ("creationTime".to_owned(), Value::Number(1.7e12)),
            ("expiryTime".to_owned(), Value::Number(-1.0)),
            ("tokenId".to_owned(), "i".into()),
            ("tokenValue".to_owned(), Value::secret("t".into())),
        ]);
        let request = pb::DiffRequest {
            old_inputs: wire::encode(&inputs),
            olds: wire::encode(&outputs),
            news: checked.inputs,
            ..Default::default()
        };
        let reply = world.diff(request).unwrap();
        assert!(reply.diffs.is_empty(), "{:?}: {inputs:?}", reply.diffs);
    });
}

#[test]
fn diff() {
    let world = World::new(None);
    let generator = (token(), token(), token(), bolero::produce::<u8>());
    fuzz::target("diff").with_generator(generator).for_each(|(old_inputs, olds, news, ignored)| {
        let ignored = TOKEN_NAMES.get(usize::from(*ignored)).map(|name| (*name).to_owned());
        let request = pb::DiffRequest {
            old_inputs: Some(old_inputs.clone()),
            olds: Some(olds.clone()),
            news: Some(news.clone()),
            ignore_changes: ignored.iter().cloned().collect(),
            ..Default::default()
        };
        if let Ok(reply) = world.diff(request) {
            assert!(!ignored.is_some_and(|ignored| reply.diffs.contains(&ignored)));
        }
    });
}

#[test]
fn previews() {
    // A preview tries to sign in.
    let world = World::with_workspace();
    fuzz::target("previews").with_generator((token(), token())).for_each(|(olds, news)| {
        let (checked, inputs) = world.check(news.clone());
        if !checked.failures.is_empty() {
            return;
        }
        let create = pb::CreateRequest {
            urn: URN.into(),
            r#type: TOKEN.into(),
            properties: checked.inputs.clone(),
            preview: true,
            ..Default::default()
        };
        let reply = world.call(create, async |provider, request| provider.create(request).await).unwrap();
        let outputs = sound(&reply.properties);
        assert_eq!(outputs["tokenValue"], Value::secret(Value::Unknown));
        assert!(reply.id.is_empty());
        let computed = ["creationTime", "expiryTime", "providerConfig", "tokenId", "tokenValue"];
        for (name, value) in inputs.iter().filter(|(name, _)| !computed.contains(&name.as_str())) {
            same(&&outputs[name], &value);
        }
        let update = pb::UpdateRequest {
            id: "id".into(),
            urn: URN.into(),
            r#type: TOKEN.into(),
            olds: Some(olds.clone()),
            news: checked.inputs,
            preview: true,
            ..Default::default()
        };
        let reply = world.call(update, async |provider, request| provider.update(request).await).unwrap();
        sound(&reply.properties);
    });
}

/// Whatever the state holds, a token that lives is never reported as gone, and its value is not lost.
#[test]
fn read() {
    let world = World::with_workspace();
    let generator = (token(), token(), bolero::produce::<bool>());
    fuzz::target("read").with_generator(generator).for_each(|(inputs, outputs, import)| {
        let request = pb::ReadRequest {
            id: "id".into(),
            urn: URN.into(),
            r#type: TOKEN.into(),
            inputs: (!import).then(|| inputs.clone()),
            properties: (!import).then(|| outputs.clone()),
            ..Default::default()
        };
        let read = world.call(request, async |provider, request| provider.read(request).await);
        let Ok(reply) = read else { return assert!(!import, "{read:?}") };
        assert_eq!(reply.id, "id");
        sound(&reply.inputs);
        let properties = sound(&reply.properties);
        let kept = wire::decode(Some(outputs.clone())).remove("tokenValue").filter(|_| !import);
        if let Some(Value::String(kept)) = kept {
            assert_eq!(properties["tokenValue"], Value::secret(Value::String(kept)));
        }
    });
}

#[test]
fn provider_configuration() {
    let world = World::new(None);
    let generator = (configuration(), configuration());
    fuzz::target("provider_configuration").with_generator(generator).for_each(|(olds, news)| {
        let request = pb::CheckRequest { news: Some(news.clone()), ..Default::default() };
        let checked =
            world.call(request, async |provider, request| provider.check_config(request).await).unwrap();
        let inputs = sound(&checked.inputs);
        for failure in &checked.failures {
            assert!(failure.property.is_empty() && !tells(&failure.reason), "{failure:?}");
        }
        let unknown = inputs.values().any(Value::has_unknown);
        let configured = world.configure(Some(news.clone()));
        if !unknown {
            // CheckConfig judges the whole only where it knows every property; Configure ignores those it does not
            // know.
            let stranger =
                |failure: &pb::CheckFailure| failure.reason.contains("has no configuration property");
            let refused = checked.failures.iter().any(|failure| !stranger(failure));
            assert!(
                configured.is_err() == refused || checked.failures.iter().any(stranger),
                "{configured:?} {:?}",
                checked.failures
            );
        }
        for (old, new) in [(olds, news), (news, news)] {
            let request = pb::DiffRequest {
                old_inputs: Some(old.clone()),
                news: Some(new.clone()),
                ..Default::default()
            };
            let reply =
                world.call(request, async |provider, request| provider.diff_config(request).await).unwrap();
            coherent(&reply);
            assert!(reply.replaces.is_empty());
            let nan = format!("{new:?}").contains("NaN");
            assert!(old != new || unknown || nan || reply.diffs.is_empty(), "{:?}: {inputs:?}", reply.diffs);
        }
    });
}

/// Values travel as protobuf, whose decoder stops at a depth of 100 messages, so that no request overflows the stack.
#[test]
fn deep_nesting_is_refused_and_does_not_overflow() {
    // The bytes of a value within a list within a value and so on, made from the inside out.
    fn around(tag: u8, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend_from_slice(inner);
        bytes
    }
    let nested = |levels: u32| {
        let value = (0..levels).fold(vec![], |inner, _| around(0x32, &around(0x0a, &inner)));
        // The field `a` of the struct.
        around(0x0a, &[&around(0x0a, b"a")[..], &around(0x12, &value)].concat())
    };
    let value = wire::decode(Some(Struct::decode(nested(40).as_slice()).unwrap()));
    assert!(!value["a"].has_secret());
    let error = Struct::decode(nested(20_000).as_slice()).unwrap_err();
    assert!(error.to_string().contains("recursion limit"), "{error}");
}
