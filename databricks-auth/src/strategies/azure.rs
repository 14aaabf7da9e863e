//! What the strategies for Azure share: whoever has Microsoft Entra ID tokens can sign in to a workspace with two of
//! them, and find the workspace's host by its Azure resource id.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{AccessToken, Credentials, Outcome, Strategy, elsewhere, in_order};
use crate::azure_environments::{Environment, PUBLIC};
use crate::config::{Cloud, Host};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::{self, Cache, Token};
use crate::token_request;
use crate::transport::authorization;
use crate::transport::sensitive;

/// Names under which Entra ID knows Databricks, by the end of the host name; any other host has the last.
const APPLICATIONS: &[(&str, &str)] = &[
    (".dev.azuredatabricks.net", "62a912ac-b58e-4c1d-89ea-b2dbfc7358fc"),
    (".staging.azuredatabricks.net", "4a67d088-db5c-48f1-9ff2-0aace800ae68"),
    ("", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"),
];

/// Databricks refuses tokens that are about to expire, so they are taken for expired a little earlier.
const MARGIN: Duration = Duration::from_secs(40);

const MANAGEMENT_HEADER: HeaderName = HeaderName::from_static("x-databricks-azure-sp-management-token");
const RESOURCE_HEADER: HeaderName = HeaderName::from_static("x-databricks-azure-workspace-resource-id");

/// A way to identify oneself to Azure. Each one is also a strategy.
#[async_trait]
pub(super) trait Login: Sync {
    /// Name, as in `databricks:authType`.
    fn name(&self) -> &'static str;

    /// See [`Strategy::is_ambient`].
    fn is_ambient(&self) -> bool {
        false
    }

    /// Whether requests go out without the token for Azure's own management where it cannot be had.
    fn management_is_optional(&self) -> bool {
        false
    }

    /// Looks at the configuration. The host may not be known yet.
    async fn identity(&self, settings: &Arc<Settings>) -> Result<Outcome<Arc<dyn Identity>>, AuthError>;
}

/// Somebody whom Entra ID knows.
#[async_trait]
pub(super) trait Identity: Send + Sync {
    /// Gets a new token for the service of Azure that has this application id or URL.
    async fn token(&self, resource: &str) -> Result<Token, AuthError>;
}

#[async_trait]
impl<T: Login> Strategy for T {
    fn name(&self) -> &'static str {
        Login::name(self)
    }

    fn is_ambient(&self, _settings: &Settings) -> bool {
        Login::is_ambient(self)
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        if let Some(reason) = not_azure(settings) {
            return Ok(elsewhere(settings, "azure", reason));
        }
        let identity = match self.identity(settings).await?.ready() {
            Ok(identity) => identity,
            Err(other) => return Ok(other),
        };
        let workspace = tokens(settings, &identity, application(settings));
        // This token is requested first: without it, there is no need for the other.
        workspace.token().await?;
        let management = tokens(settings, &identity, environment(settings)?.service_management);
        let management = match management.token().await {
            Ok(_) => Some(management),
            Err(error) if self.management_is_optional() => {
                tracing::debug!(%error, "going without a token for Azure's management");
                None
            }
            Err(error) => return Err(error),
        };
        let resource = settings.config.attributes.azure_workspace_resource_id.as_deref();
        let resource = resource.map(resource_header).transpose()?;
        Ok(Outcome::Ready(Arc::new(Signed { workspace, management, resource })))
    }

    fn azure(&self) -> Option<&dyn Login> {
        Some(self)
    }
}

/// The headers of a workspace on Azure.
struct Signed {
    workspace: Cache<Source>,
    management: Option<Cache<Source>>,
    resource: Option<HeaderValue>,
}

#[async_trait]
impl Credentials for Signed {
    async fn headers(&self) -> Result<HeaderMap, AuthError> {
        let token = self.workspace.token().await?;
        let mut headers = authorization(&token.kind, token.value.expose_secret())?;
        if let Some(management) = &self.management {
            let token = management.token().await?;
            headers.insert(MANAGEMENT_HEADER, sensitive(token.value.expose_secret())?);
        }
        if let Some(resource) = &self.resource {
            headers.insert(RESOURCE_HEADER, resource.clone());
        }
        Ok(headers)
    }

    async fn access_token(&self) -> Result<Option<AccessToken>, AuthError> {
        Ok(Some(AccessToken::from(&*self.workspace.token().await?)))
    }

