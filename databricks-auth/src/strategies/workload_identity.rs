//! Workload identity federation: an identity token of the machine or job is exchanged for a token of Databricks.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::{Bearer, Outcome, oidc};
use crate::error::AuthError;
use crate::metadata::HostType;
use crate::settings::Settings;
use crate::token_cache::{Source, Token};
use crate::token_request::{self, TokenAnswer};

/// Where identity tokens come from.
#[async_trait]
pub(super) trait IdTokens: Send + Sync + 'static {
    /// Gets an identity token that is meant for `audience`. This is called anew for every token request, since identity
    /// tokens live for minutes only.
    async fn id_token(&self, settings: &Settings, audience: &str) -> Result<SecretString, AuthError>;
}

/// Signs in with the identity tokens of a source.
pub(super) fn sign_in(settings: &Arc<Settings>, id_tokens: impl IdTokens) -> Outcome {
    let exchange = Exchange { settings: Arc::clone(settings), id_tokens, endpoint: OnceCell::new() };
    Bearer::sign_in(exchange, settings)
}

struct Exchange<I> {
    settings: Arc<Settings>,
    id_tokens: I,
    endpoint: OnceCell<String>,
}

#[async_trait]
impl<I: IdTokens> Source for Exchange<I> {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let settings = &*self.settings;
        let endpoint = self.endpoint.get_or_try_init(|| oidc::token_endpoint(settings)).await?;
        let id_token = self.id_tokens.id_token(settings, audience(settings, endpoint)).await?;
        let attributes = &settings.config.attributes;
        let scope = oidc::scope(settings);
        let mut fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("scope", &scope),
            ("subject_token", id_token.expose_secret()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        // Without a client id, the policy of the account decides whom the identity stands for.
        if let Some(id) = &attributes.client_id {
            fields.push(("client_id", id));
        }
        if let Some(group) = &attributes.group_id {
            fields.push(("assume_group", group));
        }
        let form = token_request::form(&fields);
        let what = format!("POST {endpoint}");
        let answer: TokenAnswer =
            token_request::send(settings, &what, || token_request::post_form(settings, endpoint, &form))
                .await?;
        answer.token(&what, settings)
    }
}

/// The audience that an identity token must name.
fn audience<'a>(settings: &'a Settings, endpoint: &'a str) -> &'a str {
    let metadata = &settings.metadata;
    let account = metadata.account_id.as_deref().filter(|_| metadata.host_type != HostType::Workspace);
    metadata.audience.as_deref().or(account).unwrap_or(endpoint)
}

#[cfg(test)]
mod tests {
    use crate::env::Env;
    use crate::strategies::testing::{Answer, Clock, Server, env, settings, sign_in, workspace};

    const EXCHANGE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&scope=all-apis&subject_token=jwt\
                            &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt";

    #[tokio::test]
    async fn an_identity_token_is_exchanged() {
        let token = [("DATABRICKS_OIDC_TOKEN", "jwt")];
        for (more, tail) in [
            (vec![], ""),
            (vec![("clientId", "app/1")], "&client_id=app%2F1"),
            (vec![("clientId", "app"), ("groupId", "g")], "&client_id=app&assume_group=g"),
        ] {
            let server = workspace().await;
            let stated = [vec![("host", server.url.as_str())], more].concat();
            let settings = settings(&stated, env(&token), Clock::hasty()).await;
            let credentials = sign_in(&settings, "env-oidc").await.unwrap();
            assert_eq!(credentials.headers().await.unwrap()["authorization"], "Bearer token-1");
            let seen = server.seen();
            assert_eq!(seen[1].body, format!("{EXCHANGE}{tail}"));
            assert_eq!(seen[1].header("authorization"), "");
        }
    }

    /// The request to GitHub, with the audience, where the host describes itself with this metadata.
    async fn audience(metadata: &'static str, more: &[(&str, &str)]) -> String {
        let server = Server::start(move |seen, url| match seen.path.as_str() {
            "/.well-known/databricks-config" => Answer::json(metadata),
            path if path.starts_with("/github") => Answer::json(r#"{"value":"jwt"}"#),
            path if path.ends_with("/oauth-authorization-server") => {
                Answer::json(format!(r#"{{"token_endpoint":"{url}/token"}}"#))
            }
            _ => Answer::json(r#"{"access_token":"t"}"#),
        })
        .await;
        let github = format!("{}/github", server.url);
        let stated = [
            &[
                ("host", server.url.as_str()),
                ("actionsIdTokenRequestUrl", &github),
                ("actionsIdTokenRequestToken", "request-token"),
            ],
            more,
        ]
        .concat();
        let settings = settings(&stated, Env::default(), Clock::hasty()).await;
        sign_in(&settings, "github-oidc").await.unwrap().headers().await.unwrap();
        let seen = server.seen().into_iter().find(|seen| seen.path.starts_with("/github")).unwrap();
        seen.path.replace(&server.url.replace(':', "%3A").replace('/', "%2F"), "HOST")
    }

    #[tokio::test]
    async fn the_audience_is_stated_or_the_account_or_the_endpoint() {
        let account = r#"{"host_type":"account","account_id":"acc"}"#;
        let workspace = r#"{"host_type":"workspace","account_id":"acc","workspace_id":"1"}"#;
        let federated = r#"{"host_type":"workspace","token_federation_default_oidc_audiences":["fed"]}"#;
        assert_eq!(audience(account, &[("audience", "a&b")]).await, "/github?audience=a%26b");
        assert_eq!(audience(federated, &[]).await, "/github?audience=fed");
        assert_eq!(audience(account, &[]).await, "/github?audience=acc");
        assert_eq!(audience(workspace, &[]).await, "/github?audience=HOST%2Ftoken");
    }
}
