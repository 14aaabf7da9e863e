//! What all credentials that Databricks gives only once have in common.
//!
//! A [`Credential`] states its rows, its typed operations and its rotation. Everything else about the operations of a
//! [`Resource`] is here, once for all of them: how inputs are read and echoed, what a refresh and an import take
//! over, when a credential is due, which workspace it belongs to, and what becomes of a create whose answer is lost.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;

use super::findings::Findings;
use super::lost::{self, Candidate, Trace};
use super::outcome::{Action, carry_out, gone_already, revoke};
use super::overlap::{self, Overlap};
use super::placement::{self, PROVIDER_CONFIG};
use super::presence::{Gone, Presence};
use super::rotation::{self, Life};
use super::weigh::{Course, Weighed, made_with, repeated, warn_of_the_end, weigh};
use super::{
    Checked, Created, Definition, Diff, Error, Found, Known, ObjectType, Resource, State, Updated, Verdict,
    succession,
};
use crate::api::Minted;
use crate::client::{self, Client};
use crate::context::{Context, Severity};
use crate::property::{
    Change, Changes, Input, Kind, Map, Property, Record, Row, Value, changes, check_keys, cleaned, stated,
};

/// A credential that Databricks gives only once.
#[async_trait]
pub(super) trait Credential: Send + Sync + 'static {
    /// What a program states.
    type Inputs: Record + Send + Sync;
    /// What Databricks says about a live one.
    type Live: Send + Sync;
    /// What it belongs to besides a workspace.
    type Owner: Send + Sync;
    /// What is known before a create, by which its result can be told from what was there already.
    type Before: Send + Sync;
    /// What `pulumi do … list` takes.
    type Query: Record + Send + Sync;

    /// Type token.
    const TYPE_TOKEN: &'static str;
    /// What messages call the credential, in plain words: "token".
    const NOUN: &'static str;
    /// What messages about a program's inputs call the type, with an article: "a databricks Token".
    const TITLE: &'static str;
    /// Description; Markdown.
    const DOC: &'static str;
    /// Outputs that Databricks sets.
    const COMPUTED: &'static [Row];
    /// Object types.
    const TYPES: &'static [ObjectType];
    /// The output that is the credential itself.
    const VALUE: &'static str;
    /// The output that is the id of the credential, which differs from the resource's id after a rotation with an
    /// overlap.
    const CURRENT: &'static str;
    /// The outputs that are id and value of the previous credential, while it is kept.
    const PREVIOUS: (&'static str, &'static str);
    /// Other outputs that a state keeps of the previous credential, since it takes them to revoke it.
    const OF_PREVIOUS: &'static [&'static str];
    /// Inputs whose change means a credential of another owner, so that there is no overlap.
    const OWNER: &'static [&'static str] = &[];
    /// Inputs that are accepted for compatibility and never sent, since Databricks sets them.
    const NEVER_SENT: &'static [&'static str];
    /// Whether only a limited number may exist at a time. Previews then look whether there is room.
    const LIMITED: bool = false;
    /// Whether the official plugin keeps the id among the outputs.
    const ID_IS_OUTPUT: bool = true;

    /// What inputs say about rotation and about the workspace.
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

    /// Looks whether one more may be created. A preview does so too, where the owner is known.
    async fn prepare(home: &Home, ctx: &Context, owner: &Self::Owner) -> Result<Self::Before, Error>;

    /// Creates one; the request for it is never sent again unless it certainly was not carried out.
    async fn create(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        inputs: &Self::Inputs,
    ) -> Result<New<Self::Live>, Error>;

    /// Live ones that look like what the inputs ask for, for when the answer to a create is lost.
    async fn candidates(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        inputs: &Self::Inputs,
        before: &Self::Before,
    ) -> Result<Vec<Candidate>, Error>;

    /// Credentials left by a rotation that ended before the engine knew of them. Their comment ends with `mark`, as no
    /// other does.
    async fn leftovers(_: &Home, _: &Context, _: &Self::Owner, _: &str) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Signs in with a new credential once. Only a refusal of the credential itself is an error.
    async fn prove(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        value: &SecretString,
    ) -> Result<(), client::Error>;

    /// How people find what a lost create may have left.
    fn trace(home: &Home, owner: &Self::Owner, inputs: &Self::Inputs) -> Trace;

    /// Looks for a credential, which is gone only if that is certain, or if nobody can tell.
    async fn find(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        id: &str,
    ) -> Result<Presence<Self::Live>, Error>;

    /// What it means that Databricks said to whoever signs in that this id does not exist.
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

    /// Revokes one. It may be an error here if it is already gone. `seen` is what was found where the request was
    /// refused before.
    async fn revoke(
        home: &Home,
        ctx: &Context,
        owner: &Self::Owner,
        id: &str,
        seen: Option<&Self::Live>,
    ) -> Result<(), Error>;

    /// Whether a live one belongs to somebody other than whoever signs in, so that another API has to be used.
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

    /// Inputs as Databricks has them, as far as it says.
    fn observed(live: &Self::Live) -> Map;

    /// Of these, what a program would state to get the same.
    fn importable(live: &Self::Live) -> Map {
        Self::observed(live)
    }

    /// Takes an import's id apart: the id, and inputs that it states.
    fn import(id: &str) -> Result<(String, Map), Error> {
        Ok((id.to_owned(), Map::new()))
    }

    /// What a state says about the life of the credential.
    fn life(outputs: &Map) -> Life;

    /// Settles changes that mean less than their rows say.
    async fn settle(
        _: &Client,
        _: &Context,
        _: &Self::Inputs,
        _: &Diff<'_>,
        _: &mut Changes,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Notes that this process has seen the credential in a state, so that it is nobody else's.
    fn note(_: &Client, _: &str) {}

    /// Reserves the room for one more; `leaving` is one that may make room. Fails where there is none.
    async fn reserve(_: &Home, _: &Context, _: &Self::Owner, _: Option<&str>) -> Result<(), Error> {
        Ok(())
    }

    /// Whether the program wants the successor to take over what Databricks has found out about the old one.
    fn carries(_: &Self::Inputs) -> bool {
        false
    }

    /// Puts what was found out about the old one into the inputs of its successor.
    fn carry(_: &mut Map, _: &Self::Live) {}

    /// Whether a replacement has to delete the old one first, because there is no room for both.
    async fn deletes_first(_: &Home, _: &Context, _: &Self::Owner, _: &str) -> Result<bool, Error> {
        Ok(false)
    }
}

