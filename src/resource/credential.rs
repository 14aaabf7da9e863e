//! What all credentials that Databricks gives only once have in common.
//!
//! A [`Credential`] states its rows, its typed operations and its rotation. Everything else about the operations of a
//! [`Resource`] is said here, once for all of them: how inputs are read and echoed, what a refresh and an import take
//! over, when a credential is due, which workspace it belongs to, and what becomes of a create whose answer is lost.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;

use super::lost::{self, Candidate, Trace};
use super::placement::{self, PROVIDER_CONFIG, WORKSPACE};
use super::presence::{Gone, Presence};
use super::rotation::{self, Life};
use super::{Checked, Created, Definition, Diff, Error, Found, Known, ObjectType, Resource, State, Verdict};
use crate::api::{Minted, leaves_open, says_gone};
use crate::client::{self, Client};
use crate::context::{Context, Severity};
use crate::property::{
    Change, Changes, Failure, Input, Kind, Map, Property, Record, Row, Value, changes, check_keys, cleaned,
    same, stated,
};

/// A credential that Databricks gives only once.
#[async_trait]
pub(super) trait Credential: Send + Sync + 'static {
    /// What a program states.
    type Inputs: Record + Send + Sync;
    /// What Databricks says of a live one.
    type Live: Send + Sync;
    /// What it belongs to besides a workspace.
    type Owner: Send + Sync;
    /// What is known before a create, by which its result can be told from what was there.
    type Before: Send + Sync;
    /// What `pulumi do … list` takes.
    type Query: Record + Send + Sync;

    /// Type token.
    const TYPE_TOKEN: &'static str;
    /// In plain words.
    const NOUN: &'static str;
    /// With an article, for what a program states: "a databricks Token".
    const TITLE: &'static str;
    /// Description; Markdown.
    const DOC: &'static str;
    /// Outputs that Databricks sets.
    const COMPUTED: &'static [Row];
    /// Object types.
    const TYPES: &'static [ObjectType];
    /// The output that is the credential itself.
    const VALUE: &'static str;
    /// Inputs that are accepted for compatibility and never sent, since Databricks sets them.
    const NEVER_SENT: &'static [&'static str];
    /// Whether only so many may exist at a time: previews look whether there is room then.
    const LIMITED: bool = false;
    /// Whether the official plugin keeps the id among the outputs.
    const ID_IS_OUTPUT: bool = true;

    /// What inputs say of rotation and of the workspace.
    fn terms(inputs: &Self::Inputs) -> Terms<'_>;

    /// Looks at inputs that have the right types.
    fn validate(inputs: &Self::Inputs, findings: &mut Findings);

    /// What the credential of this state belongs to; the first of the maps that says so counts.
    fn owner(state: &[&Map]) -> Result<Self::Owner, Error>;

    /// The client for a credential of this owner and workspace.
    async fn home(
        client: &Client,
        ctx: &Context,
        _: &Self::Owner,
        workspace: Option<&str>,
    ) -> Result<Home, Error> {
        Ok(Home { client: client.for_workspace(ctx, workspace).await?, in_workspace: true })
    }

    /// Looks whether one more may be created. A preview asks too, where the owner is known.
    async fn prepare(home: &Home, ctx: &Context, owner: &Self::Owner) -> Result<Self::Before, Error>;

    /// Creates one; the request that does is never sent again unless it certainly was not carried out.
    async fn create(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        inputs: &Self::Inputs,
    ) -> Result<New<Self::Live>, Error>;

    /// Live ones that look like what the inputs ask for, for when the answer of a create is lost.
    async fn candidates(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        inputs: &Self::Inputs,
        before: &Self::Before,
    ) -> Result<Vec<Candidate>, Error>;

    /// How people find what a lost create may have left.
    fn trace(home: &Home, owner: &Self::Owner, inputs: &Self::Inputs) -> Trace;

    /// Looks for a credential, which is gone only if that is certain, or if nobody can tell.
    async fn find(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        id: &str,
    ) -> Result<Presence<Self::Live>, Error>;

    /// What it means that Databricks said of this id, to whoever signs in, that it does not exist.
    async fn denied(_: &Home, _: &Context, _: &Self::Owner, _: &str) -> Result<Presence<Self::Live>, Error> {
        Ok(Presence::Gone(Gone::proved("Databricks says that it does not exist")))
    }

    /// Sends those changes that can be made in place. `seen` is what was found where the request was refused before.
    async fn update(
        home: &Home,
        ctx: &Context,
        id: &str,
        seen: Option<&Self::Live>,
        changed: &Changes,
        inputs: &Self::Inputs,
    ) -> Result<(), Error>;

    /// Revokes one. That it is gone already may be an error here. `seen` is what was found where the request was refused
    /// before.
    async fn revoke(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        id: &str,
        seen: Option<&Self::Live>,
    ) -> Result<(), Error>;

    /// Whether a live one belongs to somebody else than who signs in, so that another API has to be asked.
    fn is_anothers(_: &Self::Live) -> bool {
        false
    }

    /// Lists live ones: id and name of each.
    async fn list(
        client: &Client,
        ctx: &Context,
        query: &Self::Query,
    ) -> Result<Vec<(String, String)>, Error>;

    /// Computed outputs; the credential itself and `providerConfig` are not among them.
    fn computed(live: &Self::Live, stated: &Map) -> Map;

    /// Inputs as Databricks has them, as far as it tells.
    fn observed(live: &Self::Live) -> Map;

    /// Of these, what a program would state to get the same.
    fn importable(live: &Self::Live) -> Map {
        Self::observed(live)
    }

    /// Takes an import's id apart: the id, and inputs that it states.
    fn import(id: &str) -> Result<(String, Map), Error> {
        Ok((id.to_owned(), Map::new()))
    }

    /// What a state says of its life.
    fn life(outputs: &Map) -> Life;

    /// Changes that mean less than their rows say.
    async fn settle(
        _: &Client,
        _: &Context,
        _: &Self::Inputs,
        _: &Diff<'_>,
        _: &mut Changes,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Whether a replacement has to delete the old one first, because there is no room for both.
    async fn deletes_first(_: &Home, _: &Context, _: &Self::Owner, _: &str) -> Result<bool, Error> {
        Ok(false)
    }
}