    fn renew(&self, refused: &HeaderMap) -> bool {
        self.workspace.drop_token(refused.get(AUTHORIZATION));
        if let Some(management) = &self.management {
            management.drop_token(refused.get(MANAGEMENT_HEADER));
        }
        true
    }
}

/// The tokens of one identity for one service.
pub(super) struct Source {
    identity: Arc<dyn Identity>,
    resource: String,
}

impl Source {
    pub(super) fn new(identity: &Arc<dyn Identity>, resource: &str) -> Self {
        Source { identity: Arc::clone(identity), resource: resource.to_owned() }
    }
}

#[async_trait]
impl token_cache::Source for Source {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let mut token = self.identity.token(&self.resource).await?;
        token.expires = token.expires.map(|expires| expires - MARGIN);
        Ok(token)
    }
}

pub(super) fn tokens(settings: &Settings, identity: &Arc<dyn Identity>, resource: &str) -> Cache<Source> {
    Cache::new(Source::new(identity, resource), Arc::clone(&settings.clock))
}

/// Why a workspace is not one of Azure, if it is not.
pub(super) fn not_azure(settings: &Settings) -> Option<String> {
    let host = settings.config.host.as_ref().map_or("the host", |host| &host.url);
    (settings.metadata.cloud != Cloud::Azure)
        .then(|| format!("{host} is not on Azure; if it is, set databricks:cloud to Azure"))
}

/// The name under which Entra ID knows the workspace.
pub(super) fn application(settings: &Settings) -> &'static str {
    let host = settings.config.host.as_ref();
    APPLICATIONS
        .iter()
        .find(|(suffix, _)| suffix.is_empty() || host.is_some_and(|host| host.name_ends_with(suffix)))
        .map_or("", |(_, application)| application)
}

/// The cloud of the workspace: the one that its host name shows, or else the configured one.
pub(super) fn environment(settings: &Settings) -> Result<&Environment, AuthError> {
    let environments = &settings.services.azure;
    let host = settings.config.host.as_ref();
    if let Some(known) = environments.iter().find(|it| host.is_some_and(|host| host.name_ends_with(it.hosts)))
    {
        return Ok(known);
    }
    let name = settings.config.attributes.azure_environment.as_deref().unwrap_or(PUBLIC);
    environments.iter().find(|it| it.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let names: Vec<_> = environments.iter().map(|it| it.name).collect();
        AuthError(format!("databricks:azureEnvironment is {name:?}; it is one of {}", names.join(", ")))
    })
}

fn resource_header(id: &str) -> Result<HeaderValue, AuthError> {
    HeaderValue::from_str(id).map_err(|_| {
        AuthError(
            "databricks:azureWorkspaceResourceId holds a character that no HTTP header can carry".to_owned(),
        )
    })
}

/// Finds the host of the workspace that is configured by its Azure resource id alone.
pub(crate) async fn find_host(settings: &Arc<Settings>) -> Result<Host, AuthError> {
    let config = &settings.config;
    let forced = config.attributes.auth_type.as_deref();
    let mut tried = String::new();
    for strategy in in_order(settings).filter(|it| forced.is_none_or(|name| name == it.name())) {
        let Some(login) = strategy.azure() else { continue };
        let reason = match login.identity(settings).await {
            Ok(Outcome::Ready(identity)) => match ask_for_host(settings, &*identity).await {
                Ok(host) => {
                    tracing::debug!(%host, strategy = strategy.name(), "found the host of an Azure resource");
                    return Ok(host);
                }
                Err(error) => Err(error),
            },
            Ok(
                Outcome::NotConfigured(reason) | Outcome::DoesNotApply(reason) | Outcome::Incomplete(reason),
            ) => Ok(reason),
            Err(error) => Err(error),
        };
        let is_final = reason.is_err() && !strategy.is_ambient(settings);
        let reason = reason.unwrap_or_else(|error| error.0);
        tried.push_str(&format!("\n  {}: {reason}", strategy.name()));
        // As in signing in, no other identity takes the place of one that is configured and fails.
        if is_final {
            break;
        }
    }
    let ways = if tried.is_empty() { String::new() } else { format!("\nWays that were tried:{tried}") };
    Err(AuthError(format!(
        "{}{ways}",
        config.error(
            "resolve host: cannot find the host of the workspace by databricks:azureWorkspaceResourceId. Set \
             databricks:host to the workspace's URL, or sign in to Azure with azure-msi, azure-client-secret or \
             azure-cli"
        )
    )))
}

