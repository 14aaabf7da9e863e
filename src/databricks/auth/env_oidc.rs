use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use super::workload_identity::{self, IdTokens};
use super::{AuthError, Settings, SignIn, Strategy};

/// An identity token in an environment variable.
pub(super) struct EnvOidc;

const DEFAULT_VARIABLE: &str = "DATABRICKS_OIDC_TOKEN";

#[async_trait]
impl Strategy for EnvOidc {
    fn name(&self) -> &'static str {
        "env-oidc"
    }

    fn assumes_groups(&self) -> bool {
        true
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<SignIn, AuthError> {
        let name = settings.config.attributes.oidc_token_env.as_deref().unwrap_or(DEFAULT_VARIABLE);
        Ok(match settings.env.var(name) {
            Some(token) => workload_identity::sign_in(settings, Variable(token.into())),
            None => SignIn::NotConfigured(format!("missing env var {name:?}")),
        })
    }
}

/// The environment of a process does not change, and so neither does the token.
struct Variable(SecretString);

#[async_trait]
impl IdTokens for Variable {
    async fn id_token(&self, _settings: &Settings, _audience: &str) -> Result<SecretString, AuthError> {
        Ok(self.0.clone())
    }
}
