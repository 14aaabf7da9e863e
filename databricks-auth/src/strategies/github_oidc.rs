use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::workload_identity::{self, IdTokens};
use super::{Outcome, Strategy, missing};
use crate::config;
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_request;
use crate::transport::authorization;
use crate::transport::url_with_parameters;

/// A GitHub workflow.
pub(super) struct GithubOidc;

#[async_trait]
impl Strategy for GithubOidc {
    fn name(&self) -> &'static str {
        "github-oidc"
    }

    fn assumes_groups(&self) -> bool {
        true
    }

    /// GitHub sets its variables for every action that wants a token, such as `azure/login`. They are meant for
    /// Databricks only if there is a client id, or if they are configured elsewhere than in the environment.
    fn is_ambient(&self, settings: &Settings) -> bool {
        settings.config.attributes.client_id.is_none() && comes_from_github(settings)
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let attributes = &settings.config.attributes;
        // GitHub sets both where the workflow has the permission `id-token: write`.
        let needed = [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", attributes.actions_id_token_request_url.is_some()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", attributes.actions_id_token_request_token.is_some()),
        ];
        if needed.iter().any(|(_, is_set)| !is_set) {
            return Ok(missing(&needed));
        }
        Ok(workload_identity::sign_in(settings, Workflow))
    }
}

/// Whether the values come from the variables of a workflow, rather than from whoever configured the provider.
pub(super) fn comes_from_github(settings: &Settings) -> bool {
    settings.config.sources.get("actionsIdTokenRequestUrl") == Some(&config::Source::Environment)
}

struct Workflow;

#[async_trait]
impl IdTokens for Workflow {
    async fn id_token(&self, settings: &Settings, audience: &str) -> Result<SecretString, AuthError> {
        id_token(settings, audience).await
    }
}

#[derive(Deserialize)]
struct Answer {
    value: SecretString,
}

/// Gets an identity token of the workflow that is meant for `audience`.
pub(super) async fn id_token(settings: &Settings, audience: &str) -> Result<SecretString, AuthError> {
    let attributes = &settings.config.attributes;
    let url = attributes.actions_id_token_request_url.as_deref().unwrap_or_default();
    let url = url_with_parameters(url, &[("audience", audience)])
        .map_err(|error| AuthError(format!("databricks:actionsIdTokenRequestUrl is not a URL: {error}")))?;
    let token = attributes.actions_id_token_request_token.as_ref().map_or("", |token| token.expose_secret());
    let headers = authorization("Bearer", token)?;
    let what = "request for an identity token to GitHub";
    let answer: Answer =
        token_request::send(settings, what, || settings.http.get(&url).headers(headers.clone())).await?;
    Ok(answer.value)
}

#[cfg(test)]
mod tests {
    use crate::strategies::testing::{Clock, env, settings, sign_in, workspace};

    #[tokio::test]
    async fn github_is_asked_for_each_exchange() {
        let server = workspace().await;
        let url = format!("{}/github?x=1", server.url);
        let env = env(&[
            ("ACTIONS_ID_TOKEN_REQUEST_URL", &url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token"),
        ]);
        let clock = Clock::hasty();
        let settings = settings(&[("host", &server.url), ("audience", "me")], env, clock.clone()).await;
        let credentials = sign_in(&settings, "github-oidc").await.unwrap();
        for expected in ["Bearer token-1", "Bearer token-2"] {
            assert_eq!(credentials.headers().await.unwrap()["authorization"], expected);
            clock.advance(std::time::Duration::from_secs(3601));
        }
        let seen = server.seen();
        let asked: Vec<_> = seen.iter().filter(|seen| seen.path.starts_with("/github")).collect();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0].path, "/github?x=1&audience=me");
        assert_eq!(asked[0].header("authorization"), "Bearer request-token");
        assert!(seen.last().unwrap().body.contains("subject_token=github-jwt&"));
    }

    #[tokio::test]
    async fn nothing_is_asked_outside_of_a_workflow() {
        let server = workspace().await;
        let env = env(&[("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:1")]);
        let settings = settings(&[("host", &server.url)], env, Clock::hasty()).await;
        let reason = sign_in(&settings, "github-oidc").await.err().unwrap().0;
        assert_eq!(reason, "ACTIONS_ID_TOKEN_REQUEST_TOKEN is not set");
        assert_eq!(server.seen().len(), 0);
    }
}