#[derive(Deserialize)]
struct Workspace {
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    workspace_url: String,
}

/// Asks Azure Resource Manager for the host.
async fn ask_for_host(settings: &Settings, identity: &dyn Identity) -> Result<Host, AuthError> {
    let manager = &environment(settings)?.resource_manager;
    let id = settings.config.attributes.azure_workspace_resource_id.as_deref().unwrap_or_default();
    if !id.starts_with("/subscriptions/") || id.contains(['?', '#']) {
        return Err(AuthError(
            "databricks:azureWorkspaceResourceId is not the resource id of a workspace, such as \
             /subscriptions/…/resourceGroups/…/providers/Microsoft.Databricks/workspaces/…"
                .to_owned(),
        ));
    }
    let token = identity.token(manager).await?;
    let headers = authorization(&token.kind, token.value.expose_secret())?;
    let url = format!("{}{id}?api-version=2018-04-01", manager.trim_end_matches('/'));
    let what = format!("resolve workspace: GET {}{id}", manager.trim_end_matches('/'));
    let workspace: Workspace =
        token_request::send(settings, &what, || settings.http.get(&url).headers(headers.clone())).await?;
    Host::parse(&format!("https://{}", workspace.properties.workspace_url))
        .map_err(|_| AuthError(format!("{what}: the answer names no host")))
}

/// URL of Entra ID's token endpoint for the configured tenant.
pub(super) fn token_url(settings: &Settings) -> Result<String, AuthError> {
    let tenant = settings.config.attributes.azure_tenant_id.as_deref().unwrap_or_default();
    if !is_plain(tenant) {
        return Err(AuthError("databricks:azureTenantId is not the id or the domain of a tenant".to_owned()));
    }
    Ok(format!("{}/{tenant}/oauth2/token", environment(settings)?.entra))
}

