use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::bytes::Bytes;
use tokio_stream::Stream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::configurations::Configurations;
use super::connection::Instance;
use super::delivery::{Unclaimed, Undo, Watch};
use super::proto::pulumirpc as pb;
use super::proto::pulumirpc::resource_provider_server::ResourceProvider;
use super::{mapping, status, wire};
use crate::client::Client;
use crate::config;
use crate::context::{Clock, Context, Severity};
use crate::env::Env;
use crate::property::{Change, Changes, Failure, Kind, Map, Row, Value, is_internal, stated};
use crate::resource::{self, Created, Found, Known, Resource, State, Updated, Verdict, date};
use crate::{function, schema};

/// The service. What a connection was told is in its [`Instance`].
pub(super) struct Provider {
    env: Env,
    clock: Arc<dyn Clock>,
    /// Address of the engine that started this process; engines that attach to it send theirs.
    engine: Option<String>,
    /// Operations under way. Creates outlive the calls that asked for them.
    in_flight: TaskTracker,
    configurations: Arc<Configurations>,
    longest_request: Arc<LongestRequest>,
}

/// How long a request to Databricks may take, in seconds: the longest of all configurations so far.
#[derive(Default)]
pub(super) struct LongestRequest(AtomicU64);

impl LongestRequest {
    pub(super) fn get(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// One operation on one resource.
struct Operation {
    resource: &'static dyn Resource,
    client: Client,
    ctx: Context,
}

impl Provider {
    pub(super) fn new(env: Env, clock: Arc<dyn Clock>, engine: Option<String>) -> Self {
        Provider {
            env,
            clock,
            engine,
            in_flight: TaskTracker::new(),
            configurations: Arc::default(),
            longest_request: Arc::default(),
        }
    }

    pub(super) fn longest_request(&self) -> Arc<LongestRequest> {
        Arc::clone(&self.longest_request)
    }

    pub(super) fn configurations(&self) -> Arc<Configurations> {
        Arc::clone(&self.configurations)
    }

    pub(super) fn in_flight(&self) -> TaskTracker {
        self.in_flight.clone()
    }

    /// Finds what an operation works on and with.
    fn operation<T>(
        &self,
        request: &Request<T>,
        urn: &str,
        token: &str,
        timeout_seconds: f64,
    ) -> Result<Operation, Status> {
        let resource = find(token, urn)?;
        let instance = instance(request)?;
        let client = self.configurations.client(&instance)?;
        tracing::Span::current().record("pulumi.urn", urn);
        let ctx = self.context(&instance, urn, resource.noun(), timeout_seconds);
        Ok(Operation { resource, client, ctx })
    }

    /// The context that an operation is given.
    fn context(&self, instance: &Instance, urn: &str, noun: &'static str, timeout_seconds: f64) -> Context {
        // The engine does not enforce the resource's timeout, and sends 0 for none.
        let limit = Duration::try_from_secs_f64(timeout_seconds).ok().filter(|limit| !limit.is_zero());
        Context {
            urn: urn.to_owned(),
            resource: noun,
            clock: Arc::clone(&self.clock),
            reporter: Arc::clone(&instance.engine) as _,
            cancel: instance.cancellation(),
            deadline: limit.and_then(|limit| self.clock.now().checked_add(limit)),
        }
    }
}

fn instance<T>(request: &Request<T>) -> Result<Arc<Instance>, Status> {
    request
        .extensions()
        .get::<Arc<Instance>>()
        .cloned()
        .ok_or_else(|| Status::internal("the request belongs to no connection"))
}

/// The resource of a type token; older engines send the token in the URN only.
fn find(token: &str, urn: &str) -> Result<&'static dyn Resource, Status> {
    let token = if token.is_empty() { type_of(urn) } else { token };
    resource::ALL.iter().copied().find(|resource| resource.type_token() == token).ok_or_else(|| {
        let known: Vec<_> = resource::ALL.iter().map(|resource| resource.type_token()).collect();
        Status::invalid_argument(format!(
            "this databricks plugin ({}) manages only {}, not {token}. The official databricks plugin (1.x) manages \
             the other types; both work side by side: give the resource an explicit provider with the option \
             `version` {OFFICIAL}",
            env!("CARGO_PKG_VERSION"),
            known.join(", ")
        ))
    })
}

/// The environment variable that keeps the engine from refreshing what rotates before each update, if it is `off`.
const REFRESH_BEFORE_UPDATE: &str = "PULUMI_DATABRICKS_REFRESH_BEFORE_UPDATE";

/// How to get what only the official plugin has. Messages put it after the name of the option `version`.
const OFFICIAL: &str = "set to the official plugin's, installed with `pulumi plugin install resource databricks <version>`. \
                        A plugin on PATH answers for every version, so keep this one off PATH then. Or let this plugin \
                        pass it on: unset PULUMI_DATABRICKS_OFFICIAL_PLUGIN, which is off";

/// Inputs of the state. Old engines send only outputs, which repeat what was stated.
fn old_inputs(resource: &dyn Resource, sent: Option<prost_types::Struct>, outputs: &Map) -> Map {
    match sent {
        Some(_) => wire::decode(sent),
        None => resource::stated_in(&resource.definition(), outputs),
    }
}

/// The type token in `urn:pulumi:stack::project::parent$type::name`.
pub(super) fn type_of(urn: &str) -> &str {
    let types = urn.split("::").nth(2).unwrap_or_default();
    types.rsplit('$').next().unwrap_or_default()
}

fn check_response(inputs: &Map, failures: Vec<Failure>) -> Response<pb::CheckResponse> {
    let failures = failures
        .into_iter()
        .map(|failure| pb::CheckFailure { property: failure.property, reason: failure.reason })
        .collect();
    Response::new(pb::CheckResponse { inputs: wire::encode(inputs), failures })
}

fn diff_response(changes: &Changes, input_diff: bool) -> Response<pb::DiffResponse> {
    use pb::property_diff::Kind as Wire;
    let kind = |kind: Kind, replace: bool| match (kind, replace) {
        (Kind::Added, false) => Wire::Add,
        (Kind::Added, true) => Wire::AddReplace,
        (Kind::Removed, false) => Wire::Delete,
        (Kind::Removed, true) => Wire::DeleteReplace,
        (Kind::Changed, false) => Wire::Update,
        (Kind::Changed, true) => Wire::UpdateReplace,
    };
    let top = |path: &String| path.split('.').next().unwrap_or_default().to_owned();
    let replace = Change::replaces;
    let changed = || changes.iter().filter(|(_, (_, change))| *change != Change::Nothing);
    Response::new(pb::DiffResponse {
        replaces: changed().filter(|(_, (_, change))| replace(*change)).map(|(path, _)| top(path)).collect(),
        diffs: changed().map(|(path, _)| top(path)).collect(),
        detailed_diff: changed()
            .map(|(path, (how, change))| {
                (path.clone(), pb::PropertyDiff { kind: kind(*how, replace(*change)) as i32, input_diff })
            })
            .collect(),
        has_detailed_diff: true,
        changes: match changed().next() {
            Some(_) => pb::diff_response::DiffChanges::DiffSome,
            None => pb::diff_response::DiffChanges::DiffNone,
        } as i32,
        ..pb::DiffResponse::default()
    })
}

/// Changes of a provider's own configuration: updates, never a replacement. The same workspace has several host
/// names, and a replaced provider would replace every token.
fn config_changes(old: &Map, new: &Map) -> Changes {
    let mut changes: Changes = old
        .keys()
        .chain(new.keys())
        .filter(|name| !is_internal(name))
        .filter_map(|name| {
            let (old, new) = (stated(old, name), stated(new, name));
            let kind = match (old, new) {
                (None, None) => return None,
                _ if config::same(name, old, new) => return None,
                (None, Some(_)) => Kind::Added,
                (Some(_), None) => Kind::Removed,
                (Some(_), Some(_)) => Kind::Changed,
            };
            Some((name.clone(), (kind, Change::Update)))
        })
        .collect();
    // Another version of the plugin alone, or another place that it comes from, is no change to what it manages.
    changes.retain(|name, _| !config::ENGINE_KEYS.contains(&name.as_str()));
    changes
}

#[tonic::async_trait]
impl ResourceProvider for Provider {
    async fn handshake(
        &self,
        request: Request<pb::ProviderHandshakeRequest>,
    ) -> Result<Response<pb::ProviderHandshakeResponse>, Status> {
        let instance = instance(&request)?;
        instance.begin();
        instance.refreshes_before_updates(
            request.get_ref().supports_refresh_before_update
                && self.env.var(REFRESH_BEFORE_UPDATE) != Some("off"),
        );
        instance.engine.connect(&request.get_ref().engine_address);
        Ok(Response::new(pb::ProviderHandshakeResponse {
            accept_secrets: true,
            accept_resources: true,
            accept_outputs: true,
            supports_autonaming_configuration: true,
            ..Default::default()
        }))
    }

