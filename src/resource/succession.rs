//! A rotation with an overlap: a credential gets a successor and lives on until its time has come.
//!
//! Whatever ends a rotation half-way, the state or the workspace knows of every credential that lives. Until the old
//! one is revoked, the comment of the new one ends with a mark that only this rotation gives, so that the next rotation
//! finds what the engine never heard of.

use std::time::Duration;

use secrecy::SecretString;

use super::credential::{Credential, Home, New, mint, outputs, value};
use super::outcome::revoke;
use super::overlap::{self, Overlap, PREVIOUS_REVOKE_TIME, Previous};
use super::placement::PROVIDER_CONFIG;
use super::presence::Presence;
use super::rotation::{self, date};
use super::weigh::{Course, Weighed};
use super::{Diff, Error, Updated};
use crate::api::Minted;
use crate::context::{Context, Severity};
use crate::property::{Map, Property, Record, Row, Value};

/// Creates a successor. The credential before the old one goes first, so that there are never more than two.
pub(super) async fn rotate<C: Credential>(
    home: &Home,
    ctx: &Context,
    owner: &C::Owner,
    request: &Diff<'_>,
    mut overlap: Overlap,
    workspace: Option<String>,
) -> Result<Updated, Error> {
    let Diff { id: resource, outputs: known, news, .. } = *request;
    let now = home.client.now_ms(ctx).await;
    let old = overlap.id(resource).to_owned();
    let life = C::life(known);
    // If the current one is gone, or nobody can use it, it is not worth keeping; the previous one is.
    let kept = overlap.previous.take_if(|_| overlap.is_gone || overlap.is_unproved);
    if let Some(previous) = overlap.previous.take() {
        if !previous.is_due(now) {
            let warning = format!(
                "the {noun} {} would have lived until {}, but is revoked now: the {noun} rotates once more, and no more \
                 than two live at a time",
                previous.id,
                date(previous.revoke),
                noun = C::NOUN
            );
            ctx.report(Severity::Warning, &warning).await;
        }
        make_way::<C>(home, ctx, known, &previous).await?;
    }
    if kept.is_some() && !overlap.is_gone {
        revoke::<C>(home, ctx, owner, &old).await?;
    }
    let before = kept.as_ref().map_or(&old, |kept| &kept.id).clone();
    revoke_leftovers::<C>(home, ctx, owner, &before, &old).await?;

    let mark = overlap::mark(&before);
    let mut wanted = overlap::with_mark(news, &mark);
    if C::carries(&C::Inputs::decode(news)?)
        && let Presence::Live(live) = C::find(home, ctx, owner, &old).await?
    {
        C::carry(&mut wanted, &live);
    }
    let typed = C::Inputs::decode(&wanted)?;
    let New { id, minted, mut incomplete } = mint::<C>(home, ctx, owner, &typed).await?;
    // From here on the successor exists: whatever goes wrong, its id and value go back to the engine.
    let Minted { value, info, workspace_id } = minted;
    overlap.is_unproved = match refused::<C>(home, ctx, owner, &id, &value).await {
        None => false,
        Some(reason) => {
            incomplete.push(reason);
            true
        }
    };
    overlap.previous = Some(kept.unwrap_or_else(|| {
        let lasts = C::terms(&typed).overlap.known().copied().unwrap_or_default();
        let revoke = now.saturating_add(lasts.saturating_mul(1000));
        let revoke = life.end().map_or(revoke, |expires| revoke.min(expires));
        Previous::was::<C>(&old, known, revoke)
    }));
    overlap.is_gone = false;
    overlap.current = Some(id.clone()).filter(|id| id != resource);
    let place = home.in_workspace.then_some(workspace.or(workspace_id));
    let mut outputs = outputs::<C>(news.clone(), &info, resource, &value, place);
    // If the engine does not learn of the successor, only that has to be revoked.
    let mut alone = outputs.clone();
    Overlap::default().write::<C>(&mut alone);
    overlap.write::<C>(&mut outputs);
    Ok(Updated { outputs, incomplete, minted: Some((id, alone)) })
}

