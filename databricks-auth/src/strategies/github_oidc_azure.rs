use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;

use super::azure::{self, Identity, token_url};
use super::{Bearer, Outcome, Strategy, elsewhere, github_oidc, missing, unset};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::Token;
use crate::token_request::{self, TokenAnswer};

/// An application of Azure that trusts the identity of a GitHub workflow.
pub(super) struct GithubOidcAzure;

/// The audience that Entra ID requires in identity tokens.
const AUDIENCE: &str = "api://AzureADTokenExchange";

#[async_trait]
impl Strategy for GithubOidcAzure {
    fn name(&self) -> &'static str {
        "github-oidc-azure"
    }

    /// Where the application can sign in in another way, a workflow only happens to be there.
    fn is_ambient(&self, settings: &Settings) -> bool {
        let attributes = &settings.config.attributes;
        let has_another_way = attributes.azure_client_secret.is_some() || attributes.azure_use_msi;
        has_another_way && github_oidc::comes_from_github(settings)
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let attributes = &settings.config.attributes;
        let needed = [
            ("databricks:azureClientId", attributes.azure_client_id.is_some()),
            ("databricks:azureTenantId", attributes.azure_tenant_id.is_some()),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", attributes.actions_id_token_request_url.is_some()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", attributes.actions_id_token_request_token.is_some()),
        ];
        if needed.iter().any(|(_, is_set)| !is_set) {
            // A workflow may have the variables for other uses.
            let is_meant = settings.config.names_method("azure");
            return Ok(if is_meant { missing(&needed) } else { Outcome::NotConfigured(unset(&needed)) });
        }
        if let Some(reason) = azure::not_azure(settings) {
            return Ok(elsewhere(settings, "azure", reason));
        }
        let identity: Arc<dyn Identity> =
            Arc::new(Workflow { settings: Arc::clone(settings), url: token_url(settings)? });
        let tokens = azure::tokens(settings, &identity, azure::application(settings));
        Ok(Outcome::Ready(Arc::new(Bearer(tokens))))
    }
}

struct Workflow {
    settings: Arc<Settings>,
    url: String,
}

#[async_trait]
impl Identity for Workflow {
    async fn token(&self, resource: &str) -> Result<Token, AuthError> {
        // GitHub's token lasts minutes, so every exchange gets its own.
        let assertion = github_oidc::id_token(&self.settings, AUDIENCE).await?;
        let client = self.settings.config.attributes.azure_client_id.as_deref().unwrap_or_default();
        let form = token_request::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("resource", resource),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.expose_secret()),
        ]);
        let what = format!("token request to {}", self.url);
        let request =
            || token_request::post_form(&self.settings, &self.url, &form).timeout(Duration::from_secs(10));
        token_request::send::<TokenAnswer>(&self.settings, &what, request).await?.token(&what, &self.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::strategies::choose;
    use crate::strategies::testing::{self, Answer, Clock, Server};

    /// GitHub, which never issues the same identity token twice, and Entra ID.
    async fn services() -> Server {
        let issued = std::sync::atomic::AtomicU32::default();
        Server::start(move |seen, _| match seen.path.starts_with("/github") {
            true => {
                let number = issued.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Answer::json(format!(r#"{{"value":"identity-{number}"}}"#))
            }
            false => Answer::json(format!(
                r#"{{"access_token":"for {}","token_type":"Bearer","expires_on":1800003600}}"#,
                seen.body.rsplit('=').next().unwrap_or_default()
            )),
        })
        .await
    }

    #[tokio::test]
    async fn a_workflow_signs_in_with_a_new_identity_token_for_every_token() {
        let server = services().await;
        let url = format!("{}/github?api-version=2.0", server.url);
        let stated = [
            ("host", server.url.as_str()),
            ("cloud", "Azure"),
            ("authType", "github-oidc-azure"),
            ("azureClientId", "who"),
            ("azureTenantId", "tenant"),
            ("azureWorkspaceResourceId", "/subscriptions/s/x"),
            ("actionsIdTokenRequestUrl", &url),
            ("actionsIdTokenRequestToken", "ask"),
        ];
        let clock = Clock::still();
        let services = testing::services(&server.url);
        let settings = testing::settings_at(&stated, Env::default(), clock.clone(), services).await;
        let chosen = choose(&settings).await.unwrap();
        let headers = chosen.credentials.headers().await.unwrap();
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["authorization"]);
        assert_eq!(headers["authorization"], "Bearer for identity-0");
        clock.advance(Duration::from_secs(3600));
        let headers = chosen.credentials.headers().await.unwrap();
        assert_eq!(headers["authorization"], "Bearer for identity-1");

        let seen = server.seen();
        assert_eq!(seen[0].path, "/github?api-version=2.0&audience=api%3A%2F%2FAzureADTokenExchange");
        assert_eq!(seen[0].header("authorization"), "Bearer ask");
        assert_eq!(
            (seen[1].method.as_str(), seen[1].path.as_str()),
            ("POST", "/entra/PUBLIC/tenant/oauth2/token")
        );
        assert_eq!(seen[1].header("authorization"), "");
        assert_eq!(
            seen[1].body,
            "grant_type=client_credentials&client_id=who&resource=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d&\
             client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&\
             client_assertion=identity-0"
        );
    }

    #[tokio::test]
    async fn it_says_why_it_does_not_apply() {
        let github =
            [("actionsIdTokenRequestUrl", "http://127.0.0.1:1"), ("actionsIdTokenRequestToken", "ask")];
        let azure = [("azureClientId", "who"), ("azureTenantId", "tenant")];
        for (stated, reason) in [
            (github.to_vec(), "databricks:azureClientId and databricks:azureTenantId are not set"),
            (azure.to_vec(), "ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN are not set"),
            ([github, azure].concat(), "http://127.0.0.1:1 is not on Azure"),
        ] {
            let stated = [stated.as_slice(), &[("host", "http://127.0.0.1:1")]].concat();
            let settings = testing::settings(&stated, Env::default(), Clock::still()).await;
            let said = testing::sign_in(&settings, "github-oidc-azure").await.err().unwrap().0;
            assert!(said.starts_with(reason), "{said}");
        }
    }
}
