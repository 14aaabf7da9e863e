//! Everything of the package that is not ours goes to the official plugin, a child of this process that is started when
//! it is first needed. Messages pass through as bytes; only what routes them is read, and the marks of secrets, which
//! the official plugin does not know.

mod body;
mod child;
mod find;
mod message;
mod process;
mod relay;
mod schema;
mod secrets;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll};

use prost::Message as _;
use prost::bytes::Bytes;
use prost_types::Struct;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::configurations::Configurations;
use super::connection::Instance;
use super::proto::google::rpc;
use super::proto::pulumirpc as pb;
use super::provider::type_of;
use crate::client::{Client, Redactor};
use crate::context::{Clock, Reporter as _, Severity};
use crate::env::Env;
use crate::{function, resource};
use child::{Child, Household};
use find::Official;
pub use process::{OFFICIAL, run_official};

/// What stands before the name of each method.
const PREFIX: &str = "/pulumirpc.ResourceProvider/";

/// A method whose calls are routed by their type or token. The numbers are those of fields in its messages.
struct Method {
    name: &'static str,
    /// In the request: the type or token; where that is empty, the URN says it.
    token: u64,
    urn: Option<u64>,
    /// In the request: structs with marks that the plugin may not take.
    structs: &'static [u64],
    /// Outputs in the answer, and what was sent for them: what was secret in the request is secret in the answer.
    properties: Option<(u64, u64)>,
    /// The same for inputs.
    inputs: Option<(u64, u64)>,
    /// An answer, and what was sent for it: if anything was secret in the request, the answer is secret as a whole.
    all_secret: Option<(u64, u64)>,
    /// Whether marks pass through, whatever the plugin takes; only outputs become their values if it does not take
    /// them.
    keeps_marks: bool,
    /// The verb for what it does, in messages.
    verb: &'static str,
}

const METHOD: Method = Method {
    name: "",
    token: 0,
    urn: None,
    structs: &[],
    properties: None,
    inputs: None,
    all_secret: None,
    keeps_marks: false,
    verb: "",
};

const METHODS: &[Method] = &[
    Method {
        name: "Check",
        token: 7,
        urn: Some(1),
        structs: &[2, 3, 9],
        inputs: Some((1, 3)),
        verb: "check",
        ..METHOD
    },
    Method { name: "Diff", token: 8, urn: Some(2), structs: &[3, 4, 6], verb: "compare", ..METHOD },
    Method {
        name: "Create",
        token: 6,
        urn: Some(1),
        structs: &[2],
        properties: Some((2, 2)),
        verb: "create",
        ..METHOD
    },
    Method {
        name: "Read",
        token: 6,
        urn: Some(2),
        structs: &[3, 4],
        properties: Some((2, 3)),
        inputs: Some((3, 4)),
        verb: "read",
        ..METHOD
    },
    Method {
        name: "Update",
        token: 10,
        urn: Some(2),
        structs: &[3, 4, 8],
        properties: Some((1, 4)),
        verb: "update",
        ..METHOD
    },
    Method { name: "Delete", token: 7, urn: Some(2), structs: &[3, 5], verb: "delete", ..METHOD },
    Method { name: "List", token: 1, structs: &[2], verb: "list", ..METHOD },
    Method { name: "Invoke", token: 1, structs: &[2], all_secret: Some((1, 2)), verb: "call", ..METHOD },
    Method { name: "Call", token: 1, structs: &[3], keeps_marks: true, verb: "call", ..METHOD },
    Method { name: "Construct", token: 7, structs: &[10], keeps_marks: true, verb: "construct", ..METHOD },
];

/// What the engine has told a connection, and the child is to be told too.
#[derive(Clone, Default)]
pub(super) struct Settings {
    handshake: Option<Bytes>,
    attach: Option<Bytes>,
    configure: Option<Bytes>,
}

/// Hides credentials in what the child says.
#[derive(Clone, Default)]
pub(super) struct Mask(Arc<Mutex<Option<Client>>>);