    async fn attach(&self, request: Request<pb::PluginAttach>) -> Result<Response<()>, Status> {
        instance(&request)?.engine.connect(&request.get_ref().address);
        Ok(Response::new(()))
    }

    async fn get_plugin_info(&self, _: Request<()>) -> Result<Response<pb::PluginInfo>, Status> {
        Ok(Response::new(pb::PluginInfo { version: env!("CARGO_PKG_VERSION").to_owned() }))
    }

    async fn get_schema(
        &self,
        _: Request<pb::GetSchemaRequest>,
    ) -> Result<Response<pb::GetSchemaResponse>, Status> {
        Ok(Response::new(pb::GetSchemaResponse { schema: Bytes::from_static(schema::SCHEMA.as_bytes()) }))
    }

    async fn check_config(
        &self,
        request: Request<pb::CheckRequest>,
    ) -> Result<Response<pb::CheckResponse>, Status> {
        // What is stated goes back as it came; nothing from the environment enters the state.
        let stated = config::mark_secrets(wire::decode(request.into_inner().news));
        let failures = config::check(&stated, &self.env);
        Ok(check_response(&stated, failures))
    }

    async fn diff_config(
        &self,
        request: Request<pb::DiffRequest>,
    ) -> Result<Response<pb::DiffResponse>, Status> {
        let request = request.into_inner();
        let old = wire::decode(request.old_inputs.or(request.olds));
        Ok(diff_response(&config_changes(&old, &wire::decode(request.news)), true))
    }

