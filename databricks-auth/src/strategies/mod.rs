//! Signing in: the strategies of Databricks' unified client authentication, tried in the order of its Go SDK.
//!
//! A strategy looks at the configuration and either yields [`Credentials`] or says why it does not apply. Credentials
//! yield headers, so that whoever sends requests never learns what kind they are. A new strategy is one new file and one line in
//! [`STRATEGIES`].

mod azure;
mod azure_cli;
mod azure_client_secret;
mod azure_devops_oidc;
mod azure_msi;
mod basic;
mod command;
mod databricks_cli;
mod env_oidc;
mod file_oidc;
#[cfg(test)]
mod fuzz;
mod github_oidc;
mod github_oidc_azure;
mod google;
mod google_credentials;
mod google_id;
mod metadata_service;
mod oauth_m2m;
mod oidc;
mod pat;
#[cfg(test)]
pub(crate) mod testing;
mod workload_identity;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use secrecy::ExposeSecret;

use crate::config::Config;
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::{Cache, Source};
use crate::transport::authorization;
pub(crate) use azure::find_host;

/// Every strategy, in the order in which they are tried.
#[rustfmt::skip]
const STRATEGIES: &[&dyn Strategy] = &[
    &pat::Pat,
    &basic::Basic,
    &oauth_m2m::OAuthM2m,
    &databricks_cli::DatabricksCli,
    &metadata_service::MetadataService,
    &github_oidc::GithubOidc,
    &azure_devops_oidc::AzureDevopsOidc,
    &env_oidc::EnvOidc,
    &file_oidc::FileOidc,
    &github_oidc_azure::GithubOidcAzure,
    &azure_msi::AzureMsi,
    &azure_client_secret::AzureClientSecret,
    &azure_cli::AzureCli,
    &google_credentials::GoogleCredentials,
    &google_id::GoogleId,
];

/// Where people read about signing in; the Databricks SDKs point to it too.
const DOCUMENTATION: &str =
    "https://docs.databricks.com/en/dev-tools/auth.html#databricks-client-unified-authentication";

/// A way to sign in.
#[async_trait]
trait Strategy: Sync {
    /// Name, as `databricks:authType` has it.
    fn name(&self) -> &'static str;

    /// Whether its tokens can be those of a group, which `databricks:groupId` names.
    fn assumes_groups(&self) -> bool {
        false
    }

    /// Looks at the configuration; gets a first token where that is the way to know whether it can.
    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError>;

    /// This strategy as a way to be known to Azure, if it is one.
    fn azure(&self) -> Option<&dyn azure::Login> {
        None
    }
}

/// What a strategy makes of a configuration.
enum Outcome<T = Arc<dyn Credentials>> {
    /// It can sign in.
    Ready(T),
    /// It is not meant: the text says what is missing, as in "databricks:token is not set".
    NotConfigured(String),
}

/// What requests are signed with.
#[async_trait]
pub(crate) trait Credentials: Send + Sync {
    /// Headers for a request that is sent now.
    async fn headers(&self) -> Result<HeaderMap, AuthError>;
}

/// The strategy that was chosen, and its credentials. Cheap to clone.
#[derive(Clone)]
pub struct SignIn {
    pub(crate) name: &'static str,
    pub(crate) credentials: Arc<dyn Credentials>,
}

