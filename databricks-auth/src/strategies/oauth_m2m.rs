use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::{Bearer, Outcome, Strategy, half, oidc};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::{Source, Token};
use crate::token_request::{self, Refusal, TokenAnswer};

/// A Databricks service principal with an OAuth secret.
pub(super) struct OAuthM2m;

#[async_trait]
impl Strategy for OAuthM2m {
    fn name(&self) -> &'static str {
        "oauth-m2m"
    }

    fn assumes_groups(&self) -> bool {
        true
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let attributes = &settings.config.attributes;
        let (Some(id), Some(secret)) = (&attributes.client_id, &attributes.client_secret) else {
            return Ok(half(&[
                ("databricks:clientId", attributes.client_id.is_some()),
                ("databricks:clientSecret", attributes.client_secret.is_some()),
            ]));
        };
        let client = Client {
            settings: Arc::clone(settings),
            id: id.clone(),
            secret: secret.clone(),
            endpoint: OnceCell::new(),
        };
        Ok(Bearer::sign_in(client, settings))
    }
}

struct Client {
    settings: Arc<Settings>,
    id: String,
    secret: SecretString,
    endpoint: OnceCell<String>,
}

#[async_trait]
impl Source for Client {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let endpoint = self.endpoint.get_or_try_init(|| oidc::token_endpoint(&self.settings)).await;
        let endpoint = endpoint.map_err(|error| AuthError(format!("oidc: {error}")))?;
        let scope = oidc::scope(&self.settings);
        let mut fields = vec![("scope", scope.as_str())];
        if let Some(group) = &self.settings.config.attributes.group_id {
            fields.push(("assume_group", group));
        }
        let answer = ask(&self.settings, endpoint, &self.id, &self.secret, &fields).await;
        let answer = answer.map_err(|refusal| AuthError(refusal.reason))?;
        answer.token(&format!("POST {endpoint}"), &self.settings)
    }
}

async fn ask(
    settings: &Settings,
    endpoint: &str,
    id: &str,
    secret: &SecretString,
    fields: &[(&str, &str)],
) -> Result<TokenAnswer, Refusal> {
    let form = token_request::form(&[&[("grant_type", "client_credentials")], fields].concat());
    let headers = token_request::client_authorization(id, secret.expose_secret())
        .map_err(|AuthError(reason)| Refusal { status: None, reason })?;
    token_request::try_send(settings, &format!("POST {endpoint}"), || {
        token_request::post_form(settings, endpoint, &form).headers(headers.clone())
    })
    .await
}

/// Requests a token with a secret. Returns the error of an endpoint that refuses the secret itself; any other failure
/// says nothing about the secret, and gives `None`.
pub(crate) async fn refusal(settings: &Settings, id: &str, secret: &SecretString) -> Option<AuthError> {
    let endpoint = oidc::token_endpoint(settings).await.ok()?;
    match ask(settings, &endpoint, id, secret, &[("scope", oidc::DEFAULT_SCOPE)]).await {
        Err(Refusal { status: Some(401), reason }) => Some(AuthError(reason)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use crate::env::Env;
    use crate::strategies::testing::{Answer, Clock, Server, settings, sign_in, workspace};

    #[tokio::test]
    async fn a_service_principal_gets_a_token_and_keeps_it() {
        let server = workspace().await;
        let clock = Clock::hasty();
        let stated = [("host", server.url.as_str()), ("clientId", "app"), ("clientSecret", "se/c+r t")];
        let settings = settings(&stated, Env::default(), clock.clone()).await;
        let credentials = sign_in(&settings, "oauth-m2m").await.unwrap();
        for _ in 0..2 {
            let headers = credentials.headers().await.unwrap();
            assert_eq!(headers["authorization"], "Bearer token-1");
            assert!(headers["authorization"].is_sensitive());
        }
        let seen = server.seen();
        assert_eq!(seen.len(), 2, "one discovery and one token");
        assert_eq!((seen[1].method.as_str(), seen[1].path.as_str()), ("POST", "/oidc/v1/token"));
        assert_eq!(
            seen[1].header("authorization"),
            format!("Basic {}", BASE64_STANDARD.encode("app:se%2Fc%2Br+t"))
        );
        assert!(seen.iter().all(|seen| seen.header("user-agent").starts_with("pulumi-resource-databricks/")));
        assert_eq!(seen[1].header("content-type"), "application/x-www-form-urlencoded");
        assert_eq!(seen[1].body, "grant_type=client_credentials&scope=all-apis");

        clock.advance(Duration::from_secs(3601));
        assert_eq!(credentials.headers().await.unwrap()["authorization"], "Bearer token-2");
        assert_eq!(server.seen().len(), 3, "the endpoint is known by now");
    }

    #[tokio::test]
    async fn scopes_and_a_group_are_asked_for() {
        let server = workspace().await;
        let stated = [
            ("host", server.url.as_str()),
            ("clientId", "app"),
            ("clientSecret", "s"),
            ("scopes", "sql,files,sql"),
            ("groupId", "g 1"),
        ];
        let settings = settings(&stated, Env::default(), Clock::hasty()).await;
        sign_in(&settings, "oauth-m2m").await.unwrap().headers().await.unwrap();
        assert_eq!(server.seen()[1].body, "grant_type=client_credentials&scope=files+sql&assume_group=g+1");
    }

    #[tokio::test]
    async fn a_host_without_oauth_is_called_so() {
        let server = Server::start(|_, _| Answer::status(404)).await;
        let stated = [("host", server.url.as_str()), ("clientId", "app"), ("clientSecret", "s")];
        let settings = settings(&stated, Env::default(), Clock::hasty()).await;
        let error = sign_in(&settings, "oauth-m2m").await.unwrap().headers().await.unwrap_err().0;
        assert!(error.starts_with("oidc: databricks OAuth is not supported for this host"), "{error}");
    }

    #[tokio::test]
    async fn the_missing_half_is_named() {
        for (stated, expected) in [
            (vec![], "databricks:clientId and databricks:clientSecret are not set"),
            (vec![("clientId", "app")], "databricks:clientSecret is not set"),
            (vec![("clientSecret", "s")], "databricks:clientId is not set"),
        ] {
            let settings = settings(&stated, Env::default(), Clock::hasty()).await;
            assert_eq!(sign_in(&settings, "oauth-m2m").await.err().unwrap().0, expected);
        }
    }
}
