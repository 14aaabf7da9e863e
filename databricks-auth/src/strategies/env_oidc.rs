use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use super::workload_identity::{self, IdTokens};
use super::{Outcome, Strategy};
use crate::error::AuthError;
use crate::settings::Settings;

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

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let stated = settings.config.attributes.oidc_token_env.as_deref();
        let name = stated.unwrap_or(DEFAULT_VARIABLE);
        Ok(match (settings.env.var(name), stated) {
            (Some(token), _) => workload_identity::sign_in(settings, Variable(token.into())),
            (None, Some(_)) => Outcome::Incomplete(format!("missing env var {name:?}")),
            (None, None) => Outcome::NotConfigured(format!("missing env var {name:?}")),
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

#[cfg(test)]
mod tests {
    use crate::strategies::testing::{Clock, env, settings, sign_in, workspace};

    #[tokio::test]
    async fn the_variable_may_have_another_name() {
        let server = workspace().await;
        let env = env(&[("DATABRICKS_OIDC_TOKEN", "default"), ("MY_TOKEN", "mine")]);
        let host = ("host", server.url.as_str());
        for (stated, token) in [(vec![host], "default"), (vec![host, ("oidcTokenEnv", "MY_TOKEN")], "mine")] {
            let settings = settings(&stated, env.clone(), Clock::hasty()).await;
            sign_in(&settings, "env-oidc").await.unwrap().headers().await.unwrap();
            let body = server.seen().pop().unwrap().body;
            assert!(body.contains(&format!("subject_token={token}&")), "{body}");
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_without_a_token() {
        let server = workspace().await;
        let env = env(&[("DATABRICKS_OIDC_TOKEN", "")]);
        for (stated, expected) in [
            (vec![("host", server.url.as_str())], "missing env var \"DATABRICKS_OIDC_TOKEN\""),
            (vec![("host", server.url.as_str()), ("oidcTokenEnv", "MINE")], "missing env var \"MINE\""),
        ] {
            let settings = settings(&stated, env.clone(), Clock::hasty()).await;
            assert_eq!(sign_in(&settings, "env-oidc").await.err().unwrap().0, expected);
        }
        assert_eq!(server.seen().len(), 0);
    }
}