impl SignIn {
    /// Name of the strategy, as `databricks:authType` has it.
    pub fn auth_type(&self) -> &'static str {
        self.name
    }

    /// Headers for a request that is sent now. A token that has expired is renewed first. Their values are marked as
    /// sensitive.
    pub async fn headers(&self) -> Result<HeaderMap, AuthError> {
        self.credentials.headers().await
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Chooses a strategy: the one that `databricks:authType` names, or the first that can sign in.
pub(crate) async fn choose(settings: &Arc<Settings>) -> Result<SignIn, AuthError> {
    let config = &settings.config;
    if let Some(forced) = config.attributes.auth_type.as_deref() {
        let Some(strategy) = STRATEGIES.iter().find(|strategy| strategy.name() == forced) else {
            let known: Vec<_> = STRATEGIES.iter().map(|strategy| strategy.name()).collect();
            return Err(AuthError(
                config
                    .error(format!(
                        "default auth: auth type {forced:?} not found; databricks:authType is one of {}. See {DOCUMENTATION}",
                        known.join(", ")
                    ))
                    .to_string(),
            ));
        };
        if let Some(reason) = cannot_assume_group(*strategy, config) {
            return Err(AuthError(config.error(format!("default auth: {reason}")).to_string()));
        }
        let reason = match strategy.sign_in(settings).await {
            // A first token that cannot be had is a matter of the configuration, which only this error shows.
            Ok(Outcome::Ready(credentials)) => match credentials.headers().await {
                Ok(_) => return Ok(SignIn { name: strategy.name(), credentials }),
                Err(error) => error.to_string(),
            },
            Ok(Outcome::NotConfigured(reason)) => format!("not configured: {reason}"),
            Err(error) => error.to_string(),
        };
        return Err(AuthError(config.error(format!("default auth: {forced} auth: {reason}")).to_string()));
    }
    let mut tried = String::new();
    for strategy in STRATEGIES {
        let reason = match cannot_assume_group(*strategy, config) {
            Some(reason) => Ok(Outcome::NotConfigured(reason)),
            None => strategy.sign_in(settings).await,
        };
        let reason = match reason {
            Ok(Outcome::Ready(credentials)) => match credentials.headers().await {
                Ok(_) => return Ok(SignIn { name: strategy.name(), credentials }),
                Err(error) => format!("failed: {error}"),
            },
            Ok(Outcome::NotConfigured(reason)) => reason,
            Err(error) => format!("failed: {error}"),
        };
        tracing::debug!(strategy = strategy.name(), %reason, "strategy does not apply");
        tried.push_str(&format!("\n  {}: {reason}", strategy.name()));
    }
    Err(AuthError(format!(
        "{}\nWays to sign in that were tried:{tried}",
        config.error(format!(
            "default auth: cannot configure default credentials. For a personal access token, run `pulumi config set \
             --secret databricks:token` or set DATABRICKS_TOKEN; for the other ways see {DOCUMENTATION}"
        ))
    )))
}

/// How long a strategy that was not chosen may take to say why.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Why each strategy but the chosen one is not used, by its name, for people who want to know. Asks them all again.
pub(crate) async fn others(settings: &Arc<Settings>, chosen: Option<&str>) -> Vec<(&'static str, String)> {
    let config = &settings.config;
    let mut others = Vec::new();
    for strategy in STRATEGIES.iter().filter(|strategy| Some(strategy.name()) != chosen) {
        let asked = async {
            match strategy.sign_in(settings).await {
                Ok(Outcome::Ready(credentials)) => match (credentials.headers().await, chosen) {
                    (Err(error), _) => format!("failed: {error}"),
                    (Ok(_), Some(chosen)) => format!("would work too, but {chosen} goes before it"),
                    (Ok(_), None) => "would work".to_owned(),
                },
                Ok(Outcome::NotConfigured(reason)) => reason,
                Err(error) => format!("failed: {error}"),
            }
        };
        let reason = if let Some(forced) = config.attributes.auth_type.as_deref() {
            format!("databricks:authType asks for {forced}")
        } else if let Some(reason) = cannot_assume_group(*strategy, config) {
            reason
        } else {
            let asked = tokio::time::timeout(EXPLANATION_TIMEOUT, asked).await;
            asked.unwrap_or_else(|_| format!("no answer within {} s", EXPLANATION_TIMEOUT.as_secs()))
        };
        others.push((strategy.name(), reason));
    }
    others
}

/// Why a strategy is out of the question where a group is to be assumed.
fn cannot_assume_group(strategy: &dyn Strategy, config: &Config) -> Option<String> {
    (config.attributes.group_id.is_some() && !strategy.assumes_groups()).then(|| {
        format!(
            "auth type {:?} does not support group role assumption, which databricks:groupId asks for. Use \
             Databricks OAuth authentication",
            strategy.name()
        )
    })
}

/// Names the properties, or other settings, that have no value.
fn missing<T>(needed: &[(&str, bool)]) -> Outcome<T> {
    let names: Vec<_> = needed.iter().filter(|(_, is_set)| !is_set).map(|(name, _)| *name).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    let names = match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    };
    Outcome::NotConfigured(format!("{names} {verb} not set"))
}

