//! Requests that change or revoke a credential, and what their refusal means: it may be gone, or somebody else's.

use super::Error;
use super::credential::{Credential, Home};
use super::presence::{Gone, Presence};
use crate::api::{leaves_open, says_gone};
use crate::context::Context;
use crate::property::Changes;

/// Revokes a credential; one that is already gone counts as revoked.
pub(super) async fn revoke<C: Credential>(
    home: &Home,
    ctx: &Context,
    owner: &C::Owner,
    id: &str,
) -> Result<(), Error> {
    if let Some(gone) = carry_out::<C>(home, ctx, owner, id, Action::Revoke).await? {
        gone.tell(ctx, &format!("the {} {id} did not have to be revoked", C::NOUN)).await;
    }
    Ok(())
}

/// What to do with a credential.
pub(super) enum Action<'a, C: Credential> {
    /// Make it stop working.
    Revoke,
    /// Bring it in line with these inputs.
    Update { changed: &'a Changes, inputs: &'a C::Inputs },
}

/// Sends the request for an action. If the credential turns out to be somebody else's, sends it once more, to the API for
/// those. Returns why there was nothing to do where the credential is gone.
pub(super) async fn carry_out<C: Credential>(
    home: &Home,
    ctx: &Context,
    owner: &C::Owner,
    id: &str,
    action: Action<'_, C>,
) -> Result<Option<Gone>, Error> {
    let mut seen = None;
    loop {
        let sent = match &action {
            Action::Revoke => C::revoke(home, ctx, owner, id, seen.as_ref()).await,
            Action::Update { changed, inputs } => {
                C::update(home, ctx, id, seen.as_ref(), changed, inputs).await
            }
        };
        match outcome::<C>(sent, home, ctx, owner, id, seen.is_some()).await? {
            Outcome::Done => return Ok(None),
            Outcome::Anothers(live) => seen = Some(live),
            Outcome::Gone(gone) => return Ok(Some(gone)),
        }
    }
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
/// `is_seen` says that an earlier look has shown that the credential is somebody else's, and that the request went to
/// the other API.
async fn outcome<C: Credential>(
    sent: Result<(), Error>,
    home: &Home,
    ctx: &Context,
    owner: &C::Owner,
    id: &str,
    is_seen: bool,
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
        Ok(Presence::Live(live)) if !is_seen && C::is_anothers(&live) => Ok(Outcome::Anothers(live)),
        // The credential is there, or the look failed too: the answer to the request says more.
        Ok(Presence::Live(_)) | Err(Error::Databricks(_)) => Err(refusal.into()),
        Err(error) => Err(error),
    }
}

/// The error where a credential that is to be changed is gone.
pub(super) async fn gone_already<C: Credential>(ctx: &Context, id: &str, gone: &Gone) -> Error {
    if let Some(doubt) = gone.doubt() {
        return Error::Other(format!(
            "the {} {id} was not found: {doubt}. Nothing was changed. Sign in as whoever created it, or as an admin; \
             if it is gone, `pulumi refresh` removes it from the state",
            C::NOUN
        ));
    }
    gone.tell(ctx, &format!("the {} {id} cannot be changed", C::NOUN)).await;
    Error::Other(format!(
        "the {} {id} no longer exists. Run `pulumi refresh`, then `pulumi up` to create a new one",
        C::NOUN
    ))
}
