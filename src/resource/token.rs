//! `databricks:index/token:Token`, a personal access token of the user that the provider signs in as.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value as Json, json};

use super::{Checked, Created, Definition, Diff, Error, Known, Resource, State};
use crate::api::tokens::{self, CreateError, NewToken, TokenChange, TokenInfo, date};
use crate::client::{self, Client};
use crate::context::{Context, Severity};
use crate::property::{
    Change, Changes, Failure, Input, Kind, Map, Mismatch, Property, Record, Value, changes, check_keys,
    cleaned, normalized,
};
use crate::record;

/// The resource.
pub(super) struct Token;

record! {
    /// What a program states of a token.
    struct TokenInputs {
        /// Comment that is shown beside the token in the user's settings. A changed comment replaces the token, unless
        /// `rotateBeforeSeconds` or `rotateWhenChanged` is set: then rotation is stated there, and the comment is
        /// changed in place.
        comment: Input<String> = "comment", Replace;
        /// Lifetime of the token in seconds. Without one the workspace decides: two years, or the longest that it
        /// allows. A changed lifetime replaces the token.
        lifetime_seconds: Input<i64> = "lifetimeSeconds", Replace;
        /// API scopes that the token is limited to, such as `sql`. Changed in place.
        scopes: Input<Vec<String>> = "scopes", Update;
        /// Whether Databricks narrows the scopes of the token to those that it sees in use. A change replaces the
        /// token.
        autoscope_enabled: Input<bool> = "autoscopeEnabled", Replace;
        /// Seconds before its expiry from which on an ordinary `pulumi up` replaces the token. Must be less than
        /// `lifetimeSeconds`. A change of this setting alone changes nothing.
        rotate_before_seconds: Input<i64> = "rotateBeforeSeconds";
        /// Values of your choice, a date for example. The token is replaced when one of them changes; adding or
        /// removing the whole map replaces nothing.
        rotate_when_changed: Input<BTreeMap<String, String>> = "rotateWhenChanged";
        /// Workspace that the token belongs to, where the provider's host serves several.
        provider_config: Input<TokenProviderConfig> = "providerConfig";
        /// Accepted for compatibility and never sent: Databricks sets it.
        creation_time: Input<i64> = "creationTime";
        /// Accepted for compatibility and never sent: Databricks sets it.
        expiry_time: Input<i64> = "expiryTime";
        /// Accepted for compatibility and never sent: Databricks sets it.
        token_id: Input<String> = "tokenId";
    }
}

record! {
    /// What Databricks says of a token. Everything else among the outputs is as the program states it.
    struct TokenOutputs {
        /// When the token was created, in milliseconds since 1970.
        creation_time: i64 = "creationTime";
        /// When the token expires, in milliseconds since 1970; -1 is never.
        expiry_time: i64 = "expiryTime";
        /// Workspace that the token belongs to.
        provider_config: TokenProviderConfig = "providerConfig";
        /// Id of the token.
        token_id: String = "tokenId";
        /// The token itself. Databricks gives it only once, so it is empty after an import.
        token_value: SecretString = "tokenValue";
        /// How far Databricks has got with narrowing the scopes, such as `AUTOSCOPE_STATE_RUNNING`.
        autoscope_state: Option<String> = "autoscopeState";
        /// Scopes that Databricks has seen in use.
        inferred_scopes: Option<Vec<String>> = "inferredScopes";
        /// Scopes that Databricks has added for use before it began to narrow them.
        backfill_scopes: Option<Vec<String>> = "backfillScopes";
    }
}

record! {
    /// The workspace of a token.
    struct TokenProviderConfig {
        /// Id of the workspace.
        workspace_id: Input<String> = "workspaceId";
    }
}

/// Path of the workspace among the changes.
const WORKSPACE: &str = "providerConfig.workspaceId";

const PROVIDER_CONFIG: &str = "databricks:index/TokenProviderConfig:TokenProviderConfig";

impl Property for TokenProviderConfig {
    fn schema() -> Json {
        json!({ "$ref": format!("#/types/{PROVIDER_CONFIG}") })
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        match value.plain() {
            Value::Object(map) => {
                <Self as Record>::decode(map).map_err(|failures| Mismatch::Wrong(sentence(&failures)))
            }
            Value::Unknown => Err(Mismatch::Unknown),
            value => Err(Mismatch::Wrong(format!("expected an object, got {}", value.kind()))),
        }
    }

