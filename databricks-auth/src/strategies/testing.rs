//! What the tests of the strategies share: settings, workspaces, and stand-ins for tools.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use super::{Credentials, Outcome, STRATEGIES};
use crate::config::{Config, Host, Statements};
use crate::env::Env;
use crate::error::AuthError;
use crate::metadata::{Metadata, PATIENCE};
use crate::services::Services;
use crate::settings::Settings;
pub(crate) use crate::testing::{Answer, Clock, Seen, Server, start};
use crate::transport::HttpClient;

/// A workspace with OAuth: it describes its services and hands out `token-1`, `token-2` and so on for an hour each.
pub(crate) async fn workspace() -> Server {
    let tokens = AtomicU32::new(0);
    Server::start(move |seen, url| match seen.path.as_str() {
        "/oidc/.well-known/oauth-authorization-server" => {
            Answer::json(json!({ "token_endpoint": format!("{url}/oidc/v1/token") }))
        }
        "/oidc/v1/token" => Answer::json(json!({
            "access_token": format!("token-{}", tokens.fetch_add(1, Ordering::SeqCst) + 1),
            "token_type": "Bearer",
            "expires_in": 3600,
        })),
        path if path.starts_with("/github?") => Answer::json(json!({ "value": "github-jwt" })),
        path if path.starts_with("/tfs/") => Answer::json(json!({ "oidcToken": "devops-jwt" })),
        _ => Answer::status(404),
    })
    .await
}

/// An environment with these variables.
pub(crate) fn env(vars: &[(&str, &str)]) -> Env {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Env { vars, home: None }
}

/// The settings that a strategy is given, for a program that states these properties.
pub(crate) async fn settings(stated: &[(&str, &str)], env: Env, clock: Clock) -> Arc<Settings> {
    settings_at(stated, env, clock, Services::default()).await
}

/// Like [`settings`], with other addresses of the services outside Databricks.
pub(crate) async fn settings_at(
    stated: &[(&str, &str)],
    env: Env,
    clock: Clock,
    services: Services,
) -> Arc<Settings> {
    let stated: Statements =
        stated.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let mut config = Config::resolve(&stated, &env).unwrap();
    // No test speaks TLS, and reading the platform's certificates takes long.
    config.attributes.skip_verify = true;
    let host = config.host.clone().unwrap_or_else(|| Host::parse("http://127.0.0.1:1").unwrap());
    let http = HttpClient::direct(&config).unwrap();
    // This request has a clock of its own: the sleeps on the test's clock are those that the test is about.
    let metadata = Metadata::fetch(&http, &config, &host, &Clock::hasty(), PATIENCE).await;
    Arc::new(Settings { config, env, metadata, http, clock: Arc::new(clock), services })
}

/// The credentials of one strategy, or why there are none.
pub(crate) async fn sign_in(settings: &Arc<Settings>, name: &str) -> Result<Arc<dyn Credentials>, AuthError> {
    let strategy = STRATEGIES.iter().find(|strategy| strategy.name() == name).unwrap();
    match strategy.sign_in(settings).await? {
        Outcome::Ready(credentials) => Ok(credentials),
        Outcome::NotConfigured(reason) | Outcome::DoesNotApply(reason) | Outcome::Incomplete(reason) => {
            Err(AuthError(reason))
        }
    }
}

/// A folder with stand-ins for command-line tools.
pub(crate) struct Tools(tempfile::TempDir);

impl Tools {
    pub(crate) fn new() -> Self {
        Tools(tempfile::tempdir().unwrap())
    }

    /// Adds a shell script of at least `size` bytes.
    pub(crate) fn add(&self, name: &str, script: &str, size: usize) -> PathBuf {
        let draft = self.path().join(format!("{name}.draft"));
        let text = format!("#!/bin/sh\n{script}\nexit\n");
        std::fs::write(&draft, format!("{text}{}", "#\n".repeat(size.saturating_sub(text.len()) / 2 + 1)))
            .unwrap();
        let path = self.path().join(name);
        // Another process writes the file. If this one did, a process that a test in another thread is just starting
        // could have inherited the open file, and a file that is open for writing cannot be run.
        let status = std::process::Command::new("install")
            .args(["-m", "755"])
            .arg(&draft)
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success());
        path
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// An environment with these tools, and those that scripts need.
    pub(crate) fn env(&self) -> Env {
        let path = format!("{}:/usr/bin:/bin", self.path().display());
        Env { vars: HashMap::from([("PATH".to_owned(), path)]), home: Some(self.path()) }
    }
}

/// Every service outside Databricks, on a server of this machine.
pub(crate) fn services(url: &str) -> Services {
    let mut services = Services {
        machine: format!("{url}/machine"),
        google_token: format!("{url}/google/token"),
        google_credentials: format!("{url}/google/iam"),
        ..Services::default()
    };
    for environment in &mut services.azure {
        environment.entra = format!("{url}/entra/{}", environment.name).into();
        environment.resource_manager = format!("{url}/arm/{}/", environment.name).into();
    }
    services
}
