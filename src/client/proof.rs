//! Trying a new credential out, before anything relies on it.

use databricks_auth::transport::bearer;
use secrecy::SecretString;
use serde::de::IgnoredAny;

use super::current_user::question;
use super::{Client, Error};
use crate::context::Context;

impl Client {
    /// Makes a request that a bearer token signs, and fails only if Databricks does not accept that. Any other answer will
    /// do, even that it may not make this request.
    pub async fn prove_bearer(&self, ctx: &Context, value: &SecretString) -> Result<(), Error> {
        let signed = self.sign(ctx).await?.with(bearer(value)?);
        match self.attempt::<IgnoredAny>(ctx, signed, &question(), 0).await {
            Err(error) if error.wants_other_credentials() => Err(error),
            // Whatever else goes wrong says nothing about the credential.
            _ => Ok(()),
        }
    }

    /// Signs in with the OAuth secret of a service principal.
    pub async fn prove_client_secret(
        &self,
        ctx: &Context,
        client_id: &str,
        value: &SecretString,
    ) -> Result<(), Error> {
        let endpoint = self.endpoint().await?;
        let refusal = self.0.auth.refusal(&endpoint.found, client_id, value);
        tokio::select! {
            biased;
            refusal = refusal => match refusal {
                Some(error) => Err(error.into()),
                None => Ok(()),
            },
            () = ctx.cancel.cancelled() => Ok(()),
        }
    }
}