    fn encode(&self) -> Value {
        Value::Object(Record::encode(self))
    }
}

fn sentence(failures: &[Failure]) -> String {
    failures
        .iter()
        .map(|failure| format!("{}: {}", failure.property, failure.reason))
        .collect::<Vec<_>>()
        .join("; ")
}

/// The longest lifetime that a workspace allows unless it is set up otherwise: 730 days, in seconds.
const USUAL_LONGEST_LIFETIME: i64 = 730 * 24 * 60 * 60;

#[async_trait]
impl Resource for Token {
    fn token(&self) -> &'static str {
        "databricks:index/token:Token"
    }

    fn word(&self) -> &'static str {
        "token"
    }

    fn definition(&self) -> Definition {
        Definition {
            doc: include_str!("token.md"),
            inputs: TokenInputs::ROWS,
            computed: TokenOutputs::ROWS,
            types: &[(PROVIDER_CONFIG, "The workspace of a token.", TokenProviderConfig::ROWS)],
        }
    }

    fn check(&self, inputs: Map) -> Checked {
        let mut inputs = cleaned(inputs);
        let mut failures = check_keys(&inputs, TokenInputs::ROWS, "a databricks Token");
        if let Some(config) = inputs.get("providerConfig")
            && let Value::Object(map) = config.plain()
        {
            let secret = matches!(config, Value::Secret(_));
            failures.extend(check_keys(map, TokenProviderConfig::ROWS, "providerConfig").into_iter().map(
                |failure| {
                    // A secret map's keys are as secret as its values.
                    let reason = if secret { "it knows only workspaceId".to_owned() } else { failure.reason };
                    Failure::new("providerConfig", reason)
                },
            ));
        }
        let mut warnings = Vec::new();
        match TokenInputs::decode(&inputs) {
            Ok(typed) => {
                failures.extend(typed.validate(&mut warnings));
                coerce(&mut inputs, typed.encode());
            }
            Err(wrong) => failures.extend(wrong),
        }
        Checked { inputs, failures, warnings }
    }

    async fn diff(&self, client: &Client, ctx: &Context, request: Diff<'_>) -> Result<Changes, Error> {
        let news = TokenInputs::decode(request.news)?;
        let outputs = normalized(request.outputs);
        let mut changes = changes::<TokenInputs>(request.old_inputs, request.news);

        if news.states_rotation()
            && let Some((_, change)) = changes.get_mut("comment")
        {
            *change = Change::Update;
        }
        if is_imported(&outputs) && lifetime_of(&outputs) == news.lifetime_seconds.known().copied() {
            changes.remove("lifetimeSeconds");
        }
        changes.extend(rotated(request.old_inputs, request.news));
        changes.extend(moved(client, ctx, &news, &outputs).await?);
        changes.extend(overstated(request.old_inputs, request.news, &outputs));
        let ignored = |path: &str| request.ignore.iter().any(|ignored| ignored == path || ignored == "*");
        if let Some(due) = Due::find(&news, &outputs, ctx.clock.now_ms())
            && !request.refresh
            && !ignored("expiryTime")
        {
            ctx.report(Severity::Info, &due.reason).await;
            changes.insert("expiryTime".to_owned(), (Kind::Changed, Change::Replace));
        }
        changes.retain(|path, _| !ignored(path) && !ignored(path.split('.').next().unwrap_or_default()));
        // The program states nothing of it, so nobody would know why.
        if let Some(old) = stated_workspace(&outputs)
            && changes.contains_key(WORKSPACE)
            && news.workspace_id().is_none()
            && !request.refresh
        {
            let reason = format!(
                "the token belongs to workspace {old}, which the provider no longer uses, and is replaced"
            );
            ctx.report(Severity::Info, &reason).await;
        }
        Ok(changes)
    }

    async fn create(&self, client: &Client, ctx: &Context, inputs: Map) -> Result<Created, Error> {
        let typed = TokenInputs::decode(&inputs)?;
        let client = client.for_workspace(ctx, typed.workspace_id()).await?;
        let new = NewToken {
            comment: typed.comment.known().filter(|comment| !comment.is_empty()).cloned(),
            lifetime_seconds: typed.lifetime_seconds.known().copied().filter(|seconds| *seconds > 0),
            scopes: typed.scopes.known().cloned(),
            autoscope_enabled: typed.autoscope_enabled.known().copied(),
            comment_is_secret: inputs.get("comment").is_some_and(Value::has_secret),
        };
        let created = tokens::create(&client, ctx, &new).await.map_err(|error| match error {
            CreateError::NotCreated(error) => Error::Databricks(error),
            CreateError::MayExist(report) => Error::Other(report),
        })?;
        // From here on the token exists: whatever goes wrong, its id and value go back to the engine.
        let mut incomplete = Vec::new();
        let mut info = created.info;
        if info.creation_time.is_none() || info.expiry_time.is_none() {
            match tokens::list(&client, ctx).await {
                Ok(all) => match all.iter().find(|token| token.token_id == info.token_id) {
                    Some(found) => info = found.clone(),
                    None => incomplete
                        .push("the new token is not listed yet, so its expiry is not known".to_owned()),
                },
                Err(error) => {
                    incomplete.push(format!("the expiry of the new token could not be read: {error}"))
                }
            }
        }
        let workspace_id = typed.workspace_id().map(str::to_owned).or(created.workspace_id);
        let id = info.token_id.clone();
        let outputs = outputs(inputs, info, created.value, workspace_id);
        Ok(Created { id, outputs, incomplete })
    }

    async fn read(
        &self,
        client: &Client,
        ctx: &Context,
        id: &str,
        known: Known,
    ) -> Result<Option<State>, Error> {
        let (inputs, outputs_before, imported) = match known {
            Known::Nothing => (Map::new(), Map::new(), true),
            Known::State(state) => (cleaned(state.inputs), cleaned(state.outputs), false),
        };
        let workspace_id = stated_workspace(&outputs_before).or_else(|| stated_workspace(&inputs));
        let client = at_home(client, ctx, id, workspace_id.as_deref()).await?;
        let Some(info) = find(&client, ctx, id).await? else { return Ok(None) };

        if imported {
            ctx.report(
                Severity::Warning,
                "Databricks gives the value of a token only when it is created, so tokenValue is empty after an \
                 import. Replace the token to get one: `pulumi up --replace <urn>`",
            )
            .await;
        }
        let inputs = if imported { imported_inputs(&info) } else { refreshed_inputs(inputs, &info) };
        let workspace_id = known_workspace(&client, ctx, workspace_id).await?;
        let value = outputs_before.get("tokenValue").and_then(|value| SecretString::decode(value).ok());
        // What is not stated is as the workspace has it: `Token.get` states nothing, and its outputs are its inputs. What
        // a state has no value of gets none in a refresh, or a comment that somebody added would reach whatever depends
        // on the token.
        let refreshed = inputs != outputs_before;
        let mut live = imported_inputs(&info);
        live.retain(|name, _| !refreshed || outputs_before.contains_key(name));
        let mut stated = outputs_before;
        stated.extend(live);
        stated.extend(inputs.clone());
        let outputs = outputs(stated, info, value.unwrap_or_default(), workspace_id);
        Ok(Some(State { inputs, outputs }))
    }

    async fn update(
        &self,
        client: &Client,
        ctx: &Context,
        id: &str,
        known: State,
        news: Map,
    ) -> Result<Map, Error> {
        let typed = TokenInputs::decode(&news)?;
        let before = cleaned(known.outputs);
        let workspace_id = stated_workspace(&before).or_else(|| stated_workspace(&news));
        let client = at_home(client, ctx, id, workspace_id.as_deref()).await?;
        let changed = changes::<TokenInputs>(&known.inputs, &news);
        let comment_is_secret = news.get("comment").is_some_and(Value::has_secret);
        let mut change = TokenChange { comment_is_secret, ..TokenChange::default() };
        if changed.contains_key("comment") {
            change.comment = Some(typed.comment.known().cloned().unwrap_or_default());
        }
        if changed.contains_key("scopes") {
            change.scopes = Some(typed.scopes.known().cloned().unwrap_or_default());
        }
        if change.comment.is_some() || change.scopes.is_some() {
            match tokens::update(&client, ctx, id, &change).await {
                // What does not exist may also be a scope.
                Err(error) if tokens::is_gone(&error) && find(&client, ctx, id).await?.is_none() => {
                    return Err(gone(id));
                }
                updated => updated?,
            }
        }
        let info = find(&client, ctx, id).await?.ok_or_else(|| gone(id))?;
        let workspace_id = known_workspace(&client, ctx, workspace_id).await?;
        let value =
            before.get("tokenValue").and_then(|value| SecretString::decode(value).ok()).unwrap_or_default();
        Ok(outputs(news, info, value, workspace_id))
    }

    async fn delete(&self, client: &Client, ctx: &Context, id: &str, outputs: &Map) -> Result<(), Error> {
        let client = at_home(client, ctx, id, stated_workspace(&normalized(outputs)).as_deref()).await?;
        Ok(tokens::delete(&client, ctx, id).await?)
    }

    async fn list(&self, client: &Client, ctx: &Context) -> Result<Vec<(String, String)>, Error> {
        let all = tokens::list(client, ctx).await?;
        Ok(all
            .iter()
            .map(|token| {
                let name = token.comment.clone().filter(|comment| !comment.is_empty());
                (token.token_id.clone(), name.unwrap_or_else(|| token.token_id.clone()))
            })
            .collect())
    }
}