/// What inputs say about rotation and about the workspace.
pub(super) struct Terms<'a> {
    pub(super) workspace: Input<&'a str>,
    pub(super) rotate_before: &'a Input<i64>,
    pub(super) rotate_when_changed: &'a Input<BTreeMap<String, String>>,
    pub(super) overlap: &'a Input<i64>,
}

impl Terms<'_> {
    /// Whether the program says when the credential rotates, so that its comment need not.
    pub(super) fn state_rotation(&self) -> bool {
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
        let overlap = Overlap::of::<C>(outputs);
        let Weighed { changes, course, why, workspace_moved, .. } =
            weigh::<C>(client, ctx, &request, &news, &overlap).await?;
        for (severity, reason) in why {
            ctx.report(severity, &reason).await;
        }
        // The program does not state the workspace, so nobody would know why.
        if let Some(old) = placement::of_state(outputs)
            && workspace_moved
            && terms.workspace.known().is_none()
            && !request.refresh
        {
            let reason = format!(
                "the {} belongs to workspace {old}, which the provider no longer uses, and is replaced",
                C::NOUN
            );
            ctx.report(Severity::Info, &reason).await;
        }
        let id = overlap.id(request.id);
        let replaces = course != Course::Update;
        if replaces && client.own_token_id() == Some(id) {
            ctx.report(Severity::Warning, OWN_TOKEN).await;
        }
        if !request.refresh && !replaces && !terms.state_rotation() {
            warn_of_the_end::<C>(client, ctx, outputs).await;
        }
        let mut delete_before_replace = false;
        // A preview may not know the owner yet.
        if C::LIMITED
            && course == Course::Replace
            && let Ok(owner) = C::owner(&[request.news, outputs, request.old_inputs])
        {
            let home = C::home(client, ctx, &owner, terms.workspace.known().copied()).await?;
            delete_before_replace = C::deletes_first(&home, ctx, &owner, id).await?;
        }
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

    async fn create(
        &self,
        client: &Client,
        ctx: &Context,
        inputs: Map,
        replaces: bool,
    ) -> Result<Created, Error> {
        let typed = C::Inputs::decode(&inputs)?;
        let owner = C::owner(&[&inputs])?;
        let workspace = C::terms(&typed).workspace.known().copied();
        let home = C::home(client, ctx, &owner, workspace).await?;
        let New { id, minted, mut incomplete } = mint::<C>(&home, ctx, &owner, &typed).await?;
        // From here on the credential exists: whatever goes wrong, its id and value go back to the engine.
        let Minted { value, info, workspace_id } = minted;
        let mut overlap = Overlap::default();
        if replaces && let Some(reason) = succession::refused::<C>(&home, ctx, &owner, &id, &value).await {
            overlap.is_unproved = true;
            incomplete.push(reason);
        }
        let workspace_id = workspace.map(str::to_owned).or(workspace_id);
        let place = home.in_workspace.then_some(workspace_id);
        let mut outputs = outputs::<C>(inputs, &info, &id, &value, place);
        overlap.write::<C>(&mut outputs);
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
        let (id, owner, inputs, before, written, mut overlap) = match known {
            Known::Nothing => {
                let (id, inputs) = C::import(id)?;
                (id, C::owner(&[&inputs])?, inputs, Map::new(), false, Overlap::default())
            }
            Known::State(state) => {
                // Every plugin writes the output that holds the credential, even if it is empty; a program that looks a
                // resource up states a few others at most.
                let written = state.outputs.contains_key(C::VALUE);
                let owner = C::owner(&[&state.outputs, &state.inputs])?;
                let overlap = if written { Overlap::of::<C>(&state.outputs) } else { Overlap::default() };
                (id.to_owned(), owner, cleaned(state.inputs), state.outputs, written, overlap)
            }
        };
        let resource = id.clone();
        let id = overlap.id(&resource).to_owned();
        if written {
            C::note(client, &id);
        }
        let workspace = placement::of_state(&before).or_else(|| placement::of_state(&inputs));
        let home = at_home::<C>(client, ctx, &id, &owner, workspace.as_deref()).await?;
        let live = match C::find(&home, ctx, &owner, &id).await? {
            Presence::Live(live) => live,
            Presence::Gone(gone) => {
                // Without the resource nobody would know of the previous credential.
                if overlap.previous.is_some() {
                    gone.tell(ctx, &format!("the next `pulumi up` replaces the {} {id}", C::NOUN)).await;
                    overlap.is_gone = true;
                    let mut outputs = before;
                    overlap.write::<C>(&mut outputs);
                    return Ok(Some(Found { id: resource, state: State { inputs, outputs } }));
                }
                // About an import, and about what a program looks up, the engine says only that it does not exist.
                let what = if written { "leaves the state" } else { "was not found" };
                gone.tell(ctx, &format!("the {} {id} {what}", C::NOUN)).await;
                return Ok(None);
            }
        };
        // The id of the resource becomes that of the credential, which is what others take it for.
        overlap = Overlap { current: None, is_gone: false, ..overlap };
        let observed = |mut seen: Map, stated: &Map| {
            if let Some(previous) = &overlap.previous {
                seen = overlap::without_mark(seen, stated, &overlap::mark(&previous.id));
            }
            seen
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
                "Databricks gives the value of the {} only when it is created, so {} is empty when a program looks up \
                 an existing one. Take the value from the stack that created it",
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
            let seen = observed(C::observed(&live), &inputs);
            refreshed::<C>(inputs, seen)
        };
        let place = place(&home, ctx, workspace).await?;
        let before = cleaned(before);
        let value = value::<C>(&before);
        // Where a program looks a resource up, what it does not state is as Databricks has it. What a state has no
        // value for gets none in a refresh, or a comment that somebody added would reach whatever depends on the
        // credential.
        let mut known = observed(C::importable(&live), &inputs);
        known.retain(|name, _| !written || before.contains_key(name));
        let mut stated = before;
        stated.extend(known);
        stated.extend(inputs.clone());
        let mut outputs = outputs::<C>(stated, &live, &id, &value, place);
        overlap.write::<C>(&mut outputs);
        Ok(Some(Found { id, state: State { inputs, outputs } }))
    }

    async fn preview_update(&self, client: &Client, ctx: &Context, request: Diff<'_>) -> Result<Map, Error> {
        let overlap = Overlap::of::<C>(request.outputs);
        let news = C::Inputs::decode(request.news)?;
        let mut foretold =
            super::preview_update(&Resource::definition(self), request.outputs.clone(), request.news.clone());
        if !C::terms(&news).overlap.is_stated() && overlap.previous.is_none() {
            return Ok(foretold);
        }
        let weighed = weigh::<C>(client, ctx, &request, &news, &overlap).await?;
        succession::foretell::<C>(&request, &overlap, &weighed, &mut foretold);
        Ok(foretold)
    }

    async fn update(&self, client: &Client, ctx: &Context, request: Diff<'_>) -> Result<Updated, Error> {
        let Diff { id: resource, outputs: known, news, .. } = request;
        let typed = C::Inputs::decode(news)?;
        let owner = C::owner(&[known, news])?;
        let mut overlap = Overlap::of::<C>(known);
        let weighed = if C::terms(&typed).overlap.is_stated() || overlap.previous.is_some() {
            Some(weigh::<C>(client, ctx, &request, &typed, &overlap).await?)
        } else {
            None
        };
        let id = overlap.id(resource).to_owned();
        let workspace = placement::of_state(known).or_else(|| placement::of_state(news));
        let home = at_home::<C>(client, ctx, &id, &owner, workspace.as_deref()).await?;
        if weighed.as_ref().is_some_and(|weighed| weighed.course == Course::Rotate) {
            return succession::rotate::<C>(&home, ctx, &owner, &request, overlap, workspace).await;
        }
        let mut incomplete = Vec::new();
        let mut changed = changes::<C::Inputs>(&made_with::<C>(&request, &overlap), news);
        if overlap.is_unproved {
            match succession::refused::<C>(&home, ctx, &owner, &id, &value::<C>(known)).await {
                None => overlap.is_unproved = false,
                Some(reason) => incomplete.push(reason),
            }
        }
        let settles = weighed.is_some_and(|weighed| weighed.settles) && !overlap.is_unproved;
        let mut is_settled = false;
        if let Some(previous) = overlap.previous.take_if(|_| settles) {
            // By now every list contains what a rotation may have left.
            succession::revoke_leftovers::<C>(&home, ctx, &owner, &previous.id, &id).await?;
            match succession::revoke_previous::<C>(&home, ctx, known, &previous).await {
                // Somebody who may revoke it may come later. Until then it stays in the state, and the update goes on.
                Err(Error::Undecided(undecided)) => {
                    incomplete.push(undecided.of_previous());
                    overlap.previous = Some(previous);
                }
                revoked => {
                    revoked?;
                    is_settled = true;
                }
            }
        }
        let changes_nothing_else =
            is_settled && changes::<C::Inputs>(&repeated::<C>(request.outputs), news).is_empty();
        if is_settled {
            // The mark comes off the comment.
            changed.insert("comment".to_owned(), (Kind::Changed, Change::Update));
        }
        let typed = match &overlap.previous {
            Some(kept) => C::Inputs::decode(&overlap::with_mark(news, &overlap::mark(&kept.id)))?,
            None => typed,
        };
        let action = Action::Update { changed: &changed, inputs: &typed };
        match carry_out::<C>(&home, ctx, &owner, &id, action).await {
            Ok(None) => {}
            Ok(Some(gone)) => return Err(gone_already::<C>(ctx, &id, &gone).await),
            // Whoever signed in to revoke the previous credential may not be allowed to change this one. The state says
            // that the previous one is gone; the mark comes off when the owner of this one refreshes.
            Err(Error::Undecided(_)) if changes_nothing_else => {
                let mut outputs = known.clone();
                overlap.write::<C>(&mut outputs);
                return Ok(Updated { outputs, incomplete, minted: None });
            }
            Err(error) => return Err(error),
        }
        let live = match C::find(&home, ctx, &owner, &id).await? {
            Presence::Live(live) => live,
            Presence::Gone(gone) => return Err(gone_already::<C>(ctx, &id, &gone).await),
        };
        let place = place(&home, ctx, workspace).await?;
        let mut outputs = outputs::<C>(news.clone(), &live, resource, &value::<C>(known), place);
        overlap.write::<C>(&mut outputs);
        Ok(Updated { outputs, incomplete, minted: None })
    }

    async fn delete(&self, client: &Client, ctx: &Context, id: &str, outputs: &Map) -> Result<(), Error> {
        let owner = C::owner(&[outputs])?;
        let workspace = placement::of_state(outputs);
        let overlap = Overlap::of::<C>(outputs);
        let id = overlap.id(id);
        let home = at_home::<C>(client, ctx, id, &owner, workspace.as_deref()).await?;
        if let Some(previous) = &overlap.previous {
            succession::revoke_leftovers::<C>(&home, ctx, &owner, &previous.id, id).await?;
            succession::make_way::<C>(&home, ctx, outputs, previous).await?;
        }
        if stated(outputs, "overlapSeconds").is_some() || overlap.previous.is_some() {
            succession::revoke_leftovers::<C>(&home, ctx, &owner, id, id).await?;
        }
        revoke::<C>(&home, ctx, &owner, id).await
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

    fn wants_refresh(&self, inputs: &Map) -> bool {
        C::Inputs::decode(inputs).is_ok_and(|inputs| {
            let terms = C::terms(&inputs);
            terms.state_rotation() || terms.overlap.is_stated()
        })
    }
}

/// Creates a credential. If the answer is lost, the error names what may have come of it.
pub(super) async fn mint<C: Credential>(
    home: &Home,
    ctx: &Context,
    owner: &C::Owner,
    inputs: &C::Inputs,
) -> Result<New<C::Live>, Error> {
    let before = C::prepare(home, ctx, owner).await?;
    let started = ctx.clock.now_ms();
    match C::create(home, ctx, owner, inputs).await {
        Err(Error::Databricks(error)) if !error.did_not_run() => {
            let trace = C::trace(home, owner, inputs);
            let list = |ctx| {
                let before = &before;
                async move { C::candidates(home, &ctx, owner, inputs, before).await }
            };
            Err(lost::report(&home.client, ctx, C::NOUN, &trace, started, error, list).await)
        }
        created => created,
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
pub(super) fn outputs<C: Credential>(
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
    rotation::put_dates(&mut outputs, C::life);
    outputs
}

/// The credential in a state; empty after an import.
pub(super) fn value<C: Credential>(outputs: &Map) -> SecretString {
    outputs.get(C::VALUE).and_then(|value| SecretString::decode(value).ok()).unwrap_or_default()
}

/// Whether the credential itself is not known, as after an import.
pub(super) fn is_imported(outputs: &Map, value: &str) -> bool {
    outputs.get(value).is_none_or(Value::is_blank)
}

/// Inputs of the state, with those that are stated brought up to date. Others stay out, or the next preview would show
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

/// The warning before the provider saws off the branch it sits on.
const OWN_TOKEN: &str = "the provider signs in with this very token. Once it is replaced, the old one is revoked and the \
                         provider cannot sign in any more until databricks:token (or DATABRICKS_TOKEN, or the profile) has \
                         the value of the new one. Let the provider sign in with another token or as a service principal";

/// The error where the id to import is the credential itself, which is not repeated.
fn value_for_id<C: Credential>() -> String {
    let name = C::TYPE_TOKEN.rsplit(':').next().unwrap_or_default();
    format!(
        "what was given as the id looks like the value of a {0}, which nobody but its users should see; it was not \
         sent anywhere. An import takes the id: `pulumi do databricks:{name} list` lists the ids that exist. If the \
         value is a real one, replace that {0}, since shells and logs may keep what was typed",
        C::NOUN
    )
}

/// Where the requests for the credential of a state go.
pub(super) async fn at_home<C: Credential>(
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
pub(super) async fn place(
    home: &Home,
    ctx: &Context,
    stated: Option<String>,
) -> Result<Option<Option<String>>, Error> {
    Ok(if home.in_workspace { Some(placement::known(&home.client, ctx, stated).await?) } else { None })
}
