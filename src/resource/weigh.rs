//! What a change of a credential's inputs, or the passing of time, means: whether it is updated, rotated or replaced.

use std::borrow::Cow;

use super::credential::{Credential, Terms, at_home};
use super::overlap::Overlap;
use super::placement::{self, WORKSPACE};
use super::presence::Presence;
use super::rotation::{self, Life};
use super::{Diff, Error, succession};
use crate::client::{self, Client};
use crate::context::{Context, Severity};
use crate::property::{Change, Changes, Input, Kind, Map, changes, same, stated};

/// What is to become of the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It stays, whatever else changes.
    Update,
    /// It gets a successor and lives on for a while: an update of the resource.
    Rotate,
    /// It is replaced with its resource.
    Replace,
}

/// What a change of inputs, or the passing of time, means.
pub(super) struct Weighed {
    pub(super) changes: Changes,
    pub(super) course: Course,
    /// Whether the previous credential is due to be revoked.
    pub(super) settles: bool,
    /// Reasons that the changes themselves do not show.
    pub(super) why: Vec<(Severity, String)>,
    /// Whether the workspace is another one.
    pub(super) workspace_moved: bool,
}

/// Weighs what has changed. As long as nothing but the time changes, the result is the same, or more has become due:
/// what is due stays due. `news` and `overlap` are what the request's new inputs and its outputs say.
pub(super) async fn weigh<C: Credential>(
    client: &Client,
    ctx: &Context,
    request: &Diff<'_>,
    news: &C::Inputs,
    overlap: &Overlap,
) -> Result<Weighed, Error> {
    let terms = C::terms(news);
    let old_inputs = made_with::<C>(request, overlap);
    let request = &Diff { old_inputs: &old_inputs, ..*request };
    C::note(client, overlap.id(request.id));
    let mut changes = changes::<C::Inputs>(request.old_inputs, request.news);
    let mut why = Vec::new();

    let unless_rotated = if terms.state_rotation() { Change::Update } else { Change::Replace };
    for (_, change) in changes.values_mut() {
        if *change == Change::ReplaceUnlessRotated {
            *change = unless_rotated;
        }
    }
    C::settle(client, ctx, news, request, &mut changes).await?;
    changes.extend(rotation::when_changed(request.old_inputs, request.news));
    changes.extend(moved::<C>(client, ctx, &terms, request).await?);
    changes.extend(overstated::<C>(request));
    let ignored = |path: &str| request.ignore.iter().any(|ignored| ignored == path || ignored == "*");
    let mut settles = false;
    let mut lasts_until = None;
    if !request.refresh {
        if overlap.is_gone {
            changes.insert(C::CURRENT.to_owned(), (Kind::Changed, Change::Replace));
        } else if !ignored("expiryTime") && !ignored("expireTime") {
            let life = life::<C>(client, ctx, &terms, request).await?;
            let now = if life.end().is_some() { client.now_ms(ctx).await } else { 0 };
            if let Some(reason) = life.due(C::NOUN, terms.rotate_before, now) {
                why.push((Severity::Info, reason));
                changes.insert(expiry_output::<C>().to_owned(), (Kind::Changed, Change::Replace));
                lasts_until = life.expires.filter(|expires| now < *expires);
            }
        }
        if let Some(previous) = &overlap.previous
            && !overlap.is_unproved
            && previous.is_due(client.now_ms(ctx).await)
        {
            settles = true;
            changes.insert(C::PREVIOUS.0.to_owned(), (Kind::Removed, Change::Update));
        }
        if overlap.is_unproved {
            changes.entry(C::CURRENT.to_owned()).or_insert((Kind::Changed, Change::Update));
        }
    }
    changes.retain(|path, _| !ignored(path) && !ignored(path.split('.').next().unwrap_or_default()));
    let workspace_moved = changes.contains_key(WORKSPACE);
    let replaces = !request.refresh && changes.values().any(|(_, change)| change.replaces());
    let leaves_its_owner = workspace_moved
        || changes.iter().any(|(path, (_, change))| change.replaces() && C::OWNER.contains(&path.as_str()));
    let overlaps = (terms.overlap.is_stated() || overlap.previous.is_some()) && !leaves_its_owner;
    let mut course = match (replaces, overlaps) {
        (false, _) => Course::Update,
        (true, false) => Course::Replace,
        (true, true) => Course::Rotate,
    };
    // A preview may not know the owner yet.
    if course == Course::Rotate
        && C::LIMITED
        && let Ok(owner) = C::owner(&[request.news, request.outputs, request.old_inputs])
    {
        let home = C::home(client, ctx, &owner, terms.workspace.known().copied()).await?;
        let leaving = overlap.previous.as_ref().filter(|_| !overlap.is_gone);
        match C::reserve(&home, ctx, &owner, leaving.map(|previous| previous.id.as_str())).await {
            Ok(()) => {}
            // What is due only because time has passed can wait until another one has made room.
            Err(error @ Error::Other(_))
                if lasts_until.is_some()
                    && changes
                        .iter()
                        .all(|(path, (_, change))| !change.replaces() || path == expiry_output::<C>()) =>
            {
                changes.remove(expiry_output::<C>());
                let warning = format!(
                    "the {} is due, and rotates as soon as there is room for a second one; it expires on {}. For now, {error}",
                    C::NOUN,
                    rotation::date(lasts_until.unwrap_or_default())
                );
                why = vec![(Severity::Warning, warning)];
                course = Course::Update;
            }
            Err(error) => return Err(error),
        }
    }
    if course == Course::Rotate {
        for (_, change) in changes.values_mut().filter(|(_, change)| change.replaces()) {
            *change = Change::Update;
        }
    }
    Ok(Weighed { changes, course, settles, why, workspace_moved })
}

/// The inputs that a credential was made with. After an update that was not completed, the engine has the inputs of
/// before the update, and only the outputs repeat those of the credential.
pub(super) fn made_with<'a, C: Credential>(request: &Diff<'a>, overlap: &Overlap) -> Cow<'a, Map> {
    if !overlap.is_unproved {
        return Cow::Borrowed(request.old_inputs);
    }
    Cow::Owned(repeated::<C>(request.outputs))
}

/// The inputs that outputs repeat.
pub(super) fn repeated<C: Credential>(outputs: &Map) -> Map {
    let mut inputs = outputs.clone();
    inputs.retain(|name, _| succession::is_stated::<C>(name));
    inputs
}

/// What is known about a credential's life. The official plugin keeps no expiry for some; Databricks is asked only
/// where the program wants to rotate by it.
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
            // A host that does not answer now says nothing about the workspace; the operation that needs it will
            // complain.
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

/// Warns of a credential that nothing replaces before it ends.
pub(super) async fn warn_of_the_end<C: Credential>(client: &Client, ctx: &Context, outputs: &Map) {
    let life = C::life(outputs);
    if let Some(expires) = life.end()
        && expires.saturating_sub(client.now_ms(ctx).await) < rotation::SHORT_NOTICE_MS
    {
        let warning = format!(
            "the {} expires on {}, and nothing replaces it before that: set rotateBeforeSeconds, or replace it",
            C::NOUN,
            rotation::date(expires)
        );
        ctx.report(Severity::Warning, &warning).await;
    }
}