/// Whether a text can be part of a URL and an argument of a command as it is.
pub(super) fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().all(plain) && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Statements};
    use crate::env::Env;
    use crate::strategies::testing::{self, Answer, Clock, Seen, Server};
    use crate::unified_auth::UnifiedAuth;

    const ID: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w";

    async fn settings(stated: &[(&str, &str)]) -> Arc<Settings> {
        testing::settings(stated, Env::default(), Clock::still()).await
    }

    #[tokio::test]
    async fn the_host_tells_the_application_and_the_environment() {
        const PRODUCTION: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
        let base = settings(&[]).await;
        for (host, stated, application_id, name) in [
            ("https://adb-1.2.azuredatabricks.net", None, PRODUCTION, "PUBLIC"),
            (
                "https://adb-1.2.dev.azuredatabricks.net",
                None,
                "62a912ac-b58e-4c1d-89ea-b2dbfc7358fc",
                "PUBLIC",
            ),
            (
                "https://adb-1.2.staging.azuredatabricks.net",
                None,
                "4a67d088-db5c-48f1-9ff2-0aace800ae68",
                "PUBLIC",
            ),
            ("https://adb-1.2.databricks.azure.us", Some("china"), PRODUCTION, "USGOVERNMENT"),
            ("https://adb-1.2.databricks.azure.cn", None, PRODUCTION, "CHINA"),
            ("https://vanity.example.com", None, PRODUCTION, "PUBLIC"),
            ("https://vanity.example.com", Some("usgovernment"), PRODUCTION, "USGOVERNMENT"),
        ] {
            let mut config = base.config.at(Host::parse(host).unwrap());
            config.attributes.azure_environment = stated.map(str::to_owned);
            let settings = Settings { config, ..with_clones(&base) };
            assert_eq!(application(&settings), application_id, "{host}");
            assert_eq!(environment(&settings).unwrap().name, name, "{host} {stated:?}");
        }
    }

    fn with_clones(base: &Settings) -> Settings {
        Settings {
            config: base.config.clone(),
            env: base.env.clone(),
            metadata: base.metadata.clone(),
            http: base.http.clone(),
            clock: Arc::clone(&base.clock),
            services: base.services.clone(),
        }
    }

    #[tokio::test]
    async fn an_unknown_environment_is_named() {
        let settings = settings(&[("azureEnvironment", "MOON")]).await;
        let error = environment(&settings).err().unwrap().to_string();
        assert_eq!(
            error,
            "databricks:azureEnvironment is \"MOON\"; it is one of PUBLIC, USGOVERNMENT, CHINA"
        );
    }

    /// Entra ID and Azure Resource Manager in one.
    fn azure(seen: &Seen, _: &str) -> Answer {
        match (seen.method.as_str(), seen.path.split('?').next().unwrap_or_default()) {
            ("POST", path) if path.ends_with("/tenant/oauth2/token") => {
                Answer::json(r#"{"access_token":"manager","token_type":"Bearer","expires_in":"3599"}"#)
            }
            ("GET", path)
                if path.ends_with("/workspaces/w") && seen.header("authorization") == "Bearer manager" =>
            {
                Answer::json(r#"{"properties":{"workspaceUrl":"127.0.0.1:1"}}"#)
            }
            _ => Answer::status(404),
        }
    }

    fn client(stated: &[(&str, &str)], server: &Server) -> UnifiedAuth {
        let stated: Statements =
            stated.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let mut config = Config::resolve(&stated, &Env::default()).unwrap();
        config.attributes.skip_verify = true;
        UnifiedAuth::new(config, Env::default(), Arc::new(Clock::hasty()))
            .with_services(testing::services(&server.url))
    }

    const PRINCIPAL: [(&str, &str); 3] =
        [("azureClientId", "who"), ("azureClientSecret", "geheim"), ("azureTenantId", "tenant")];

    #[tokio::test]
    async fn a_workspace_is_found_by_its_resource_id() {
        let server = Server::start(azure).await;
        let mut stated = PRINCIPAL.to_vec();
        stated.extend([("azureWorkspaceResourceId", ID), ("azureEnvironment", "USGOVERNMENT")]);
        let client = client(&stated, &server);
        assert!(client.config().check_host().is_ok());
        assert!(server.seen().is_empty());
        assert_eq!(client.endpoint().await.unwrap().host.url, "https://127.0.0.1:1");
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].path, "/entra/USGOVERNMENT/tenant/oauth2/token");
        let manager = form_urlencoded::byte_serialize(format!("{}/arm/USGOVERNMENT/", server.url).as_bytes())
            .collect::<String>();
        assert_eq!(seen[0].body, format!("grant_type=client_credentials&resource={manager}"));
        assert_eq!(seen[1].path, format!("/arm/USGOVERNMENT{ID}?api-version=2018-04-01"));
    }

    #[tokio::test]
    async fn only_the_stated_way_to_sign_in_looks_for_the_workspace() {
        let server = Server::start(azure).await;
        let stated =
            |way| [PRINCIPAL.as_slice(), &[("azureWorkspaceResourceId", ID), ("authType", way)]].concat();
        assert!(client(&stated("azure-client-secret"), &server).endpoint().await.is_ok());
        let asked = server.seen().len();
        for way in ["pat", "azure-msi"] {
            let Err(error) = client(&stated(way), &server).endpoint().await else { panic!("found") };
            assert!(!error.to_string().contains("azure-client-secret: "), "{error}");
        }
        assert!(server.seen()[asked..].iter().all(|seen| !seen.path.contains("/tenant/")));
    }

    #[tokio::test]
    async fn a_workspace_that_is_not_found_is_an_error_that_helps() {
        let server = Server::start(azure).await;
        for (stated, reason) in [
            (
                [PRINCIPAL.as_slice(), &[("azureWorkspaceResourceId", "/subscriptions/s/other")]].concat(),
                "azure-client-secret: resolve workspace: GET http://",
            ),
            (
                [PRINCIPAL.as_slice(), &[("azureWorkspaceResourceId", "w")]].concat(),
                "is not the resource id of a workspace, such as /subscriptions/",
            ),
            (
                vec![("azureWorkspaceResourceId", ID), ("azureUseMsi", "false")],
                "azure-cli: the Azure CLI (`az`) is not on the PATH",
            ),
            (
                vec![("azureWorkspaceResourceId", ID), ("authType", "pat")],
                "Set databricks:host to the workspace's URL",
            ),
        ] {
            let client = client(&stated, &server);
            assert!(client.config().check_host().is_ok());
            let Err(error) = client.endpoint().await else { panic!("found") };
            let error = error.to_string();
            assert!(error.starts_with("resolve host: "), "{error}");
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[tokio::test]
    async fn nothing_says_which_workspace() {
        let server = Server::start(azure).await;
        let error = client(&[("cloud", "Azure")], &server).config().check_host().unwrap_err().to_string();
        assert!(error.starts_with("no host configured"), "{error}");
    }
}