    async fn configure(
        &self,
        request: Request<pb::ConfigureRequest>,
    ) -> Result<Response<pb::ConfigureResponse>, Status> {
        let instance = instance(&request)?;
        instance.begin();
        if let Some(engine) = &self.engine {
            instance.engine.connect(engine);
        }
        let arguments = request.into_inner().args;
        let stated = wire::decode_known(arguments.clone())?;
        let config = config::resolve(&stated, &self.env).map_err(|error| {
            Status::invalid_argument(format!("cannot configure the databricks provider: {error}"))
        })?;
        if let Some(warning) = config.warning() {
            use crate::context::Reporter as _;
            instance.engine.report(Severity::Warning, "", &warning).await;
        }
        let client = Client::new(config, self.env.clone(), Arc::clone(&self.clock));
        self.longest_request.0.fetch_max(client.longest_silence().as_secs(), Ordering::Relaxed);
        self.configurations.remember(&instance, arguments, client);
        Ok(Response::new(pb::ConfigureResponse {
            accept_secrets: true,
            supports_preview: true,
            accept_resources: true,
            accept_outputs: true,
            supports_autonaming_configuration: true,
        }))
    }

    async fn check(&self, request: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
        let resource = find(&request.get_ref().r#type, &request.get_ref().urn)?;
        let instance = instance(&request)?;
        let request = request.into_inner();
        instance.checks(&request.urn, request.olds.is_some_and(|olds| !olds.fields.is_empty()));
        let checked = resource.check(wire::decode(request.news));
        for warning in &checked.warnings {
            use crate::context::Reporter as _;
            instance.engine.report(Severity::Warning, &request.urn, warning).await;
        }
        let failures = resource::hide_secrets(&resource.definition(), checked.failures, &checked.inputs);
        Ok(check_response(&checked.inputs, failures))
    }

    async fn diff(&self, request: Request<pb::DiffRequest>) -> Result<Response<pb::DiffResponse>, Status> {
        let it = request.get_ref();
        let Operation { resource, client, ctx } = self.operation(&request, &it.urn, &it.r#type, 0.0)?;
        let refresh = instance(&request)?.is_refreshing(&it.urn);
        let request = request.into_inner();
        let (outputs, news) = (wire::decode(request.olds), wire::decode(request.news));
        let old_inputs = old_inputs(resource, request.old_inputs, &outputs);
        let diff = resource::Diff {
            id: &request.id,
            old_inputs: &old_inputs,
            outputs: &outputs,
            news: &news,
            ignore: &request.ignore_changes,
            refresh,
        };
        match self.under_way(resource.diff(&client, &ctx, diff)).await {
            Ok(Verdict { changes, delete_before_replace }) => {
                let mut response = diff_response(&changes, false);
                response.get_mut().delete_before_replace = delete_before_replace;
                let replacing = |row: &&Row| row.change.replaces() && !changes.contains_key(row.name);
                response.get_mut().stables = resource
                    .definition()
                    .inputs
                    .iter()
                    .filter(replacing)
                    .map(|row| row.name.to_owned())
                    .collect();
                Ok(response)
            }
            Err(error) => Err(status::failed("compare", resource.noun(), &error)),
        }
    }

    async fn create(
        &self,
        request: Request<pb::CreateRequest>,
    ) -> Result<Response<pb::CreateResponse>, Status> {
        let it = request.get_ref();
        let operation = self.operation(&request, &it.urn, &it.r#type, it.timeout)?;
        let watch = request.extensions().get::<Watch>().cloned();
        let instance = instance(&request)?;
        let request = request.into_inner();
        let resource = operation.resource;
        if request.preview {
            let inputs = wire::decode(request.properties);
            let Operation { client, ctx, .. } = &operation;
            self.under_way(resource.preview_create(client, ctx, &inputs))
                .await
                .map_err(|error| status::failed("create", resource.noun(), &error))?;
            let outputs = resource::preview(&resource.definition(), inputs);
            let properties = wire::encode(&outputs);
            return Ok(Response::new(pb::CreateResponse { properties, ..Default::default() }));
        }
        let inputs = wire::decode_known(request.properties)?;
        let refresh_before_update = instance.wants_refresh(resource, &inputs);
        // If the engine has checked the program's inputs against a state, and creates all the same, it replaces.
        let replaces = instance.has_state_of(&request.urn);
        match self.detached(operation, Work::Create { inputs, replaces }, watch).await? {
            Ok(Made { id, outputs, incomplete, .. }) if incomplete.is_empty() => {
                let properties = wire::encode(&outputs);
                Ok(Response::new(pb::CreateResponse { id, properties, refresh_before_update }))
            }
            Ok(Made { id, outputs, incomplete, .. }) => {
                Err(status::init_failed(id, &outputs, None, incomplete, refresh_before_update))
            }
            Err(error) => Err(status::failed("create", resource.noun(), &error)),
        }
    }

    async fn read(&self, request: Request<pb::ReadRequest>) -> Result<Response<pb::ReadResponse>, Status> {
        let it = request.get_ref();
        let Operation { resource, client, ctx } =
            self.operation(&request, &it.urn, &it.r#type, it.timeout)?;
        let instance = instance(&request)?;
        instance.reads(&it.urn);
        let request = request.into_inner();
        let as_it_came = instance.can_refresh_before_updates().then(|| pb::ReadResponse {
            id: request.id.clone(),
            properties: request.properties.clone(),
            inputs: request.inputs.clone(),
            refresh_before_update: true,
        });
        let known = if status::is_import(&request) {
            Known::Nothing
        } else {
            Known::State(State {
                inputs: wire::decode_known(request.inputs)?,
                outputs: wire::decode_known(request.properties)?,
            })
        };
        match self.under_way(resource.read(&client, &ctx, &request.id, known)).await {
            Ok(Some(Found { id, state: State { inputs, outputs } })) => Ok(Response::new(pb::ReadResponse {
                id,
                properties: wire::encode(&outputs),
                inputs: wire::encode(&inputs),
                refresh_before_update: instance.wants_refresh(resource, &inputs),
            })),
            // No id and no properties: the engine takes anything else for an existing resource.
            Ok(None) => Ok(Response::new(pb::ReadResponse::default())),
            Err(error @ resource::Error::Undecided(_)) => match as_it_came {
                // An update must not fail because of a refresh that nobody asked for.
                Some(state) if resource.wants_refresh(&wire::decode(state.inputs.clone())) => {
                    ctx.report(Severity::Warning, &error.to_string()).await;
                    Ok(Response::new(state))
                }
                _ => Err(status::failed("read", resource.noun(), &error)),
            },
            Err(error) => Err(status::failed("read", resource.noun(), &error)),
        }
    }

    type ListStream = Pin<Box<dyn Stream<Item = Result<pb::ListResponse, Status>> + Send>>;

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let it = request.get_ref();
        let limit = usize::try_from(it.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let Operation { resource, client, ctx } = self.operation(&request, "", &it.token, 0.0)?;
        let query = wire::decode(request.into_inner().query);
        if query.values().any(Value::has_unknown) {
            use pb::list_response::{Computed, Response as Reply};
            let unknown = pb::ListResponse { response: Some(Reply::Computed(Computed {})) };
            return Ok(Response::new(Box::pin(tokio_stream::once(Ok(unknown)))));
        }
        let all = self
            .under_way(resource.list(&client, &ctx, &query))
            .await
            .map_err(|error| status::failed("list", resource.noun(), &error))?;
        let replies = all.into_iter().take(limit).map(|(id, name)| {
            let result = pb::list_response::Result { id, name };
            Ok(pb::ListResponse { response: Some(pb::list_response::Response::Result(result)) })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(replies.collect::<Vec<_>>()))))
    }

    async fn update(
        &self,
        request: Request<pb::UpdateRequest>,
    ) -> Result<Response<pb::UpdateResponse>, Status> {
        let it = request.get_ref();
        let operation = self.operation(&request, &it.urn, &it.r#type, it.timeout)?;
        let watch = request.extensions().get::<Watch>().cloned();
        let instance = instance(&request)?;
        let request = request.into_inner();
        let resource = operation.resource;
        let outputs = wire::decode(request.olds);
        let inputs = old_inputs(resource, request.old_inputs, &outputs);
        let known = State { inputs, outputs };
        let (id, ignore) = (request.id, request.ignore_changes);
        if request.preview {
            let news = wire::decode(request.news);
            let Operation { client, ctx, .. } = &operation;
            let outputs = self
                .under_way(resource.preview_update(client, ctx, update(&id, &known, &news, &ignore)))
                .await
                .map_err(|error| status::failed("update", resource.noun(), &error))?;
            return Ok(Response::new(pb::UpdateResponse {
                properties: wire::encode(&outputs),
                ..Default::default()
            }));
        }
        let news = wire::decode_known(request.news)?;
        let refresh_before_update = instance.wants_refresh(resource, &news);
        match self.detached(operation, Work::Update { id, known, news, ignore }, watch).await? {
            Ok(Made { outputs, incomplete, .. }) if incomplete.is_empty() => {
                Ok(Response::new(pb::UpdateResponse {
                    properties: wire::encode(&outputs),
                    refresh_before_update,
                }))
            }
            Ok(Made { id, outputs, incomplete, .. }) => {
                Err(status::init_failed(id, &outputs, None, incomplete, refresh_before_update))
            }
            Err(error) => Err(status::failed("update", resource.noun(), &error)),
        }
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Result<Response<()>, Status> {
        let it = request.get_ref();
        let Operation { resource, client, ctx } =
            self.operation(&request, &it.urn, &it.r#type, it.timeout)?;
        let request = request.into_inner();
        let outputs = wire::decode(request.properties);
        match self.under_way(resource.delete(&client, &ctx, &request.id, &outputs)).await {
            Ok(()) => Ok(Response::new(())),
            Err(error) => Err(status::failed("delete", resource.noun(), &error)),
        }
    }

    async fn cancel(&self, request: Request<()>) -> Result<Response<()>, Status> {
        // Waits end and nothing new is sent; what is in flight finishes. The process ends when it is told to.
        let instance = instance(&request)?;
        self.configurations.forget(&instance);
        instance.cancellation().cancel();
        Ok(Response::new(()))
    }

    async fn get_mapping(
        &self,
        request: Request<pb::GetMappingRequest>,
    ) -> Result<Response<pb::GetMappingResponse>, Status> {
        let request = request.into_inner();
        let is_asked = mapping::has(&request.key) && ["", mapping::PROVIDER].contains(&&*request.provider);
        // An empty answer means that there is no mapping.
        Ok(Response::new(if is_asked {
            let data = mapping::terraform().to_string().into_bytes();
            pb::GetMappingResponse { provider: mapping::PROVIDER.to_owned(), data }
        } else {
            pb::GetMappingResponse::default()
        }))
    }

    async fn get_mappings(
        &self,
        request: Request<pb::GetMappingsRequest>,
    ) -> Result<Response<pb::GetMappingsResponse>, Status> {
        let providers = mapping::has(&request.get_ref().key).then(|| mapping::PROVIDER.to_owned());
        Ok(Response::new(pb::GetMappingsResponse { providers: providers.into_iter().collect() }))
    }

    async fn parameterize(
        &self,
        _: Request<pb::ParameterizeRequest>,
    ) -> Result<Response<pb::ParameterizeResponse>, Status> {
        Err(Status::unimplemented("the databricks package takes no parameters"))
    }

    async fn invoke(
        &self,
        request: Request<pb::InvokeRequest>,
    ) -> Result<Response<pb::InvokeResponse>, Status> {
        let it = request.get_ref();
        let Some(function) = function::ALL.iter().find(|function| function.token() == it.tok) else {
            return Err(unknown_function(&it.tok));
        };
        let name = function::name(function.token());
        let instance = instance(&request)?;
        let client = self.configurations.client(&instance)?;
        let ctx = self.context(&instance, "", name, 0.0);
        let request = request.into_inner();
        let arguments = wire::decode_known(request.args)?;
        match self.under_way(function.call(&client, &ctx, &arguments, request.preview)).await {
            Ok(answer) => Ok(Response::new(pb::InvokeResponse {
                r#return: wire::encode(&answer),
                ..Default::default()
            })),
            Err(error) => Err(status::failed("call", name, &error)),
        }
    }

    async fn call(&self, request: Request<pb::CallRequest>) -> Result<Response<pb::CallResponse>, Status> {
        Err(unknown_function(&request.get_ref().tok))
    }

    async fn construct(
        &self,
        request: Request<pb::ConstructRequest>,
    ) -> Result<Response<pb::ConstructResponse>, Status> {
        Err(Status::unimplemented(format!(
            "this databricks plugin has no component resource {}",
            request.get_ref().r#type
        )))
    }
}

fn unknown_function(token: &str) -> Status {
    Status::invalid_argument(format!(
        "this databricks plugin ({}) has no function {token}, which may be one of the official databricks plugin (1.x); both \
         work side by side: give the call the option `version` {OFFICIAL}",
        env!("CARGO_PKG_VERSION")
    ))
}

impl Provider {
    /// Does the work of a call; the process does not end meanwhile.
    async fn under_way<T>(&self, work: impl Future<Output = T>) -> T {
        let _under_way = self.in_flight.token();
        work.await
    }

    /// Creates or updates in a task of its own, so that nothing between the request and its answer is cut short when the
    /// call is dropped. Until the engine has the reply, what is created is [`Unclaimed`].
    async fn detached(
        &self,
        operation: Operation,
        work: Work,
        watch: Option<Watch>,
    ) -> Result<Result<Made, resource::Error>, Status> {
        let (mut answer, answered) = tokio::sync::oneshot::channel();
        let in_flight = self.in_flight.clone();
        let task = async move {
            let Operation { resource, client, ctx } = operation;
            let started = date(ctx.clock.now_ms());
            // Once nobody waits for the answer, waits end: a request that was sent finishes, and no other is sent.
            let ctx = Context { cancel: ctx.cancel.child_token(), ..ctx };
            let outcome = {
                let work = status::guarded(work.run(resource, &client, &ctx));
                tokio::pin!(work);
                tokio::select! {
                    outcome = &mut work => outcome,
                    () = answer.closed() => {
                        ctx.cancel.cancel();
                        work.await
                    }
                }
            };
            let outcome = outcome.map(|outcome| {
                let minted = outcome.as_ref().ok().and_then(|made| made.minted.clone());
                let unclaimed = minted.map(|(id, outputs)| {
                    Unclaimed::new(Undo { resource, client, ctx, id, outputs, in_flight })
                });
                (outcome, unclaimed)
            });
            let noun = resource.noun();
            // Nobody knows how far the work had come.
            let outcome = outcome.map_err(|bug| {
                Status::internal(format!(
                    "{}. The {noun} may have been created all the same: look in the workspace for one that was \
                     created after {started} and that nobody uses, and delete it",
                    bug.message()
                ))
            });
            // Where nobody waits any more, the answer is dropped here, and with it the claim, which deletes what was
            // created. What a create that failed half-way may have left can then only be logged.
            let error = match answer.send(outcome) {
                Err(Ok((Err(error), _))) => error.to_string(),
                Err(Err(bug)) => bug.message().to_owned(),
                Ok(()) | Err(Ok((Ok(_), _))) => return,
            };
            tracing::error!(error, "nobody waited for a {noun} that could not be created");
        };
        self.in_flight.spawn(task.in_current_span());
        let answered = answered.await;
        let (outcome, unclaimed) =
            answered.map_err(|_| Status::internal("the work ended without an answer"))??;
        if let (Some(watch), Some(unclaimed)) = (watch, unclaimed) {
            watch.over(unclaimed);
        }
        Ok(outcome)
    }
}

/// What may create something.
enum Work {
    Create { inputs: Map, replaces: bool },
    Update { id: String, known: State, news: Map, ignore: Vec<String> },
}

/// What has come of it.
struct Made {
    id: String,
    outputs: Map,
    incomplete: Vec<String>,
    /// Id and outputs of what is to be deleted again unless the engine learns of it.
    minted: Option<(String, Map)>,
}

impl Work {
    async fn run(
        self,
        resource: &dyn Resource,
        client: &Client,
        ctx: &Context,
    ) -> Result<Made, resource::Error> {
        match self {
            Work::Create { inputs, replaces } => {
                let Created { id, outputs, incomplete } =
                    resource.create(client, ctx, inputs, replaces).await?;
                let minted = Some((id.clone(), outputs.clone()));
                Ok(Made { id, outputs, incomplete, minted })
            }
            Work::Update { id, known, news, ignore } => {
                let Updated { outputs, incomplete, minted } =
                    resource.update(client, ctx, update(&id, &known, &news, &ignore)).await?;
                Ok(Made { id, outputs, incomplete, minted })
            }
        }
    }
}

/// What an update goes by.
fn update<'a>(id: &'a str, known: &'a State, news: &'a Map, ignore: &'a [String]) -> resource::Diff<'a> {
    let State { inputs: old_inputs, outputs } = known;
    resource::Diff { id, old_inputs, outputs, news, ignore, refresh: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::SystemClock;
    use crate::property::Value;
    use crate::server::engine::EngineLog;

    /// A resource with a bug in its create; nothing else of it is called.
    struct Faulty;

    #[tonic::async_trait]
    impl Resource for Faulty {
        fn type_token(&self) -> &'static str {
            "databricks:index/faulty:Faulty"
        }

        fn noun(&self) -> &'static str {
            "token"
        }

        fn definition(&self) -> resource::Definition {
            unreachable!()
        }

        fn check(&self, _: Map) -> resource::Checked {
            unreachable!()
        }

        async fn diff(
            &self,
            _: &Client,
            _: &Context,
            _: resource::Diff<'_>,
        ) -> Result<Verdict, resource::Error> {
            unreachable!()
        }

        async fn preview_create(&self, _: &Client, _: &Context, _: &Map) -> Result<(), resource::Error> {
            unreachable!()
        }

        async fn create(
            &self,
            _: &Client,
            _: &Context,
            inputs: Map,
            _: bool,
        ) -> Result<Created, resource::Error> {
            panic!("{inputs:?}")
        }

        async fn preview_update(
            &self,
            _: &Client,
            _: &Context,
            _: resource::Diff<'_>,
        ) -> Result<Map, resource::Error> {
            unreachable!()
        }

        async fn read(
            &self,
            _: &Client,
            _: &Context,
            _: &str,
            _: Known,
        ) -> Result<Option<Found>, resource::Error> {
            unreachable!()
        }

        async fn update(
            &self,
            _: &Client,
            _: &Context,
            _: resource::Diff<'_>,
        ) -> Result<Updated, resource::Error> {
            unreachable!()
        }

        async fn delete(&self, _: &Client, _: &Context, _: &str, _: &Map) -> Result<(), resource::Error> {
            unreachable!()
        }

        async fn list(
            &self,
            _: &Client,
            _: &Context,
            _: &Map,
        ) -> Result<Vec<(String, String)>, resource::Error> {
            unreachable!()
        }

        fn wants_refresh(&self, _: &Map) -> bool {
            unreachable!()
        }
    }

    /// Nobody knows whether the request was sent before the bug, so the error names what may have been left behind.
    #[tokio::test]
    async fn a_bug_in_a_create_names_what_may_exist() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let provider = Provider::new(Env::default(), Arc::clone(&clock), None);
        let config = config::resolve(&Map::new(), &Env::default()).unwrap();
        let ctx = Context {
            urn: String::new(),
            resource: "token",
            clock: Arc::clone(&clock),
            reporter: Arc::new(EngineLog::default()),
            cancel: Default::default(),
            deadline: None,
        };
        let client = Client::new(config, Env::default(), clock);
        let inputs = Map::from([("comment".into(), Value::secret("hidden".into()))]);
        let operation = Operation { resource: &Faulty, client, ctx };
        let work = Work::Create { inputs, replaces: false };
        let Err(status) = provider.detached(operation, work, None).await else { panic!("it has a bug") };
        assert_eq!(status.code(), tonic::Code::Internal);
        let text = status.message();
        assert!(text.contains("please report it") && text.contains("may have been created"), "{text}");
        assert!(text.contains(" UTC and that nobody uses") && !text.contains("hidden"), "{text}");
    }
}