impl TokenInputs {
    fn workspace_id(&self) -> Option<&str> {
        Some(self.provider_config.known()?.workspace_id.known()?.as_str())
    }

    /// Whether the program says when the token rotates, so that its comment need not.
    fn states_rotation(&self) -> bool {
        self.rotate_before_seconds.is_stated() || self.rotate_when_changed.is_stated()
    }

    fn validate(&self, warnings: &mut Vec<String>) -> Vec<Failure> {
        let mut failures = Vec::new();
        let mut refuse = |property: &str, reason: String| failures.push(Failure::new(property, reason));
        let lifetime = self.lifetime_seconds.known().copied().unwrap_or_default();
        if lifetime < 0 {
            refuse(
                "lifetimeSeconds",
                "must be a positive number of seconds; leave it out for the workspace's default".into(),
            );
        } else if lifetime > USUAL_LONGEST_LIFETIME {
            warnings.push(format!(
                "lifetimeSeconds is over 730 days ({USUAL_LONGEST_LIFETIME} s), which most workspaces refuse"
            ));
        }
        if let Some(&before) = self.rotate_before_seconds.known() {
            if before <= 0 {
                refuse("rotateBeforeSeconds", "must be a positive number of seconds".into());
            } else if lifetime > 0 && before >= lifetime {
                refuse(
                    "rotateBeforeSeconds",
                    "must be less than lifetimeSeconds: the token would be replaced by every `pulumi up`"
                        .into(),
                );
            }
        }
        if let Some(scopes) = self.scopes.known() {
            if scopes.is_empty() {
                refuse("scopes", "must not be empty; leave it out for a token that is not limited".into());
            }
            for (index, scope) in scopes.iter().enumerate() {
                if scope.trim().is_empty() {
                    refuse("scopes", format!("scope {index} is empty"));
                } else if scopes[..index].contains(scope) {
                    refuse("scopes", format!("scope {index} is listed twice"));
                }
            }
        }
        if let Some(config) = self.provider_config.known()
            && config.workspace_id.known().is_some_and(String::is_empty)
        {
            refuse("providerConfig", "workspaceId must not be an empty string; leave it out instead".into());
        }
        failures
    }
}