impl Mask {
    fn hide(&self, text: &str) -> String {
        self.hide_also(text, &[])
    }

    fn hide_also(&self, text: &str, more: &[secrecy::SecretString]) -> String {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(client) => client.redactor().hide(text, more),
            None => Redactor::default().hide(text, more),
        }
    }
}

/// The official plugin, as far as one connection is concerned.
#[derive(Default)]
pub(super) struct Session {
    settings: Mutex<Settings>,
    mask: Mask,
    child: tokio::sync::Mutex<Option<Arc<Child>>>,
}

impl Session {
    pub(super) fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what the engine has said on a connection that it lost, for the child of this one.
    pub(super) fn go_on_with(&self, settings: &Settings) {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone_from(settings);
    }

    /// Hides the credentials of our own client, once there is one.
    pub(super) fn hide_credentials_of(&self, client: Client) {
        *self.mask.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
    }
}

/// Whether a type or a function is ours.
fn is_ours(token: &str) -> bool {
    resource::ALL.iter().any(|resource| resource.type_token() == token)
        || function::ALL.iter().any(|function| function.token() == token)
}

/// The service, with what is not ours passed on.
#[derive(Clone)]
pub(super) struct Forwarding<S> {
    ours: S,
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    /// Address of the engine that started this process.
    engine: Option<String>,
    household: Household,
    configurations: Arc<Configurations>,
}

/// Why there is no child.
enum Absent {
    Off,
    Missing(find::Missing),
    Failed(Status),
}

/// Ends the children of this process when the process itself ends.
pub(super) struct Children {
    children: TaskTracker,
    end: CancellationToken,
}

impl Children {
    /// Ends them all. What the official plugin is doing ends with it, as it does when the engine ends it.
    pub(super) async fn end(&self) {
        self.end.cancel();
        self.children.close();
        self.children.wait().await;
    }
}

impl<S> Forwarding<S> {
    /// `stop` is cancelled when the process is asked to end.
    pub(super) fn new(
        ours: S,
        env: Env,
        clock: Arc<dyn Clock>,
        engine: Option<String>,
        configurations: Arc<Configurations>,
        stop: CancellationToken,
    ) -> (Self, Children) {
        let (children, end) = (TaskTracker::new(), CancellationToken::new());
        let household = Household { clock, children: children.clone(), stop, end: end.clone() };
        let shared = Shared { env, engine, household, configurations };
        (Forwarding { ours, shared: Arc::new(shared) }, Children { children, end })
    }
}

impl<S: NamedService> NamedService for Forwarding<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = http::Response<Body>;

impl<S> Service<http::Request<Body>> for Forwarding<S>
where
    S: Service<http::Request<Body>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<Answer, Infallible>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.ours.poll_ready(task)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let name = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        let method = METHODS.iter().find(|method| method.name == name);
        let told = ["Handshake", "Attach", "Configure"].into_iter().find(|told| *told == name);
        let beside = ["GetSchema", "GetMapping", "GetMappings"].into_iter().find(|beside| *beside == name);
        let is_cancel = name == "Cancel";
        let Some(instance) = request.extensions().get::<Arc<Instance>>().cloned() else {
            return Box::pin(self.ours.call(request));
        };
        if method.is_none() && told.is_none() && beside.is_none() && !is_cancel {
            return Box::pin(self.ours.call(request));
        }
        let mut ours = self.ours.clone();
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if is_cancel {
                let answer = ours.call(request).await;
                // While a child starts, the call that waits for it notices the cancel by itself.
                if let Ok(child) = instance.official.child.try_lock()
                    && let Some(child) = &*child
                {
                    child.cancel();
                }
                return answer;
            }
            let (head, body) = request.into_parts();
            let (whole, message) = match body::read(body).await {
                Ok(read) => read,
                Err(status) => return Ok(status.into_http()),
            };
            let metadata = MetadataMap::from_headers(head.headers.clone());
            let ours = move || {
                let body = Body::new(body::Whole(Some(whole)));
                async move { ours.call(http::Request::from_parts(head, body)).await }
            };
            let Some(message) = message else { return ours().await };
            if let Some(told) = told {
                shared.hear(&instance, told, message).await;
                return ours().await;
            }
            if let Some(beside) = beside {
                return match shared.beside(&instance, beside, metadata, message).await {
                    Some(answer) => Ok(answer),
                    None => ours().await,
                };
            }
            let Some(method) = method else { return ours().await };
            let token = match message::text(&message, method.token) {
                "" => method.urn.map(|urn| type_of(message::text(&message, urn))).unwrap_or_default(),
                token => token,
            };
            if token.is_empty() || is_ours(token) {
                return ours().await;
            }
            let token = token.to_owned();
            match shared.forward(&instance, method, metadata, message).await {
                Ok(answer) => Ok(answer),
                Err(Absent::Off) => ours().await,
                Err(Absent::Missing(missing)) => {
                    Ok(Status::failed_precondition(missing.message(&token)).into_http())
                }
                Err(Absent::Failed(status)) => {
                    let message = format!("cannot {} {token}: {}", method.verb, status.message());
                    Ok(Status::new(status.code(), message).into_http())
                }
            }
        })
    }
}