/// What inputs say of rotation and of the workspace.
pub(super) struct Terms<'a> {
    pub(super) workspace: Input<&'a str>,
    pub(super) rotate_before: &'a Input<i64>,
    pub(super) rotate_when_changed: &'a Input<BTreeMap<String, String>>,
}

impl Terms<'_> {
    /// Whether the program says when the credential rotates, so that its comment need not.
    fn state_rotation(&self) -> bool {
        self.rotate_before.is_stated() || self.rotate_when_changed.is_stated()
    }
}

/// Where the requests for a credential go.
pub(super) struct Home {
    pub(super) client: Client,
    /// Whether that is a workspace, and not the account.
    pub(super) in_workspace: bool,
}

/// A credential that was just created.
pub(super) struct New<L> {
    pub(super) id: String,
    pub(super) minted: Minted<L>,
    /// Why it is not complete; empty where it is.
    pub(super) incomplete: Vec<String>,
}

/// What looking at inputs has found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) failures: Vec<Failure>,
    pub(super) warnings: Vec<String>,
}

impl Findings {
    /// Refuses a property.
    pub(super) fn refuse(&mut self, property: &str, reason: impl Into<String>) {
        self.failures.push(Failure::new(property, reason));
    }

    /// Looks at a lifetime in seconds (0 where none is stated) and at the window of rotation.
    pub(super) fn lifetime(&mut self, property: &str, seconds: i64, rotate_before: &Input<i64>, noun: &str) {
        if seconds < 0 {
            self.refuse(
                property,
                "must be a positive number of seconds; leave it out for the workspace's default",
            );
        } else if seconds > USUAL_LONGEST_LIFETIME {
            let mistaken = if seconds % 1000 == 0 && seconds / 1000 <= USUAL_LONGEST_LIFETIME {
                format!(
                    "; if milliseconds were meant, {} are {}",
                    seconds / 1000,
                    rotation::duration(seconds / 1000)
                )
            } else {
                String::new()
            };
            self.warnings.push(format!(
                "{property} counts seconds: {seconds} are {}, over the 730 days ({USUAL_LONGEST_LIFETIME}) that most \
                 workspaces allow{mistaken}",
                rotation::duration(seconds)
            ));
        }
        if let Some(&before) = rotate_before.known() {
            if before <= 0 {
                self.refuse("rotateBeforeSeconds", "must be a positive number of seconds");
            } else if seconds > 0 && before >= seconds {
                self.refuse(
                    "rotateBeforeSeconds",
                    format!(
                        "must be less than {property}: the {noun} would be replaced by every `pulumi up`"
                    ),
                );
            }
        }
    }