/// Headers that never change.
struct Fixed(HeaderMap);

#[async_trait]
impl Credentials for Fixed {
    async fn headers(&self) -> Result<HeaderMap, AuthError> {
        Ok(self.0.clone())
    }
}

/// Credentials that are a token of a source, kept as long as it works.
struct Bearer<S>(Cache<S>);

impl<S: Source> Bearer<S> {
    fn sign_in(source: S, settings: &Settings) -> Outcome {
        Outcome::Ready(Arc::new(Bearer(Cache::new(source, Arc::clone(&settings.clock)))))
    }
}

#[async_trait]
impl<S: Source> Credentials for Bearer<S> {
    async fn headers(&self) -> Result<HeaderMap, AuthError> {
        let token = self.0.token().await?;
        authorization(&token.kind, token.value.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Clock, env, settings, workspace};
    use super::*;
    use crate::env::Env;

    /// The strategies of the Go SDK, in its order.
    const ORDER: &[&str] = &[
        "pat",
        "basic",
        "oauth-m2m",
        "databricks-cli",
        "metadata-service",
        "github-oidc",
        "azure-devops-oidc",
        "env-oidc",
        "file-oidc",
        "github-oidc-azure",
        "azure-msi",
        "azure-client-secret",
        "azure-cli",
        "google-credentials",
        "google-id",
    ];

    #[test]
    fn the_order_is_that_of_the_go_sdk() {
        let names: Vec<_> = STRATEGIES.iter().map(|strategy| strategy.name()).collect();
        let expected: Vec<_> = ORDER.iter().copied().filter(|name| names.contains(name)).collect();
        assert_eq!(names, expected);
    }

    async fn choice(stated: &[(&str, &str)], env: Env) -> Result<SignIn, String> {
        choose(&settings(stated, env, Clock::hasty()).await).await.map_err(|error| error.0)
    }

    #[tokio::test]
    async fn the_first_that_can_sign_in_is_chosen() {
        let server = workspace().await;
        let stated = [("host", server.url.as_str())];
        let env = env(&[("DATABRICKS_TOKEN", "dapi"), ("DATABRICKS_OIDC_TOKEN", "jwt")]);
        assert_eq!(choice(&stated, env).await.unwrap().name, "pat");
        assert_eq!(server.seen().len(), 0);
    }

    #[tokio::test]
    async fn one_that_fails_is_passed_over() {
        let server = testing::Server::start(|seen, url| match seen.path.as_str() {
            path if path.ends_with("/oauth-authorization-server") => {
                testing::Answer::json(format!(r#"{{"token_endpoint":"{url}/token"}}"#))
            }
            "/token" if seen.body.contains("token-exchange") => {
                testing::Answer::json(r#"{"access_token":"t"}"#)
            }
            _ => testing::Answer::status(401),
        })
        .await;
        let stated = [("host", server.url.as_str()), ("clientId", "app"), ("clientSecret", "wrong")];
        let env = env(&[("DATABRICKS_OIDC_TOKEN", "jwt")]);
        let chosen = choice(&stated, env.clone()).await.unwrap();
        assert_eq!(chosen.name, "env-oidc");
        assert_eq!(chosen.credentials.headers().await.unwrap()["authorization"], "Bearer t");

        // One that is asked for by name is not passed over, and its error shows what is configured.
        let forced = [&stated[..], &[("authType", "oauth-m2m")]].concat();
        let error = choice(&forced, env).await.unwrap_err();
        assert!(error.starts_with("default auth: oauth-m2m auth: POST http://"), "{error}");
        assert!(error.contains(": 401 ") && error.ends_with("client_id=app, client_secret=***"), "{error}");
    }

    #[tokio::test]
    async fn nothing_configured_is_explained_by_strategy() {
        let server = workspace().await;
        let error = choice(&[("host", &server.url)], Env::default()).await.unwrap_err();
        assert!(error.starts_with("default auth: cannot configure default credentials. "), "{error}");
        assert!(error.contains(&format!("Config: host={}", server.url)), "{error}");
        for reason in [
            "pat: databricks:token is not set",
            "basic: databricks:username and databricks:password are not set",
            "oauth-m2m: databricks:clientId and databricks:clientSecret are not set",
            "databricks-cli: databricks CLI not found: \"databricks\" is not there, or not on the PATH",
            "metadata-service: databricks:metadataServiceUrl is not set",
            "github-oidc: ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN are not set",
            "azure-devops-oidc: SYSTEM_ACCESSTOKEN, SYSTEM_TEAMFOUNDATIONCOLLECTIONURI, ",
            "env-oidc: missing env var \"DATABRICKS_OIDC_TOKEN\"",
            "file-oidc: databricks:databricksIdTokenFilepath is not set",
        ] {
            assert!(error.contains(&format!("\n  {reason}")), "{reason} is not in {error}");
        }
        assert_eq!(server.seen().len(), 0, "nobody is asked in vain");
    }

    #[tokio::test]
    async fn each_other_strategy_says_why_it_is_not_used() {
        let server = workspace().await;
        let stated = [("host", server.url.as_str()), ("token", "dapi")];
        let env = env(&[("DATABRICKS_OIDC_TOKEN", "jwt")]);
        let settings = settings(&stated, env, Clock::hasty()).await;
        let others = others(&settings, Some("pat")).await;
        assert_eq!(others.len(), STRATEGIES.len() - 1);
        let reason = |name: &str| others.iter().find(|other| other.0 == name).unwrap().1.as_str();
        assert_eq!(reason("env-oidc"), "would work too, but pat goes before it");
        assert_eq!(reason("basic"), "databricks:username and databricks:password are not set");
    }

    #[tokio::test]
    async fn a_strategy_that_is_asked_for_says_what_it_lacks() {
        let error =
            choice(&[("authType", "oauth-m2m"), ("clientId", "app")], Env::default()).await.unwrap_err();
        assert_eq!(
            error,
            "default auth: oauth-m2m auth: not configured: databricks:clientSecret is not set. Config: client_id=app"
        );
        let error = choice(&[("authType", "nope")], Env::default()).await.unwrap_err();
        assert!(
            error.starts_with(
                "default auth: auth type \"nope\" not found; databricks:authType is one of pat, "
            )
        );
    }

    #[tokio::test]
    async fn only_oauth_assumes_a_group() {
        let server = workspace().await;
        let stated = [("host", server.url.as_str()), ("groupId", "g")];
        let with_token = env(&[("DATABRICKS_TOKEN", "dapi"), ("DATABRICKS_OIDC_TOKEN", "jwt")]);
        assert_eq!(choice(&stated, with_token.clone()).await.unwrap().name, "env-oidc");
        let forced = [&stated[..], &[("authType", "pat")]].concat();
        let error = choice(&forced, with_token).await.unwrap_err();
        assert!(
            error.starts_with("default auth: auth type \"pat\" does not support group role assumption"),
            "{error}"
        );
        for strategy in STRATEGIES {
            let expected = ["oauth-m2m", "github-oidc", "azure-devops-oidc", "env-oidc", "file-oidc"];
            assert_eq!(strategy.assumes_groups(), expected.contains(&strategy.name()), "{}", strategy.name());
        }
    }
}
