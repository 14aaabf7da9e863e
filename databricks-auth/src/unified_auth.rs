use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use crate::clock::Clock;
use crate::config::{Config, Host};
use crate::env::Env;
use crate::error::AuthError;
use crate::metadata::{LESS_PATIENCE, Metadata, PATIENCE};
use crate::services::Services;
use crate::settings::Settings;
use crate::strategies::{self, SignIn};
use crate::transport::HttpClient;

/// Who answers at the configured host.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The host. Where the configuration names only a resource of Azure, this is the host that Azure names for it.
    pub host: Host,
    /// The HTTP client for it.
    pub http: HttpClient,
    /// What the host says of itself.
    pub metadata: Metadata,
}

/// A configuration, and what signing in with it needs. Nothing is sent before [`UnifiedAuth::endpoint`].
#[derive(Clone)]
pub struct UnifiedAuth {
    config: Config,
    env: Env,
    clock: Arc<dyn Clock>,
    services: Services,
}

impl UnifiedAuth {
    /// Signing in with a configuration.
    pub fn new(config: Config, env: Env, clock: Arc<dyn Clock>) -> Self {
        UnifiedAuth { config, env, clock, services: Services::default() }
    }

    /// The same with another configuration.
    pub fn with_config(&self, config: Config) -> Self {
        UnifiedAuth { config, ..self.clone() }
    }

    #[cfg(test)]
    pub(crate) fn with_services(self, services: Services) -> Self {
        UnifiedAuth { services, ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The environment.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Finds out which host is meant, and asks it to describe itself.
    pub async fn endpoint(&self) -> Result<Endpoint, AuthError> {
        let config = &self.config;
        config.check_host()?;
        let host = match &config.host {
            Some(host) => host.clone(),
            None => {
                let http = HttpClient::new(config)?;
                strategies::find_host(&self.settings(config.clone(), Metadata::default(), http)).await?
            }
        };
        // No proxy leads to this machine.
        let http = if host.is_loopback() { HttpClient::direct(config) } else { HttpClient::new(config) }?;
        let metadata = Metadata::fetch(&http, config, &host, &*self.clock, PATIENCE).await;
        Ok(Endpoint { host, http, metadata })
    }

    /// Briefly asks a host that has not answered to describe itself again. `None` means that it still does not answer.
    pub async fn ask_again(&self, endpoint: &Endpoint) -> Option<Endpoint> {
        let Endpoint { host, http, .. } = endpoint;
        let metadata = Metadata::fetch(http, &self.config, host, &*self.clock, LESS_PATIENCE).await;
        metadata.is_certain.then(|| Endpoint { metadata, ..endpoint.clone() })
    }

    /// Chooses how to sign in at a host, and does so: with the strategy that `databricks:authType` names, or else with
    /// the first one that can.
    pub async fn sign_in(&self, endpoint: &Endpoint) -> Result<SignIn, AuthError> {
        let config = self.config.at(endpoint.host.clone());
        strategies::choose(&self.settings(config, endpoint.metadata.clone(), endpoint.http.clone())).await
    }

    /// The error of a host that refuses this secret of a service principal. `None` where it accepts the secret, or
    /// where the request fails for another reason.
    pub async fn refusal(
        &self,
        endpoint: &Endpoint,
        client_id: &str,
        secret: &SecretString,
    ) -> Option<AuthError> {
        let config = self.config.at(endpoint.host.clone());
        let settings = self.settings(config, endpoint.metadata.clone(), endpoint.http.clone());
        strategies::refusal(&settings, client_id, secret).await
    }

    /// Why each way to sign in except the chosen one is not used, by its name. Tries them all again, which may take a
    /// while.
    pub async fn others(&self, endpoint: &Endpoint, chosen: Option<&str>) -> Vec<(&'static str, String)> {
        let config = self.config.at(endpoint.host.clone());
        let settings = self.settings(config, endpoint.metadata.clone(), endpoint.http.clone());
        strategies::others(&settings, chosen).await
    }

    fn settings(&self, config: Config, metadata: Metadata, http: HttpClient) -> Arc<Settings> {
        Arc::new(Settings {
            config,
            env: self.env.clone(),
            metadata,
            http,
            clock: Arc::clone(&self.clock),
            services: self.services.clone(),
        })
    }
}

impl fmt::Debug for UnifiedAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnifiedAuth").field("config", &self.config).finish_non_exhaustive()
    }
}
