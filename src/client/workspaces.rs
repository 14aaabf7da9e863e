//! Which workspace a request goes to: the one that the host serves, or one of those that an account's host routes to.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use databricks_auth::AccessToken;
use databricks_auth::metadata::{HostType, Metadata};
use http::Method;
use serde::Deserialize;

use super::send::{ANY_REQUEST, unless_too_late};
use super::{Client, Error, Repeat, Reply, Request};
use crate::config::{Config, Host, Source};
use crate::context::Context;

/// What a host serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One workspace.
    Workspace,
    /// An account.
    Account,
    /// An account and its workspaces.
    Both,
}

impl Client {
    /// The workspace that this client acts on, if that is known: asks the host on first use.
    pub async fn workspace_id(&self, ctx: &Context) -> Result<Option<String>, Error> {
        let found = async {
            let endpoint = self.endpoint().await?;
            let metadata = &endpoint.found.metadata;
            if metadata.workspace_id.is_some() || metadata.host_type != HostType::Workspace {
                return Ok(metadata.workspace_id.clone());
            }
            // Every answer of a workspace has its id in a header.
            Ok(self.introduction(ctx).await.workspace_id.clone())
        };
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    /// What the host serves; it is asked on first use.
    pub async fn level(&self, ctx: &Context) -> Result<Level, Error> {
        let found = async {
            Ok(match self.endpoint().await?.found.metadata.host_type {
                HostType::Workspace => Level::Workspace,
                HostType::Account => Level::Account,
                HostType::Unified => Level::Both,
            })
        };
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    /// The URL of the host. On Azure it may have to be looked up.
    pub async fn host(&self, ctx: &Context) -> Result<String, Error> {
        let found = async { Ok(self.endpoint().await?.found.host.url.clone()) };
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    /// The OAuth access token that requests are signed with, and the name of the way to sign in. There is none where
    /// they are signed with something else.
    pub async fn access_token(&self, ctx: &Context) -> Result<(Option<AccessToken>, &'static str), Error> {
        let found = async {
            let endpoint = self.endpoint().await?;
            let sign_in = self.credentials(&endpoint).await?;
            Ok((sign_in.access_token().await?, sign_in.auth_type()))
        };
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    /// The account that the host belongs to, if that is known from the configuration or from the host itself.
    pub async fn account_id(&self, ctx: &Context) -> Result<Option<String>, Error> {
        let found = async { Ok(self.endpoint().await?.found.metadata.account_id.clone()) };
        unless_too_late(ctx, &ANY_REQUEST, found).await
    }

    /// The client for the workspace that a resource names, or that the provider is configured for.
    ///
    /// A workspace's own host serves only itself. An account's host knows its workspaces by id: each gets a client of
    /// its own, with the same credentials.
    pub async fn for_workspace(&self, ctx: &Context, id: Option<&str>) -> Result<Client, Error> {
        unless_too_late(ctx, &ANY_REQUEST, self.find_workspace(ctx, id)).await
    }

    async fn find_workspace(&self, ctx: &Context, id: Option<&str>) -> Result<Client, Error> {
        let endpoint = self.endpoint().await?;
        let metadata = &endpoint.found.metadata;
        let configured = metadata.workspace_id.as_deref();
        if metadata.host_type == HostType::Workspace {
            // The provider's own id has already been compared with what the host says, and need not be a number.
            let Some(id) = id.filter(|id| configured != Some(id)) else { return Ok(self.clone()) };
            if id.parse::<u64>().is_err() {
                return Err(Error::Workspace(format!(
                    "failed to validate workspace_id: workspace_id {id:?} is not a numeric workspace ID. Connection IDs \
                     are only supported where databricks:host is an account's host or one that serves several \
                     workspaces"
                )));
            }
            let own = match &metadata.own_workspace_id {
                Some(own) => Some(own.clone()),
                None => self.workspace_id(ctx).await?,
            };
            return match own {
                Some(own) if own != id => Err(Error::Workspace(format!(
                    "failed to validate workspace_id: workspace_id mismatch: provider is configured for workspace \
                     {own} but got {id} in provider_config. please check the workspace_id provided in provider_config"
                ))),
                _ => Ok(self.clone()),
            };
        }
        let Some(id) = id.or(configured) else {
            return Err(Error::Workspace(
                "the host is an account console: managing workspace-level \
                 resources requires a workspace_id, but none was found in the resource's providerConfig or the \
                 provider's workspaceId. Set one of them, or set databricks:host to the workspace's own URL"
                    .to_owned(),
            ));
        };
        if let Some(client) = self.workspaces().get(id) {
            return Ok(client.clone());
        }
        let mut config = self.config().clone();
        config.attributes.workspace_id = Some(id.to_owned());
        if let Some((host, resource_id)) = self.workspace_host(ctx, metadata, id).await {
            config.attributes.account_id = None;
            config.attributes.azure_workspace_resource_id = resource_id;
            config = config.at(host);
        }
        let client = Client::with(self.0.auth.with_config(config));
        Ok(self.workspaces().entry(id.to_owned()).or_insert(client).clone())
    }

    fn workspaces(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.0.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host of a workspace of this account, and on Azure the workspace's resource id. Where the account does not
    /// say, its own host routes by the workspace header instead.
    async fn workspace_host(
        &self,
        ctx: &Context,
        metadata: &Metadata,
        id: &str,
    ) -> Option<(Host, Option<String>)> {
        let account = metadata.account_id.as_deref()?;
        let number: u64 = id.parse().ok()?;
        let url = &self.config().host.as_ref()?.url;
        let zone =
            url.strip_prefix("https://accounts-dod.").or_else(|| url.strip_prefix("https://accounts."))?;
        let path = format!("/api/2.0/accounts/{account}/workspaces/{number}");
        let request = Request::new(Method::GET, path, None, Repeat::Always).at_account();
        // On the heap: it is seldom needed, and every future that awaits this one would be larger by its size.
        match Box::pin(self.send::<WorkspaceReply>(ctx, &request)).await {
            Ok(Reply { body: workspace, .. }) => {
                let host = Host::parse(&format!("https://{}.{zone}", workspace.deployment_name)).ok()?;
                Some((host, workspace.resource_id()))
            }
            Err(error) => {
                tracing::debug!(id, %error, "the account does not say what the workspace's host is");
                None
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct WorkspaceReply {
    deployment_name: String,
    #[serde(default)]
    workspace_name: String,
    azure_workspace_info: Option<AzureWorkspace>,
}

#[derive(Deserialize)]
struct AzureWorkspace {
    subscription_id: String,
    resource_group: String,
}

impl WorkspaceReply {
    pub(super) fn resource_id(&self) -> Option<String> {
        let AzureWorkspace { subscription_id, resource_group } = self.azure_workspace_info.as_ref()?;
        Some(format!(
            "/subscriptions/{subscription_id}/resourceGroups/{resource_group}/providers/Microsoft.Databricks/workspaces/{}",
            self.workspace_name
        ))
    }
}

/// A workspace that is configured by id must be the one that answers at the host.
pub(super) fn check_workspace(config: &Config, metadata: &Metadata) -> Result<(), Error> {
    match (&config.attributes.workspace_id, &metadata.own_workspace_id) {
        (Some(stated), Some(own))
            if stated != own
                && metadata.host_type == HostType::Workspace
                && stated.parse::<i64>().is_ok() =>
        {
            let (who, what) = match config.sources.get("workspaceId") {
                Some(Source::Host) => {
                    ("the URL in databricks:host names", "the query (?o=) of that URL, which may be left out")
                }
                Some(Source::Environment) => ("DATABRICKS_WORKSPACE_ID sets", "that environment variable"),
                Some(Source::Profile) => ("the profile sets", "workspace_id in the profile"),
                _ => ("the provider is configured with", "the workspace_id in the provider configuration"),
            };
            Err(Error::Workspace(format!(
                "workspace_id mismatch: {who} workspace_id {stated} but the host resolves to workspace {own}. please \
                 check {what}"
            )))
        }
        _ => Ok(()),
    }
}