    /// Looks at a list of scopes.
    pub(super) fn scopes(&mut self, scopes: Option<&[String]>, noun: &str) {
        let Some(scopes) = scopes else { return };
        if scopes.is_empty() {
            self.refuse(
                "scopes",
                format!("must not be empty; leave it out for a {noun} that is not limited"),
            );
        }
        for (index, scope) in scopes.iter().enumerate() {
            if scope.trim().is_empty() {
                self.refuse("scopes", format!("scope {index} is empty"));
            } else if scopes[..index].contains(scope) {
                self.refuse("scopes", format!("scope {index} is listed twice"));
            }
        }
    }
}

/// The longest lifetime that a workspace allows unless it is set up otherwise: 730 days, in seconds.
const USUAL_LONGEST_LIFETIME: i64 = 730 * 24 * 60 * 60;

#[async_trait]
impl<C: Credential> Resource for C {
    fn type_token(&self) -> &'static str {
        C::TYPE_TOKEN
    }

    fn noun(&self) -> &'static str {
        C::NOUN
    }

    fn definition(&self) -> Definition {
        Definition {
            doc: C::DOC,
            inputs: C::Inputs::ROWS,
            computed: C::COMPUTED,
            never_sent: C::NEVER_SENT,
            types: C::TYPES,
            list_inputs: Some(C::Query::ROWS),
        }
    }

    fn check(&self, inputs: Map) -> Checked {
        let mut inputs = cleaned(inputs);
        let mut findings = Findings::default();
        findings.failures.extend(check_keys(&inputs, C::Inputs::ROWS, C::TITLE));
        findings.failures.extend(placement::check(&inputs));
        match C::Inputs::decode(&inputs) {
            Ok(typed) => {
                C::validate(&typed, &mut findings);
                if C::terms(&typed).workspace == Input::Known("") {
                    findings.refuse(
                        PROVIDER_CONFIG,
                        "workspaceId must not be an empty string; leave it out instead",
                    );
                }
                coerce(&mut inputs, typed.encode());
            }
            Err(wrong) => findings.failures.extend(wrong),
        }
        Checked { inputs, failures: findings.failures, warnings: findings.warnings }
    }

    async fn diff(&self, client: &Client, ctx: &Context, request: Diff<'_>) -> Result<Verdict, Error> {
        let news = C::Inputs::decode(request.news)?;
        let terms = C::terms(&news);
        let outputs = request.outputs;
        let mut changes = changes::<C::Inputs>(request.old_inputs, request.news);

        let unless_rotated = if terms.state_rotation() { Change::Update } else { Change::Replace };
        for (_, change) in changes.values_mut() {
            if *change == Change::ReplaceUnlessRotated {
                *change = unless_rotated;
            }
        }
        C::settle(client, ctx, &news, &request, &mut changes).await?;
        changes.extend(rotation::when_changed(request.old_inputs, request.news));
        changes.extend(moved::<C>(client, ctx, &terms, &request).await?);
        changes.extend(overstated::<C>(&request));
        let ignored = |path: &str| request.ignore.iter().any(|ignored| ignored == path || ignored == "*");
        if !request.refresh && !ignored("expiryTime") && !ignored("expireTime") {
            let life = life::<C>(client, ctx, &terms, &request).await?;
            let now = if life.ends() { client.now_ms(ctx).await } else { 0 };
            if let Some(reason) = life.due(C::NOUN, terms.rotate_before, now) {
                ctx.report(Severity::Info, &reason).await;
                changes.insert(expiry_output::<C>().to_owned(), (Kind::Changed, Change::Replace));
            }
        }
        changes.retain(|path, _| !ignored(path) && !ignored(path.split('.').next().unwrap_or_default()));
        // The program states nothing of it, so nobody would know why.
        if let Some(old) = placement::of_state(outputs)
            && changes.contains_key(WORKSPACE)
            && terms.workspace.known().is_none()
            && !request.refresh
        {
            let reason = format!(
                "the {} belongs to workspace {old}, which the provider no longer uses, and is replaced",
                C::NOUN
            );
            ctx.report(Severity::Info, &reason).await;
        }
        let replaces = changes.values().any(|(_, change)| change.replaces());
        if replaces && !request.refresh && client.own_token_id().as_deref() == Some(request.id) {
            ctx.report(Severity::Warning, OWN_TOKEN).await;
        }
        let delete_before_replace = C::LIMITED && replaces && !request.refresh && {
            match C::owner(&[request.news, outputs, request.old_inputs]) {
                Ok(owner) => {
                    let workspace = terms.workspace.known().copied();
                    let home = C::home(client, ctx, &owner, workspace).await?;
                    C::deletes_first(&home, ctx, &owner, request.id).await?
                }
                // A preview may not know the owner yet.
                Err(_) => false,
            }
        };
        Ok(Verdict { changes, delete_before_replace })
    }

    async fn preview_create(&self, client: &Client, ctx: &Context, inputs: &Map) -> Result<(), Error> {
        client.check_host()?;
        let typed = C::Inputs::decode(inputs)?;
        if let Ok(owner) = C::owner(&[inputs])
            && C::LIMITED
        {
            let home = C::home(client, ctx, &owner, C::terms(&typed).workspace.known().copied()).await?;
            C::prepare(&home, ctx, &owner).await?;
        }
        Ok(client.try_sign_in(ctx).await?)
    }

    async fn create(&self, client: &Client, ctx: &Context, inputs: Map) -> Result<Created, Error> {
        let typed = C::Inputs::decode(&inputs)?;
        let owner = C::owner(&[&inputs])?;
        let workspace = C::terms(&typed).workspace.known().copied();
        let home = C::home(client, ctx, &owner, workspace).await?;
        let before = C::prepare(&home, ctx, &owner).await?;
        let started = ctx.clock.now_ms();
        let New { id, minted, incomplete } = match C::create(&home, ctx, &owner, &typed).await {
            Ok(created) => created,
            Err(Error::Databricks(error)) if !error.did_not_run() => {
                let trace = C::trace(&home, &owner, &typed);
                let list = |ctx| {
                    let (home, owner, typed, before) = (&home, &owner, &typed, &before);
                    async move { C::candidates(home, &ctx, owner, typed, before).await }
                };
                return Err(lost::report(&home.client, ctx, C::NOUN, &trace, started, error, list).await);
            }
            Err(error) => return Err(error),
        };
        // From here on the credential exists: whatever goes wrong, its id and value go back to the engine.
        let Minted { value, info, workspace_id } = minted;
        let workspace_id = workspace.map(str::to_owned).or(workspace_id);
        let place = home.in_workspace.then_some(workspace_id);
        let outputs = outputs::<C>(inputs, &info, &id, &value, place);
        Ok(Created { id, outputs, incomplete })
    }

    async fn read(
        &self,
        client: &Client,
        ctx: &Context,
        id: &str,
        known: Known,
    ) -> Result<Option<Found>, Error> {
        let imported = matches!(known, Known::Nothing);
        if imported && client.is_a_credential(id) {
            return Err(Error::Other(value_for_id::<C>()));
        }
        let (id, owner, inputs, before, written) = match known {
            Known::Nothing => {
                let (id, inputs) = C::import(id)?;
                (id, C::owner(&[&inputs])?, inputs, Map::new(), false)
            }
            Known::State(state) => {
                // Every plugin writes the credential's output, even if it is empty; a program that looks a resource up
                // states a few others at most.
                let written = state.outputs.contains_key(C::VALUE);
                let owner = C::owner(&[&state.outputs, &state.inputs])?;
                (id.to_owned(), owner, cleaned(state.inputs), cleaned(state.outputs), written)
            }
        };
        let workspace = placement::of_state(&before).or_else(|| placement::of_state(&inputs));
        let home = at_home::<C>(client, ctx, &id, &owner, workspace.as_deref()).await?;
        let live = match C::find(&home, ctx, &owner, &id).await? {
            Presence::Live(live) => live,
            Presence::Gone(gone) => {
                if written {
                    gone.tell(ctx, &format!("the {} {id} leaves the state", C::NOUN)).await;
                }
                return Ok(None);
            }
        };

        if imported {
            let warning = format!(
                "Databricks gives the value of the {noun} only when it is created, so {} is empty after an import. \
                 Replace the {noun} to get one: run `pulumi state unprotect '{urn}'`, since `pulumi import` protects \
                 what it imports, and then `pulumi up --replace '{urn}'`",
                C::VALUE,
                noun = C::NOUN,
                urn = ctx.urn
            );
            ctx.report(Severity::Warning, &warning).await;
        } else if !written {
            let warning = format!(
                "Databricks gives the value of the {} only when it is created, so {} is empty where a program looks up \
                 one that is there. Take the value from the stack that created it",
                C::NOUN,
                C::VALUE
            );
            ctx.report(Severity::Warning, &warning).await;
        }
        let inputs = if imported {
            let mut inputs = inputs;
            inputs.extend(C::importable(&live));
            inputs
        } else {
            refreshed::<C>(inputs, C::observed(&live))
        };
        let place = place(&home, ctx, workspace).await?;
        let value = value::<C>(&before);
        // What is not stated is as Databricks has it where a program looks a resource up. What a state has no value of
        // gets none in a refresh, or a comment that somebody added would reach whatever depends on the credential.
        let mut known = C::importable(&live);
        known.retain(|name, _| !written || before.contains_key(name));
        let mut stated = before;
        stated.extend(known);
        stated.extend(inputs.clone());
        let outputs = outputs::<C>(stated, &live, &id, &value, place);
        Ok(Some(Found { id, state: State { inputs, outputs } }))
    }

    async fn update(
        &self,
        client: &Client,
        ctx: &Context,
        id: &str,
        known: State,
        news: Map,
    ) -> Result<Map, Error> {
        let typed = C::Inputs::decode(&news)?;
        let owner = C::owner(&[&known.outputs, &news])?;
        let before = cleaned(known.outputs);
        let workspace = placement::of_state(&before).or_else(|| placement::of_state(&news));
        let home = at_home::<C>(client, ctx, id, &owner, workspace.as_deref()).await?;
        let changed = changes::<C::Inputs>(&known.inputs, &news);
        let sent = C::update(&home, ctx, id, None, &changed, &typed).await;
        match outcome::<C>(sent, &home, ctx, &owner, id).await? {
            Outcome::Done => {}
            Outcome::Anothers(live) => C::update(&home, ctx, id, Some(&live), &changed, &typed).await?,
            Outcome::Gone(gone) => return Err(gone_already::<C>(ctx, id, &gone).await),
        }
        let live = match C::find(&home, ctx, &owner, id).await? {
            Presence::Live(live) => live,
            Presence::Gone(gone) => return Err(gone_already::<C>(ctx, id, &gone).await),
        };
        let place = place(&home, ctx, workspace).await?;
        Ok(outputs::<C>(news, &live, id, &value::<C>(&before), place))
    }

    async fn delete(&self, client: &Client, ctx: &Context, id: &str, outputs: &Map) -> Result<(), Error> {
        let owner = C::owner(&[outputs])?;
        let workspace = placement::of_state(outputs);
        let home = at_home::<C>(client, ctx, id, &owner, workspace.as_deref()).await?;
        let sent = C::revoke(&home, ctx, &owner, id, None).await;
        match outcome::<C>(sent, &home, ctx, &owner, id).await? {
            Outcome::Done => {}
            Outcome::Anothers(live) => C::revoke(&home, ctx, &owner, id, Some(&live)).await?,
            Outcome::Gone(gone) => {
                gone.tell(ctx, &format!("the {} {id} did not have to be revoked", C::NOUN)).await;
            }
        }
        Ok(())
    }

    async fn list(
        &self,
        client: &Client,
        ctx: &Context,
        query: &Map,
    ) -> Result<Vec<(String, String)>, Error> {
        let query = cleaned(query.clone());
        let wrong = check_keys(&query, C::Query::ROWS, &format!("a list of {}s", C::NOUN));
        if !wrong.is_empty() {
            return Err(wrong.into());
        }
        C::list(client, ctx, &C::Query::decode(&query)?).await
    }
}

