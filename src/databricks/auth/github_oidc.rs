use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::workload_identity::{self, IdTokens};
use super::{AuthError, Settings, SignIn, Strategy, authorization, exchange, missing};

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

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<SignIn, AuthError> {
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
    let mut url: reqwest::Url = url
        .parse()
        .map_err(|error| AuthError(format!("databricks:actionsIdTokenRequestUrl is not a URL: {error}")))?;
    url.query_pairs_mut().append_pair("audience", audience);
    let token = attributes.actions_id_token_request_token.as_ref().map_or("", |token| token.expose_secret());
    let headers = authorization("Bearer", token)?;
    let what = "request for an identity token to GitHub";
    let answer: Answer =
        exchange::send(settings, what, || settings.http.get(url.clone()).headers(headers.clone())).await?;
    Ok(answer.value)
}
