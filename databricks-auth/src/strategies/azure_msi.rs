use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Outcome;
use super::azure::{Identity, Login};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::Token;
use crate::token_request::{self, TokenAnswer};
use crate::transport::{HttpClient, url_with_parameters};

/// How long the metadata service of the machine may take to answer.
const MACHINE_TIMEOUT: Duration = Duration::from_secs(10);

/// The managed identity of the Azure machine that this runs on.
pub(super) struct AzureMsi;

#[async_trait]
impl Login for AzureMsi {
    fn name(&self) -> &'static str {
        "azure-msi"
    }

    async fn identity(&self, settings: &Arc<Settings>) -> Result<Outcome<Arc<dyn Identity>>, AuthError> {
        if !settings.config.attributes.azure_use_msi {
            return Ok(Outcome::NotConfigured("databricks:azureUseMsi is not set".to_owned()));
        }
        // A proxy would give its own identity.
        let http = HttpClient::direct(&settings.config)?;
        Ok(Outcome::Ready(Arc::new(Machine { settings: Arc::clone(settings), http })))
    }
}

struct Machine {
    settings: Arc<Settings>,
    http: HttpClient,
}

#[async_trait]
impl Identity for Machine {
    async fn token(&self, resource: &str) -> Result<Token, AuthError> {
        let address = format!("{}/metadata/identity/oauth2/token", self.settings.services.machine);
        let what = format!("managed identity token request to {address}");
        let client = self.settings.config.attributes.azure_client_id.as_deref().map(|id| ("client_id", id));
        let parameters =
            [("api-version", "2018-02-01")].into_iter().chain(client).chain([("resource", resource)]);
        let parameters: Vec<_> = parameters.collect();
        let url = url_with_parameters(&address, &parameters)
            .map_err(|error| AuthError(format!("{what}: {error}")))?;
        let request = || self.http.get(&url).header("metadata", "true").timeout(MACHINE_TIMEOUT);
        token_request::send::<TokenAnswer>(&self.settings, &what, request).await?.token(&what, &self.settings)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::env::Env;
    use crate::strategies::testing::{self, Answer, Clock, Server};
    use crate::strategies::{azure, choose};

    /// Answers with a token that names the resource it is for.
    async fn machine() -> Server {
        Server::start(|seen, _| {
            let resource = seen.path.rsplit('=').next().unwrap_or_default();
            Answer::json(format!(
                r#"{{"token_type":"Bearer","access_token":"for {resource}","expires_on":"1800003600"}}"#
            ))
        })
        .await
    }

    #[tokio::test]
    async fn a_machine_signs_in_with_two_tokens_and_names_the_workspace() {
        let server = machine().await;
        let stated = [
            ("host", server.url.as_str()),
            ("azureUseMsi", "true"),
            ("azureClientId", "who"),
            ("azureWorkspaceResourceId", "/subscriptions/s/workspaces/w"),
        ];
        let services = testing::services(&server.url);
        let settings = testing::settings_at(&stated, Env::default(), Clock::still(), services).await;
        let chosen = choose(&settings).await.unwrap();
        assert_eq!(chosen.name, "azure-msi");
        let headers = chosen.credentials.headers().await.unwrap();
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["authorization"], "Bearer for 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d");
        let management = &headers["x-databricks-azure-sp-management-token"];
        assert_eq!(management, "for https%3A%2F%2Fmanagement.core.windows.net%2F");
        assert!(headers["authorization"].is_sensitive() && management.is_sensitive());
        assert_eq!(headers["x-databricks-azure-workspace-resource-id"], "/subscriptions/s/workspaces/w");

        let seen = server.seen();
        let ask = "/machine/metadata/identity/oauth2/token?api-version=2018-02-01&client_id=who&resource=";
        let asked: Vec<_> = seen.iter().map(|seen| (seen.method.as_str(), seen.path.as_str())).collect();
        assert_eq!(
            asked,
            [
                ("GET", format!("{ask}2ff814a6-3304-4ab8-85cb-cd0e6f879c1d").as_str()),
                ("GET", format!("{ask}https%3A%2F%2Fmanagement.core.windows.net%2F").as_str()),
            ]
        );
        assert!(seen.iter().all(|seen| seen.header("metadata") == "true"));
    }

    #[tokio::test]
    async fn tokens_count_as_expired_before_the_workspace_refuses_them() {
        let server = machine().await;
        let stated = [("host", server.url.as_str()), ("azureUseMsi", "true")];
        let services = testing::services(&server.url);
        let settings = testing::settings_at(&stated, Env::default(), Clock::still(), services).await;
        let Ok(Outcome::Ready(identity)) = AzureMsi.identity(&settings).await else {
            panic!("not configured")
        };
        let token = crate::token_cache::Source::fetch(&azure::Source::new(&identity, "it")).await.unwrap();
        assert_eq!(token.value.expose_secret(), "for it");
        assert_eq!(token.expires, Some(testing::start() + Duration::from_secs(3600 - 40)));
    }

    #[tokio::test]
    async fn it_says_why_it_does_not_apply() {
        for (stated, reason) in [
            (
                vec![("host", "http://127.0.0.1:1"), ("cloud", "Azure")],
                "\nNot configured: pat, basic, oauth-m2m, metadata-service, github-oidc, env-oidc, file-oidc, \
                 github-oidc-azure, azure-msi, ",
            ),
            (
                vec![("host", "http://127.0.0.1:1"), ("azureUseMsi", "true")],
                "azure-msi: http://127.0.0.1:1 is not on Azure; if it is, set databricks:cloud to Azure",
            ),
        ] {
            let settings = testing::settings(&stated, Env::default(), Clock::still()).await;
            let error = choose(&settings).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
