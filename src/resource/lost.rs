//! A create whose answer was lost: what may have come of it is named, so that no credential lives on unknown.

use std::time::Duration;

use super::Error;
use super::rotation::date;
use crate::client::{self, Client};
use crate::context::{Context, Severity};

/// A credential that may be the result of a create whose answer was lost.
pub(super) struct Candidate {
    pub(super) id: String,
    /// When it was created, in milliseconds since 1970.
    pub(super) created: Option<i64>,
}

/// How people find such a credential and get rid of it.
pub(super) struct Trace {
    /// What it has in common with the one that was requested: "with the comment …".
    pub(super) with: String,
    /// Where a person sees them all: "under Settings > …".
    pub(super) place: String,
    /// The verb for getting rid of one: "revoke".
    pub(super) undo: &'static str,
    /// The command that does it.
    pub(super) command: String,
}

/// How long the search for what a lost create has left may take.
const SEARCH_TIME: Duration = Duration::from_secs(60);

/// How far the clocks of this machine and of the workspace may differ where no answer has shown it, in milliseconds.
const UNKNOWN_SKEW_MS: i64 = 10 * 60 * 1000;

/// How exactly the answers tell the time of the workspace, in milliseconds.
const PRECISION_MS: i64 = 3000;

/// Says which credentials may be the result of a create whose answer is lost. None is revoked here: any of them may be
/// somebody else's. `list` gives those that look like the one that was requested; `started` is this machine's time.
pub(super) async fn report<F>(
    client: &Client,
    ctx: &Context,
    noun: &str,
    trace: &Trace,
    started: i64,
    error: client::Error,
    list: impl FnOnce(Context) -> F,
) -> Error
where
    F: Future<Output = Result<Vec<Candidate>, Error>>,
{
    let Trace { with, place, undo, command } = trace;
    let status = format!("the answer was lost; listing the {noun}s to see whether one was created");
    ctx.report(Severity::Status, &status).await;
    // The engine may have asked to give up by now, and the resource's own time may be up; what may have been left behind
    // must be named all the same.
    let deadline = ctx.clock.now().checked_add(SEARCH_TIME);
    let ctx = Context { cancel: Default::default(), deadline, ..ctx.clone() };
    let listed = list(ctx).await;
    // In the workspace's time, which the answer to the list shows if none did before.
    let (started, margin) = match client.clock_difference_ms() {
        Some(ahead) => (started.saturating_add(ahead), PRECISION_MS),
        None => (started, UNKNOWN_SKEW_MS),
    };
    let found = match listed {
        Err(second) => format!(
            "Whether the {noun} was created could not be found out either: {second}. Look {place} for one {with}, \
             created after {}, and {undo} it",
            date(started)
        ),
        Ok(candidates) => {
            let candidates: Vec<String> = candidates
                .iter()
                .filter(|candidate| candidate.created.is_none_or(|time| time >= started - margin))
                .map(|candidate| {
                    let created = candidate.created.map_or("at an unknown time".to_owned(), date);
                    format!("\n  {noun} id {}, {with}, created {created}", candidate.id)
                })
                .collect();
            if candidates.is_empty() {
                format!(
                    "The workspace lists no new {noun} {with}, so most likely none was created. Run again; if one \
                     {with} created after {} shows up later, {undo} it",
                    date(started)
                )
            } else {
                let capital = format!("{}{}", undo[..1].to_uppercase(), &undo[1..]);
                format!(
                    "It may have created one of these, whose value nobody has:{}\n{capital} what nobody uses, {place} \
                     or with `{command}`, then run again",
                    candidates.concat()
                )
            }
        }
    };
    Error::Other(format!("{error}. {found}"))
}