impl Shared {
    /// Keeps what the engine says. A new command or configuration gets a new child.
    async fn hear(&self, instance: &Instance, told: &str, message: Bytes) {
        let session = &instance.official;
        {
            let mut settings = session.settings.lock().unwrap_or_else(PoisonError::into_inner);
            match told {
                "Handshake" => *settings = Settings { handshake: Some(message), ..Settings::default() },
                "Attach" => settings.attach = Some(message),
                _ => settings.configure = Some(message),
            }
        }
        session.child.lock().await.take();
    }

    /// The child of this connection, which is started if there is none.
    async fn child(
        &self,
        instance: &Instance,
        settings: &Settings,
        mask: &Mask,
    ) -> Result<Arc<Child>, Absent> {
        let mut slot = instance.official.child.lock().await;
        if let Some(child) = slot.as_ref().filter(|child| !child.is_gone()) {
            return Ok(Arc::clone(child));
        }
        let asked = settings.configure.as_ref().and_then(asked_version);
        let plugin = match find::official(&self.env, asked.as_deref()) {
            Official::Found(plugin) => plugin,
            Official::Off => return Err(Absent::Off),
            Official::Missing(missing) => return Err(Absent::Missing(missing)),
        };
        let attached = settings.attach.as_ref().map(|attach| message::text(attach, 1).to_owned());
        let greeted = settings.handshake.as_ref().map(|handshake| message::text(handshake, 1).to_owned());
        let engine = self.engine.clone().or(attached).or(greeted).filter(|engine| !engine.is_empty());
        let child = Child::start(plugin, engine.as_deref(), settings, mask, &self.household).await;
        let child = Arc::new(child.map_err(Absent::Failed)?);
        *slot = Some(Arc::clone(&child));
        Ok(child)
    }

    /// Answers for both plugins; None where ours is the whole answer.
    async fn beside(
        &self,
        instance: &Arc<Instance>,
        method: &str,
        metadata: MetadataMap,
        message: Bytes,
    ) -> Option<Answer> {
        // This call needs no configuration, but the child that it starts may be asked for more on the same connection.
        let _ = self.configurations.client(instance);
        let Session { mask, .. } = &instance.official;
        let child = match self.child(instance, &instance.official.settings(), mask).await {
            Ok(child) => child,
            Err(Absent::Failed(status)) => {
                let warning = format!("{method} covers only credentials: {}", status.message());
                instance.engine.report(Severity::Warning, "", &warning).await;
                return None;
            }
            Err(Absent::Off | Absent::Missing(_)) => return None,
        };
        let answer = child.call(method, metadata, message).await;
        let answer = match answer {
            Err(status) if status.code() == Code::Unimplemented => return None,
            Ok(answer) if method == "GetSchema" => both_schemas(&child, &answer),
            answer => answer,
        };
        Some(match answer {
            Ok(answer) => body::reply(tokio_stream::once(Ok(answer))),
            Err(status) if child.is_lost(&status) => {
                child.lost(&format!("during {method}"), "").await.into_http()
            }
            Err(status) => Status::new(status.code(), mask.hide(status.message())).into_http(),
        })
    }