/// Gives the inputs their proper types, so that `"60"` and `60` are one state. Secret marks stay.
fn coerce(inputs: &mut Map, typed: Map) {
    for (name, value) in typed {
        let Some(stated) = inputs.get_mut(&name).filter(|stated| !stated.has_unknown()) else { continue };
        // A nested secret mark would be lost, and objects need no coercion.
        if value.is_scalar() {
            *stated = if stated.has_secret() { Value::secret(value) } else { value };
        }
    }
}

/// The state's outputs: what is stated, with what Databricks says laid over it. `place` is the workspace, as far as it
/// is known; `None` for what belongs to an account.
fn outputs<C: Credential>(
    stated: Map,
    live: &C::Live,
    id: &str,
    value: &SecretString,
    place: Option<Option<String>>,
) -> Map {
    let mut computed = C::computed(live, &stated);
    computed.insert(C::VALUE.to_owned(), Value::secret(value.encode()));
    let mut outputs = cleaned(stated);
    match place {
        Some(workspace_id) => {
            computed.insert(PROVIDER_CONFIG.to_owned(), placement::output(workspace_id));
        }
        None => drop(outputs.remove(PROVIDER_CONFIG)),
    }
    if C::ID_IS_OUTPUT {
        outputs.insert("id".to_owned(), id.into());
    }
    for (name, value) in computed {
        // What is stated as a secret stays one.
        let secret = outputs.get(&name).is_some_and(Value::has_secret);
        outputs.insert(name, if secret { Value::secret(value) } else { value });
    }
    outputs
}

