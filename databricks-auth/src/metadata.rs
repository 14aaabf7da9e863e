//! What a host says of itself.

use std::time::Duration;

use serde::Deserialize;

use crate::config::{Cloud, Config, Host};
use crate::transport::HttpClient;

/// How long the host may take to describe itself. It is asked once, and need not answer.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// What kind of host answers under a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostType {
    /// One workspace.
    #[default]
    Workspace,
    /// The account console.
    Account,
    /// Accounts and workspaces; the routing header tells which.
    Unified,
}

/// What a host says of itself at `/.well-known/databricks-config`, filled up from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// What kind of host it is.
    pub host_type: HostType,
    /// Account that the host belongs to.
    pub account_id: Option<String>,
    /// Workspace to act on: the configured one, or else the host's own.
    pub workspace_id: Option<String>,
    /// Workspace that the host serves by its own word, whatever the configuration says.
    pub own_workspace_id: Option<String>,
    /// Cloud that the host runs on.
    pub cloud: Cloud,
    /// Whom identity tokens are to be meant for.
    pub audience: Option<String>,
    /// Where the OAuth endpoints are described.
    pub discovery_url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    oidc_endpoint: Option<String>,
    account_id: Option<String>,
    workspace_id: Option<String>,
    cloud: Option<String>,
    host_type: Option<String>,
    token_federation_default_oidc_audiences: Vec<String>,
}

impl Metadata {
    /// Asks the host, once and briefly. No answer is no error: the configuration and the host's name decide then.
    pub async fn fetch(http: &HttpClient, config: &Config, host: &Host) -> Metadata {
        let url = format!("{}/.well-known/databricks-config", host.url);
        let answer = async {
            let response = http.get(&url).header("accept", "application/json").send().await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = response.body().await.ok()?;
            serde_json::from_slice::<Document>(&body).ok()
        };
        let document = tokio::time::timeout(METADATA_TIMEOUT, answer).await.ok().flatten();
        if document.is_none() {
            tracing::debug!(host = %host, "the host does not describe itself");
        }
        Metadata::new(config, host, document)
    }

    fn new(config: &Config, host: &Host, document: Option<Document>) -> Metadata {
        let attributes = &config.attributes;
        let is_described = document.is_some();
        let document = document.unwrap_or_default();
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let host_type = match document.host_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("workspace") => HostType::Workspace,
            Some("account") => HostType::Account,
            Some("unified") => HostType::Unified,
            _ if host.is_account() => HostType::Account,
            _ => HostType::Workspace,
        };
        let own_workspace_id = some(document.workspace_id);
        let account_id = attributes.account_id.clone().or(some(document.account_id));
        let cloud = if attributes.azure_workspace_resource_id.is_some() {
            Cloud::Azure
        } else {
            [attributes.cloud.as_deref(), document.cloud.as_deref()]
                .into_iter()
                .flatten()
                .find_map(Cloud::named)
                .unwrap_or_else(|| host.cloud())
        };
        let audience = attributes
            .audience
            .clone()
            .or_else(|| {
                document.token_federation_default_oidc_audiences.into_iter().find(|text| !text.is_empty())
            })
            // A host that describes itself without a workspace is one of the account.
            .or_else(|| account_id.clone().filter(|_| is_described && own_workspace_id.is_none()));
        let discovery_url = attributes.discovery_url.clone().or_else(|| {
            let endpoint = some(document.oidc_endpoint)?;
            let endpoint = match &account_id {
                Some(account) => endpoint.replace("{account_id}", account),
                None if endpoint.contains("{account_id}") => return None,
                None => endpoint,
            };
            Some(format!("{}/.well-known/oauth-authorization-server", endpoint.trim_end_matches('/')))
        });
        Metadata {
            host_type,
            account_id,
            workspace_id: attributes.workspace_id.clone().or_else(|| own_workspace_id.clone()),
            own_workspace_id,
            cloud,
            audience,
            discovery_url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Statements;
    use crate::env::Env;

    #[test]
    fn the_cloud_is_configured_or_said_or_read_off_the_name() {
        let cloud = |stated: &[(&str, &str)], said: Option<&str>| {
            let stated: Statements =
                stated.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let config = Config::resolve(&stated, &Env::default()).unwrap();
            let document = said.map(|said| Document { cloud: Some(said.to_owned()), ..Document::default() });
            Metadata::new(&config, config.host.as_ref().unwrap(), document).cloud
        };
        let vanity = ("host", "https://databricks.example.com");
        let azure = ("host", "https://adb-1.2.azuredatabricks.net");
        assert_eq!(cloud(&[vanity], None), Cloud::Aws);
        assert_eq!(cloud(&[azure], None), Cloud::Azure);
        assert_eq!(cloud(&[vanity], Some("AZURE")), Cloud::Azure);
        assert_eq!(cloud(&[azure], Some("gcp")), Cloud::Gcp);
        assert_eq!(cloud(&[azure], Some("moon")), Cloud::Azure);
        assert_eq!(cloud(&[vanity, ("cloud", "GCP")], Some("AZURE")), Cloud::Gcp);
        assert_eq!(cloud(&[vanity, ("azureWorkspaceResourceId", "/x")], Some("GCP")), Cloud::Azure);
    }
}