    /// Passes a call on to the child.
    async fn forward(
        &self,
        instance: &Arc<Instance>,
        method: &'static Method,
        metadata: MetadataMap,
        message: Bytes,
    ) -> Result<Answer, Absent> {
        let configured = self.configurations.client(instance);
        let (settings, mask) = (instance.official.settings(), instance.official.mask.clone());
        let cancelled = instance.cancellation();
        let ready = async {
            let child = self.child(instance, &settings, &mask).await?;
            configured.map_err(Absent::Failed)?;
            let accepts = child.configure(&settings, &mask).await.map_err(Absent::Failed)?;
            Ok((child, accepts))
        };
        let (child, accepts) = tokio::select! {
            ready = ready => ready?,
            () = cancelled.cancelled() => {
                return Err(Absent::Failed(Status::cancelled("cancelled before the official plugin was ready")));
            }
        };
        let accepts = match method.keeps_marks {
            true => secrets::Accepts { secrets: true, resources: true, outputs: accepts.outputs },
            false => accepts,
        };
        let sent = Sent::of(method, &message, accepts);
        let uncertain = method.may_have_been_done(&message);
        let adapted = match secrets::has_marks(&message) {
            true => message::replace(&message, |number, content| {
                method.structs.contains(&number).then(|| secrets::adapted(content, accepts))?
            })
            .into(),
            false => message,
        };
        if method.name == "List" {
            let answers = child.stream(method.name, metadata, adapted).await;
            return Ok(match answers {
                Ok(answers) => body::reply(answers.map(move |answer| {
                    let _held = &child;
                    answer.map_err(|status| sent.error(&status, &mask))
                })),
                Err(status) if child.is_lost(&status) => {
                    return Err(Absent::Failed(child.lost("meanwhile", "").await));
                }
                Err(status) => sent.error(&status, &mask).into_http(),
            });
        }
        Ok(match child.call(method.name, metadata, adapted).await {
            Ok(answer) => body::reply(tokio_stream::once(Ok(sent.answer(answer)))),
            Err(status) if child.is_lost(&status) => {
                return Err(Absent::Failed(child.lost("meanwhile", uncertain).await));
            }
            Err(status) => sent.error(&status, &mask).into_http(),
        })
    }
}

impl Method {
    /// What to say where nobody knows whether the call was carried out.
    fn may_have_been_done(&self, request: &[u8]) -> &'static str {
        match self.name {
            "Create" if !message::flag(request, 4) => {
                " It may have been created all the same, and is not in the state: look in the workspace for it, and \
                 delete it there or take it over with `pulumi import`."
            }
            "Update" if !message::flag(request, 7) => {
                " It may have been updated all the same: run `pulumi refresh`."
            }
            "Delete" => " It may have been deleted all the same: run `pulumi refresh`.",
            _ => "",
        }
    }
}

/// The version that an SDK asks for, which Configure brings along.
fn asked_version(configure: &Bytes) -> Option<String> {
    let arguments = Struct::decode(message::content(configure, 2)?).ok()?;
    match arguments.fields.get("version")?.kind.as_ref()? {
        prost_types::value::Kind::StringValue(version) => Some(version.clone()),
        _ => None,
    }
}

/// The schema of the official plugin with ours over it, as an answer of GetSchema.
fn both_schemas(child: &Child, answer: &[u8]) -> Result<Bytes, Status> {
    let schema = schema::overlay(message::text(answer, 1), crate::schema::SCHEMA).map_err(|error| {
        Status::internal(format!("the schema of {} is not JSON: {error}", child.plugin()))
    })?;
    Ok(pb::GetSchemaResponse { schema: schema.into() }.encode_to_vec().into())
}

