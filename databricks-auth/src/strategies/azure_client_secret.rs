use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::azure::{Identity, Login, token_url};
use super::{Outcome, half, missing};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::Token;
use crate::token_request::{self, TokenAnswer};

/// A service principal of Azure, with its secret.
pub(super) struct AzureClientSecret;

#[async_trait]
impl Login for AzureClientSecret {
    fn name(&self) -> &'static str {
        "azure-client-secret"
    }

    async fn identity(&self, settings: &Arc<Settings>) -> Result<Outcome<Arc<dyn Identity>>, AuthError> {
        let attributes = &settings.config.attributes;
        let (Some(id), Some(secret), Some(_)) =
            (&attributes.azure_client_id, &attributes.azure_client_secret, &attributes.azure_tenant_id)
        else {
            let needed = [
                ("databricks:azureClientId", attributes.azure_client_id.is_some()),
                ("databricks:azureClientSecret", attributes.azure_client_secret.is_some()),
                ("databricks:azureTenantId", attributes.azure_tenant_id.is_some()),
            ];
            // Without the secret, the other two may be set for other ways to sign in.
            return Ok(if attributes.azure_client_secret.is_some() {
                half(&needed)
            } else {
                missing(&needed)
            });
        };
        Ok(Outcome::Ready(Arc::new(ServicePrincipal {
            url: token_url(settings)?,
            id: id.clone(),
            secret: secret.clone(),
            settings: Arc::clone(settings),
        })))
    }
}

struct ServicePrincipal {
    settings: Arc<Settings>,
    url: String,
    id: String,
    secret: SecretString,
}