/// Gives the inputs their proper types, so that `"60"` and `60` are one state. Secret marks stay.
fn coerce(inputs: &mut Map, typed: Map) {
    for (name, value) in typed {
        let Some(stated) = inputs.get_mut(&name).filter(|stated| !stated.has_unknown()) else { continue };
        // A nested secret mark would be lost, and objects need no coercion.
        if matches!(value, Value::Number(_) | Value::Bool(_) | Value::String(_)) {
            *stated = if stated.has_secret() { Value::secret(value) } else { value };
        }
    }
}

/// The state's outputs: what is stated, with what Databricks says of the token laid over it.
fn outputs(stated: Map, info: TokenInfo, value: SecretString, workspace_id: Option<String>) -> Map {
    let typed = TokenOutputs {
        creation_time: info.creation_time.unwrap_or_default(),
        expiry_time: info.expiry_time.unwrap_or_default(),
        provider_config: TokenProviderConfig {
            workspace_id: workspace_id.map_or(Input::Absent, Input::Known),
        },
        token_id: info.token_id.clone(),
        token_value: value,
        autoscope_state: info.autoscope_state,
        inferred_scopes: info.inferred_scopes,
        backfill_scopes: info.backfill_scopes,
    };
    let mut outputs = cleaned(stated);
    // The official provider keeps the id among the outputs too.
    outputs.insert("id".to_owned(), Value::String(info.token_id));
    for (name, value) in typed.encode() {
        // What is stated as a secret stays one.
        let secret = outputs.get(&name).is_some_and(Value::has_secret);
        outputs.insert(name, if secret { Value::secret(value) } else { value });
    }
    outputs
}