/// What was sent with secrets in it, as far as the answer needs the marks again.
struct Sent {
    method: &'static Method,
    properties: Option<Struct>,
    inputs: Option<Struct>,
    all_secret: bool,
    texts: Vec<secrecy::SecretString>,
}

impl Sent {
    fn of(method: &'static Method, request: &[u8], accepts: secrets::Accepts) -> Self {
        let mut sent = Sent { method, properties: None, inputs: None, all_secret: false, texts: Vec::new() };
        if !secrets::has_marks(request) {
            return sent;
        }
        let field = |number: u64| secrets::secret_inputs(message::content(request, number)?);
        let texts = method.structs.iter().filter_map(|number| field(*number));
        sent.texts = texts.flat_map(|sent| secrets::texts(&sent)).map(Into::into).collect();
        if !accepts.secrets {
            sent.properties = method.properties.and_then(|(_, number)| field(number));
            sent.inputs = method.inputs.and_then(|(_, number)| field(number));
            sent.all_secret = method.all_secret.is_some_and(|(_, number)| field(number).is_some());
        }
        sent
    }

    /// The answer with its marks.
    fn answer(&self, answer: Bytes) -> Bytes {
        if self.properties.is_none() && self.inputs.is_none() && !self.all_secret {
            return answer;
        }
        let number_of = |fields: Option<(u64, u64)>| fields.map(|(number, _)| number);
        let method = self.method;
        let changed = message::replace(&answer, |number, content| {
            let number = Some(number);
            let marked = |mark: &dyn Fn(&mut Struct)| {
                let mut answer = Struct::decode(content).ok()?;
                mark(&mut answer);
                Some(answer.encode_to_vec())
            };
            if number == number_of(method.properties) {
                let sent = self.properties.as_ref()?;
                return marked(&|answer| secrets::mark(answer, sent));
            }
            if number == number_of(method.inputs) {
                let sent = self.inputs.as_ref()?;
                return marked(&|answer| secrets::mark(answer, sent));
            }
            (self.all_secret && number == number_of(method.all_secret)).then(|| marked(&secrets::mark_all))?
        });
        changed.into()
    }

    /// An error of the plugin's, without credentials. If it reports an incomplete resource, that has its marks again.
    fn error(&self, status: &Status, mask: &Mask) -> Status {
        let hide = |text: &str| mask.hide_also(text, &self.texts);
        let message = hide(status.message());
        let Ok(mut details) = rpc::Status::decode(status.details()) else {
            return Status::new(status.code(), message);
        };
        if details.details.is_empty() {
            return Status::new(status.code(), message);
        }
        // The engine refuses details that say anything other than the status does.
        details.message.clone_from(&message);
        for detail in &mut details.details {
            if !detail.type_url.ends_with("/pulumirpc.ErrorResourceInitFailed") {
                continue;
            }
            let Ok(mut failed) = pb::ErrorResourceInitFailed::decode(&*detail.value) else { continue };
            for (answer, sent) in
                [(&mut failed.properties, &self.properties), (&mut failed.inputs, &self.inputs)]
            {
                if let (Some(answer), Some(sent)) = (answer, sent) {
                    secrets::mark(answer, sent);
                }
            }
            failed.reasons.iter_mut().for_each(|reason| *reason = hide(reason));
            detail.value = failed.encode_to_vec();
        }
        Status::with_details(status.code(), message, details.encode_to_vec().into())
    }
}

/// Says which official plugin would be used, for `--help`.
pub fn official_plugin(env: &Env) -> String {
    match find::official(env, None) {
        Official::Off => format!("none: {} is off", find::VARIABLE),
        Official::Found(plugin) => plugin.path.display().to_string(),
        Official::Missing(find::Missing::NoFile(path)) => format!("none at {}", path.display()),
        Official::Missing(find::Missing::NotInstalled(_)) => "not installed".into(),
    }
}