#[async_trait]
impl Identity for ServicePrincipal {
    async fn token(&self, resource: &str) -> Result<Token, AuthError> {
        let what = format!("token request to {}", self.url);
        let secret = self.secret.expose_secret();
        let form = token_request::form(&[("grant_type", "client_credentials"), ("resource", resource)]);
        let headers = token_request::client_authorization(&self.id, secret)?;
        let request = || token_request::post_form(&self.settings, &self.url, &form).headers(headers.clone());
        let answer: TokenAnswer = match token_request::try_send(&self.settings, &what, request).await {
            Ok(answer) => answer,
            // Some endpoints accept client credentials only in the body.
            Err(refusal) if matches!(refusal.status, Some(400..=403)) => {
                let form = token_request::form(&[
                    ("client_id", &self.id),
                    ("client_secret", secret),
                    ("grant_type", "client_credentials"),
                    ("resource", resource),
                ]);
                let request = || token_request::post_form(&self.settings, &self.url, &form);
                token_request::send(&self.settings, &what, request).await?
            }
            Err(refusal) => return Err(AuthError(refusal.reason)),
        };
        answer.token(&what, &self.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::strategies::choose;
    use crate::strategies::testing::{self, Answer, Clock, Server};

    const STATED: [(&str, &str); 4] = [
        ("cloud", "Azure"),
        ("azureClientId", "who:1"),
        ("azureClientSecret", "se/c+r t"),
        ("azureTenantId", "tenant.example.com"),
    ];
    /// Encodes `who%3A1:se%2Fc%2Br+t`.
    const BASIC: &str = "Basic d2hvJTNBMTpzZSUyRmMlMkJyK3Q=";

    async fn settings(server: &Server) -> Arc<Settings> {
        let stated = [STATED.as_slice(), &[("host", &server.url)]].concat();
        testing::settings_at(&stated, Env::default(), Clock::hasty(), testing::services(&server.url)).await
    }

    const TOKEN: &str = r#"{"access_token":"t","token_type":"Bearer","expires_in":"3599","expires_on":"1"}"#;

    #[tokio::test]
    async fn a_service_principal_signs_in_with_two_tokens() {
        let server = Server::start(|_, _| Answer::json(TOKEN)).await;
        let chosen = choose(&settings(&server).await).await.unwrap();
        assert_eq!(chosen.name, "azure-client-secret");
        for _ in 0..3 {
            let headers = chosen.credentials.headers().await.unwrap();
            assert_eq!(headers.len(), 2);
            assert_eq!(headers["authorization"], "Bearer t");
            assert_eq!(headers["x-databricks-azure-sp-management-token"], "t");
        }
        let seen = server.seen();
        assert!(seen.iter().all(|seen| {
            seen.method == "POST"
                && seen.path == "/entra/PUBLIC/tenant.example.com/oauth2/token"
                && seen.header("authorization") == BASIC
                && seen.header("content-type") == "application/x-www-form-urlencoded"
        }));
        let bodies: Vec<_> = seen.iter().map(|seen| seen.body.as_str()).collect();
        assert_eq!(
            bodies,
            [
                "grant_type=client_credentials&resource=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
                "grant_type=client_credentials&resource=https%3A%2F%2Fmanagement.core.windows.net%2F",
            ]
        );
    }

    #[tokio::test]
    async fn credentials_go_into_the_body_where_the_header_is_refused() {
        let server = Server::start(|seen, _| match seen.header("authorization") {
            "" => Answer::json(TOKEN),
            _ => Answer::status(401),
        })
        .await;
        assert!(choose(&settings(&server).await).await.is_ok());
        assert_eq!(
            server.seen()[1].body,
            "client_id=who%3A1&client_secret=se%2Fc%2Br+t&grant_type=client_credentials&\
             resource=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"
        );
    }

    #[tokio::test]
    async fn a_busy_endpoint_is_asked_again_and_a_refusal_is_quoted_without_the_secret() {
        let server = Server::start(|_, _| Answer::status(429)).await;
        let error = choose(&settings(&server).await).await.unwrap_err().to_string();
        assert!(error.contains("/oauth2/token: 429"), "{error}");
        assert!(server.seen().len() > 2);

        let server = Server::start(|_, _| Answer {
            status: 401,
            ..Answer::json(
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid secret. Trace ID: 1\r\n2"}"#,
            )
        })
        .await;
        let error = choose(&settings(&server).await).await.unwrap_err().to_string();
        assert!(
            error.contains("401 invalid_client: AADSTS7000215: Invalid secret. It is configured"),
            "{error}"
        );
        assert!(!error.contains("se/c") && !error.contains("se%2F"), "{error}");
        assert_eq!(server.seen().len(), 2);
    }

    #[tokio::test]
    async fn only_a_refusal_is_answered_with_the_credentials_in_the_body() {
        for status in [404, 500] {
            let server = Server::start(move |_, _| Answer::status(status)).await;
            assert!(choose(&settings(&server).await).await.is_err());
            let seen = server.seen();
            assert!(
                !seen.is_empty() && seen.iter().all(|seen| !seen.body.contains("client_secret")),
                "{status}"
            );
        }
    }

    #[tokio::test]
    async fn a_service_principal_needs_the_token_for_management_too() {
        let server = Server::start(|seen, _| match seen.body.contains("management") {
            true => Answer::status(400),
            false => Answer::json(TOKEN),
        })
        .await;
        let error = choose(&settings(&server).await).await.unwrap_err().to_string();
        assert!(error.contains("/oauth2/token: 400"), "{error}");
    }

    #[tokio::test]
    async fn it_says_what_is_missing() {
        let server = Server::start(|_, _| Answer::status(404)).await;
        let stated = [("host", server.url.as_str()), ("cloud", "Azure"), ("azureClientId", "who")];
        let settings = testing::settings(&stated, Env::default(), Clock::still()).await;
        let error = choose(&settings).await.unwrap_err().to_string();
        let reason =
            "azure-client-secret: databricks:azureClientSecret and databricks:azureTenantId are not set";
        assert!(error.contains(reason), "{error}");
        assert!(server.seen().is_empty());
    }
}