/// The live token, unless it is gone or has expired.
async fn find(client: &Client, ctx: &Context, id: &str) -> Result<Option<TokenInfo>, Error> {
    let all = tokens::list(client, ctx).await?;
    Ok(all.iter().find(|token| token.token_id == id).cloned())
}

fn gone(id: &str) -> Error {
    Error::Other(format!(
        "the token {id} no longer exists in the workspace: it was revoked or has expired. Run `pulumi refresh`, then \
         `pulumi up` to create a new one"
    ))
}

/// Inputs of an imported token: what a program would state to get the same.
fn imported_inputs(info: &TokenInfo) -> Map {
    let mut inputs = Map::new();
    if let Some(comment) = info.comment.as_ref().filter(|comment| !comment.is_empty()) {
        inputs.insert("comment".to_owned(), comment.encode());
    }
    let own_choice = matches!(
        info.autoscope_state.as_deref(),
        None | Some("AUTOSCOPE_STATE_USER_SELECTED" | "AUTOSCOPE_STATE_DISABLED")
    );
    if let Some(scopes) = info.scopes.as_ref().filter(|scopes| own_choice && !scopes.is_empty()) {
        inputs.insert("scopes".to_owned(), scopes.encode());
    }
    inputs
}

/// Inputs of the state, those that are stated brought up to date. Others stay out, or the next preview would show
/// them as removed. What Databricks sets by itself stays as the program states it, for the same reason.
fn refreshed_inputs(mut inputs: Map, info: &TokenInfo) -> Map {
    let live = [
        ("comment", info.comment.as_ref().filter(|comment| !comment.is_empty()).map(Property::encode)),
        ("scopes", info.scopes.as_ref().filter(|scopes| !scopes.is_empty()).map(Property::encode)),
    ];
    for (name, value) in live {
        if let (Some(stated), Some(value)) = (inputs.get_mut(name).filter(|stated| !stated.is_null()), value)
        {
            let same_list = name == "scopes" && sorted(stated) == sorted(&value);
            if !same_list {
                *stated = if stated.has_secret() { Value::secret(value) } else { value };
            }
        }
    }
    inputs
}

/// Scopes are a set; the workspace may list them in another order.
fn sorted(scopes: &Value) -> Option<Vec<String>> {
    let mut scopes = Vec::<String>::decode(scopes).ok()?;
    scopes.sort();
    Some(scopes)
}

/// The workspace in a state's `providerConfig`.
fn stated_workspace(outputs: &Map) -> Option<String> {
    let Value::Object(config) = outputs.get("providerConfig")?.plain() else { return None };
    String::decode(config.get("workspaceId")?).ok().filter(|id| !id.is_empty())
}

/// The client for the workspace that the state of a token names.
async fn at_home(client: &Client, ctx: &Context, id: &str, workspace: Option<&str>) -> Result<Client, Error> {
    client.for_workspace(ctx, workspace).await.map_err(|error| match (error, workspace) {
        (client::Error::Workspace(reason), Some(workspace)) => Error::Other(format!(
            "{reason}. The token {id} belongs to workspace {workspace}: run this with that workspace's databricks:host, \
             or revoke the token there and remove it from the state with `pulumi state delete`"
        )),
        (error, _) => error.into(),
    })
}