/// How long to wait before a new credential that was refused is tried again: it may not be known everywhere yet.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Tries a new credential out, and says why nobody can rely on it.
pub(super) async fn refused<C: Credential>(
    home: &Home,
    ctx: &Context,
    owner: &C::Owner,
    id: &str,
    value: &SecretString,
) -> Option<String> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = C::prove(home, ctx, owner, value).await.err()?;
        let Some(pause) = pauses.next() else {
            return Some(format!(
                "the new {noun} {id} was created, but Databricks refuses it: {error}. Nothing was revoked: the old \
                 {noun} still works. Run `pulumi up` again; if the new one is refused once more, replace it with \
                 `pulumi up --replace '{urn}'`",
                noun = C::NOUN,
                urn = ctx.urn
            ));
        };
        tokio::select! {
            () = ctx.clock.sleep(pause) => {}
            () = ctx.cancel.cancelled() => {}
        }
    }
}

/// Revokes successors of the credential `of` that the engine never heard of; `but` is the one that it knows.
pub(super) async fn revoke_leftovers<C: Credential>(
    home: &Home,
    ctx: &Context,
    owner: &C::Owner,
    of: &str,
    but: &str,
) -> Result<(), Error> {
    for id in C::leftovers(home, ctx, owner, &overlap::mark(of)).await? {
        if id == but {
            continue;
        }
        revoke::<C>(home, ctx, owner, &id).await?;
        let message = format!(
            "revoked the {} {id}, left by an earlier rotation that ended before its value reached the state",
            C::NOUN
        );
        ctx.report(Severity::Warning, &message).await;
    }
    Ok(())
}

/// Revokes the credential before the current one.
pub(super) async fn revoke_previous<C: Credential>(
    home: &Home,
    ctx: &Context,
    outputs: &Map,
    previous: &Previous,
) -> Result<(), Error> {
    revoke::<C>(home, ctx, &C::owner(&[&previous.record, outputs])?, &previous.id).await
}

/// Like [`revoke_previous`], where the rest of the operation depends on it.
pub(super) async fn make_way<C: Credential>(
    home: &Home,
    ctx: &Context,
    outputs: &Map,
    previous: &Previous,
) -> Result<(), Error> {
    revoke_previous::<C>(home, ctx, outputs, previous).await.map_err(|error| match error {
        Error::Undecided(undecided) => Error::Other(undecided.of_previous()),
        error => error,
    })
}

/// Whether an output is as the program states it.
pub(super) fn is_stated<C: Credential>(name: &str) -> bool {
    C::Inputs::ROWS.iter().any(|row| row.name == name) && !C::NEVER_SENT.contains(&name)
}

/// Says in the outputs of a preview what the update will change.
pub(super) fn foretell<C: Credential>(
    request: &Diff<'_>,
    overlap: &Overlap,
    weighed: &Weighed,
    outputs: &mut Map,
) {
    let (previous_id, previous_value) = C::PREVIOUS;
    if weighed.course != Course::Rotate {
        if weighed.settles {
            for name in [previous_id, previous_value, PREVIOUS_REVOKE_TIME] {
                outputs.remove(name);
            }
        }
        return;
    }
    let unknown = |row: &Row| if row.secret { Value::secret(Value::Unknown) } else { Value::Unknown };
    let dates = [rotation::EXPIRES_AT, rotation::ROTATES_AT];
    for row in C::COMPUTED {
        // The workspace stays, and so does what a program states.
        let stays = row.name == PROVIDER_CONFIG || is_stated::<C>(row.name);
        if (row.required && !stays) || (dates.contains(&row.name) && outputs.contains_key(row.name)) {
            outputs.insert(row.name.to_owned(), unknown(row));
        }
    }
    outputs.insert(previous_id.to_owned(), overlap.id(request.id).into());
    outputs.insert(previous_value.to_owned(), Value::secret(value::<C>(request.outputs).encode()));
    outputs.insert(PREVIOUS_REVOKE_TIME.to_owned(), Value::Unknown);
}