/// The credential in a state; empty after an import.
fn value<C: Credential>(outputs: &Map) -> SecretString {
    outputs.get(C::VALUE).and_then(|value| SecretString::decode(value).ok()).unwrap_or_default()
}

/// Whether the credential itself is not known, as after an import.
pub(super) fn is_imported(outputs: &Map, value: &str) -> bool {
    outputs.get(value).is_none_or(Value::is_blank)
}

/// Inputs of the state, those that are stated brought up to date. Others stay out, or the next preview would show
/// them as removed.
fn refreshed<C: Credential>(mut inputs: Map, observed: Map) -> Map {
    for (name, value) in observed {
        let row = C::Inputs::ROWS.iter().find(|row| row.name == name);
        let Some(stated) = inputs.get_mut(&name).filter(|stated| !stated.is_null()) else { continue };
        if row.is_some_and(|row| !(row.same)(stated, &value)) {
            *stated = if stated.has_secret() { Value::secret(value) } else { value };
        }
    }
    inputs
}

/// What is said before the provider saws off the branch it sits on.
const OWN_TOKEN: &str = "the provider signs in with this very token. Once it is replaced, the old one is revoked and the \
                         provider cannot sign in any more until databricks:token (or DATABRICKS_TOKEN, or the profile) has \
                         the value of the new one. Let the provider sign in with another token or as a service principal";

