//! Who the client signs in as, which only the workspace knows.

use std::time::Duration;

use databricks_auth::backoff::Backoff;
use http::Method;
use serde::Deserialize;

use super::send::Attempts;
use super::{Client, Error, Repeat, Request};
use crate::context::Context;

/// How long the workspace may take to answer where nothing depends on it.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a busy workspace is asked. It is worth the wait: the state of what is created next records whose it is.
const ATTEMPTS: u32 = 3;

/// A user or a service principal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct User {
    /// Numeric id.
    pub id: String,
    /// Mail address of a person, application id of a service principal.
    pub user_name: String,
}

/// What the first answer to "who am I?" says.
#[derive(Debug, Default)]
pub(super) struct Introduction {
    /// The workspace that answered.
    pub(super) workspace_id: Option<String>,
    user: Option<User>,
    /// The error, if that came instead of an answer: perhaps that these credentials are refused.
    refused: Option<Error>,
}

/// The request that asks who signs in.
pub(crate) fn question() -> Request {
    let path = "/api/2.0/preview/scim/v2/Me?excludedAttributes=entitlements";
    Request::new(Method::GET, path, None, Repeat::Always)
}

impl Client {
    /// Asks the workspace who signs in, without waiting for long, and keeps the answer. Whoever may not ask this can do
    /// without.
    pub(super) async fn introduction(&self, ctx: &Context) -> &Introduction {
        // On the heap: it is needed once, and every future that awaits this one would be larger by three times its size.
        self.0.introduction.get_or_init(|| Box::pin(self.introduce(ctx))).await
    }

    async fn introduce(&self, ctx: &Context) -> Introduction {
        let ask = async {
            // Others rely on the answer too, whatever becomes of the operation that asks first.
            let ctx = &Context { deadline: None, cancel: Default::default(), ..ctx.clone() };
            let (mut attempts, mut backoff) = (Attempts::default(), Backoff::brisk(ctx.clock.now()));
            loop {
                let error = match self.attempt_signed::<User>(ctx, &question(), &mut attempts).await {
                    Ok(reply) => {
                        return Introduction {
                            workspace_id: reply.workspace_id,
                            user: Some(reply.body).filter(|user| !user.id.is_empty()),
                            refused: None,
                        };
                    }
                    Err(error) => error,
                };
                let wait = backoff.next(ctx.clock.now(), INTRODUCTION_TIMEOUT, None, error.retry_after());
                match wait.filter(|_| error.may_pass() && backoff.attempts() < ATTEMPTS) {
                    Some(wait) => ctx.clock.sleep(wait).await,
                    None => return Introduction { refused: Some(error), ..Introduction::default() },
                }
            }
        };
        tokio::time::timeout(INTRODUCTION_TIMEOUT, ask).await.unwrap_or_default()
    }

    /// Who signs in, if the workspace says so. It is asked on first use, once in the life of this client.
    pub async fn current_user(&self, ctx: &Context) -> Option<&User> {
        self.introduction(ctx).await.user.as_ref()
    }

    /// Who signs in, for a decision that depends on it.
    pub async fn ask_current_user(&self, ctx: &Context) -> Result<User, Error> {
        match self.current_user(ctx).await {
            Some(user) => Ok(user.clone()),
            None => Ok(self.send(ctx, &question()).await?.body),
        }
    }

    /// Fails if nobody can sign in with these credentials, as far as one request shows. That the request is not
    /// allowed, or not answered, is no failure.
    pub async fn try_sign_in(&self, ctx: &Context) -> Result<(), Error> {
        match &self.introduction(ctx).await.refused {
            Some(error) if error.refuses_credentials() => Err(error.clone()),
            _ => Ok(()),
        }
    }
}