/// The workspace of a token whose state may name none.
async fn known_workspace(
    client: &Client,
    ctx: &Context,
    stated: Option<String>,
) -> Result<Option<String>, client::Error> {
    match stated {
        Some(id) => Ok(Some(id)),
        None => Ok(client.workspace_id(ctx).await?.map(str::to_owned)),
    }
}

fn number(outputs: &Map, name: &str) -> Option<i64> {
    i64::decode(outputs.get(name)?).ok()
}

/// A token whose value is not known came from an import.
fn is_imported(outputs: &Map) -> bool {
    outputs.get("tokenValue").is_none_or(|value| *value == Value::String(String::new()))
}

/// The lifetime that a token was created with, in whole seconds.
fn lifetime_of(outputs: &Map) -> Option<i64> {
    let (created, expires) = (number(outputs, "creationTime")?, number(outputs, "expiryTime")?);
    (expires > created).then(|| (expires - created + 500) / 1000)
}

/// `rotateWhenChanged`: only a change from one set of values to another rotates.
fn rotated(old: &Map, news: &Map) -> Changes {
    // As text, as all values are: a program in another language may state 1 as "1".
    let stated = |inputs: &Map| match normalized(inputs).get("rotateWhenChanged")? {
        Value::Object(values) if values.is_empty() => None,
        values => Some(BTreeMap::<String, String>::decode(values)),
    };
    match (stated(old), stated(news)) {
        (Some(old), Some(new)) if new.is_err() || old != new => {
            Changes::from([("rotateWhenChanged".to_owned(), (Kind::Changed, Change::Replace))])
        }
        _ => Changes::new(),
    }
}

/// The token belongs to a workspace; if the program or the provider now means another, it is replaced.
async fn moved(client: &Client, ctx: &Context, news: &TokenInputs, outputs: &Map) -> Result<Changes, Error> {
    let Some(old) = stated_workspace(outputs) else { return Ok(Changes::new()) };
    let stated = match &news.provider_config {
        Input::Known(config) => config.workspace_id.clone(),
        Input::Unknown => Input::Unknown,
        Input::Absent => Input::Absent,
    };
    let new = match stated {
        Input::Known(id) => Some(id),
        Input::Unknown => None,
        Input::Absent => match client.workspace_id(ctx).await {
            Ok(id) => id.map(str::to_owned),
            Err(error @ client::Error::Workspace(_)) => return Err(error.into()),
            // A host that does not answer now says nothing of the workspace; the operation that needs it will complain.
            Err(_) => None,
        },
    };
    Ok(match new {
        Some(new) if new != old => Changes::from([(WORKSPACE.to_owned(), (Kind::Changed, Change::Replace))]),
        _ => Changes::new(),
    })
}

/// Properties that Databricks sets but a program states all the same: a new value other than the real one is an
/// update that sends nothing. It is shown once, not by every run after that.
fn overstated(old: &Map, news: &Map, outputs: &Map) -> Changes {
    let (old, news) = (normalized(old), normalized(news));
    ["creationTime", "expiryTime", "tokenId"]
        .into_iter()
        .filter(|name| {
            news.get(*name).is_some_and(|stated| {
                [old.get(*name), outputs.get(*name)].iter().all(|known| *known != Some(stated))
            })
        })
        .map(|name| (name.to_owned(), (Kind::Changed, Change::Update)))
        .collect()
}

/// A token that has expired, or is about to.
struct Due {
    reason: String,
}

impl Due {
    fn find(news: &TokenInputs, outputs: &Map, now: i64) -> Option<Due> {
        let expiry = number(outputs, "expiryTime").filter(|expiry| *expiry > 0)?;
        if now >= expiry {
            return Some(Due { reason: format!("the token expired on {} and is replaced", date(expiry)) });
        }
        let before = *news.rotate_before_seconds.known()?;
        // A workspace may grant less than was asked for; a window as long as the lifetime would rotate on every run.
        let window = match lifetime_of(outputs) {
            Some(lifetime) if before >= lifetime => lifetime / 2,
            _ => before,
        };
        (expiry - now <= window.saturating_mul(1000)).then(|| Due {
            reason: format!(
                "the token expires on {}, in less than rotateBeforeSeconds ({before} s), and is replaced",
                date(expiry)
            ),
        })
    }
}