/// What is said where the id to import is the credential itself, which is not repeated.
fn value_for_id<C: Credential>() -> String {
    let name = C::TYPE_TOKEN.rsplit(':').next().unwrap_or_default();
    format!(
        "what was given as the id looks like the value of a {0}, which nobody but its users should see; it was not \
         sent anywhere. An import takes the id: `pulumi do databricks:{name} list` names those that there are. If the \
         value is a real one, replace that {0}, since shells and logs may keep what was typed",
        C::NOUN
    )
}

/// What came of a request about a credential.
enum Outcome<L> {
    /// It was carried out.
    Done,
    /// The credential is gone.
    Gone(Gone),
    /// The credential is somebody else's, so the request belongs to another API.
    Anothers(L),
}

/// Finds out what a refusal means. Where the answer leaves open whether the credential is gone, a look decides.
async fn outcome<C: Credential>(
    sent: Result<(), Error>,
    home: &Home,
    ctx: &Context,
    owner: &C::Owner,
    id: &str,
) -> Result<Outcome<C::Live>, Error> {
    let refusal = match sent {
        Err(Error::Databricks(error)) if leaves_open(&error) => error,
        sent => return sent.map(|()| Outcome::Done),
    };
    let presence = if says_gone(&refusal, id) {
        C::denied(home, ctx, owner, id).await
    } else {
        C::find(home, ctx, owner, id).await
    };
    match presence {
        Ok(Presence::Gone(gone)) => Ok(Outcome::Gone(gone)),
        Ok(Presence::Live(live)) if C::is_anothers(&live) => Ok(Outcome::Anothers(live)),
        // Looking failed as the request did, whose answer says more.
        Ok(Presence::Live(_)) | Err(Error::Databricks(_)) => Err(refusal.into()),
        Err(error) => Err(error),
    }
}

async fn gone_already<C: Credential>(ctx: &Context, id: &str, gone: &Gone) -> Error {
    gone.tell(ctx, &format!("the {} {id} cannot be changed", C::NOUN)).await;
    Error::Other(format!(
        "the {} {id} no longer exists. Run `pulumi refresh`, then `pulumi up` to create a new one",
        C::NOUN
    ))
}

/// Where the requests for the credential of a state go.
async fn at_home<C: Credential>(
    client: &Client,
    ctx: &Context,
    id: &str,
    owner: &C::Owner,
    workspace: Option<&str>,
) -> Result<Home, Error> {
    C::home(client, ctx, owner, workspace).await.map_err(|error| match error {
        Error::Databricks(error) => placement::explained(error, C::NOUN, id, workspace),
        error => error,
    })
}

/// The workspace for the outputs.
async fn place(home: &Home, ctx: &Context, stated: Option<String>) -> Result<Option<Option<String>>, Error> {
    Ok(if home.in_workspace { Some(placement::known(&home.client, ctx, stated).await?) } else { None })
}

/// What is known of a credential's life. The official plugin keeps no expiry of some; Databricks is asked only where
/// the program wants to rotate by it.
async fn life<C: Credential>(
    client: &Client,
    ctx: &Context,
    terms: &Terms<'_>,
    request: &Diff<'_>,
) -> Result<Life, Error> {
    let life = C::life(request.outputs);
    if life.expires.is_some() || terms.rotate_before.known().is_none() {
        return Ok(life);
    }
    let owner = C::owner(&[request.outputs, request.old_inputs])?;
    let workspace = placement::of_state(request.outputs);
    let home = at_home::<C>(client, ctx, request.id, &owner, workspace.as_deref()).await?;
    Ok(match C::find(&home, ctx, &owner, request.id).await? {
        Presence::Live(live) => C::life(&C::computed(&live, request.outputs)),
        Presence::Gone(_) => life,
    })
}

/// The computed output that says when the credential expires.
fn expiry_output<C: Credential>() -> &'static str {
    let named = |name: &str| C::COMPUTED.iter().any(|row| row.name == name);
    if named("expireTime") { "expireTime" } else { "expiryTime" }
}

/// A credential belongs to a workspace; if the program or the provider now means another, it is replaced.
async fn moved<C: Credential>(
    client: &Client,
    ctx: &Context,
    terms: &Terms<'_>,
    request: &Diff<'_>,
) -> Result<Changes, Error> {
    let Some(old) = placement::of_state(request.outputs) else { return Ok(Changes::new()) };
    let new = match terms.workspace {
        Input::Known(id) => Some(id.to_owned()),
        Input::Unknown => None,
        Input::Absent => match client.workspace_id(ctx).await {
            Ok(id) => id,
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
fn overstated<C: Credential>(request: &Diff<'_>) -> Changes {
    C::NEVER_SENT
        .iter()
        .filter(|name| {
            stated(request.news, name).is_some_and(|new| {
                [request.old_inputs, request.outputs]
                    .iter()
                    .all(|known| stated(known, name).is_none_or(|known| !same(known, new)))
            })
        })
        .map(|name| ((*name).to_owned(), (Kind::Changed, Change::Update)))
        .collect()
}
