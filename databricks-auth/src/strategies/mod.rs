//! Signing in: the strategies of Databricks' unified client authentication, tried in the order of its Go SDK, except
//! that those which use what is merely there on the machine come last.
//!
//! A strategy looks at the configuration and either yields [`Credentials`] or says why it does not apply. Credentials
//! yield headers, so the code that sends requests never learns what kind they are. A new strategy is one new file and
//! one line in [`STRATEGIES`].

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
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};

use crate::config::Config;
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::{Cache, Source, Token};
use crate::transport::authorization;
pub(crate) use azure::find_host;
pub(crate) use oauth_m2m::refusal;

/// Every strategy, in the order of the Go SDK. They are tried as [`in_order`] says.
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
    /// Name, as in `databricks:authType`.
    fn name(&self) -> &'static str;

    /// Whether its tokens can be those of a group, which `databricks:groupId` names.
    fn assumes_groups(&self) -> bool {
        false
    }

    /// Whether it would sign in with what is merely there on the machine for other uses, such as somebody's login. Such
    /// a strategy comes after those that are configured, and is passed over if it fails.
    fn is_ambient(&self, _settings: &Settings) -> bool {
        false
    }

    /// Looks at the configuration; gets a first token where only that shows whether it can sign in.
    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError>;

    /// This strategy as a way to identify oneself to Azure, if it is one.
    fn azure(&self) -> Option<&dyn azure::Login> {
        None
    }
}

/// What a strategy makes of a configuration.
enum Outcome<T = Arc<dyn Credentials>> {
    /// It can sign in.
    Ready(T),
    /// Nothing says that the strategy is meant; the text says what would, as in "databricks:token is not set".
    NotConfigured(String),
    /// Something is set that the strategy uses, perhaps for another use; the text says why it cannot be used here.
    DoesNotApply(String),
    /// An identity is configured, but cannot sign in; the text says what is missing or wrong. No ambient strategy signs
    /// in in its place.
    Incomplete(String),
}

impl<T> Outcome<T> {
    /// What the strategy can sign in with, or the same outcome for another type.
    fn ready<U>(self) -> Result<T, Outcome<U>> {
        Err(match self {
            Outcome::Ready(it) => return Ok(it),
            Outcome::NotConfigured(reason) => Outcome::NotConfigured(reason),
            Outcome::DoesNotApply(reason) => Outcome::DoesNotApply(reason),
            Outcome::Incomplete(reason) => Outcome::Incomplete(reason),
        })
    }
}

/// What requests are signed with.
#[async_trait]
pub(crate) trait Credentials: Send + Sync {
    /// Headers for a request that is sent now.
    async fn headers(&self) -> Result<HeaderMap, AuthError>;

    /// The OAuth access token in the headers of a request that is sent now; `None` if these hold something else.
    async fn access_token(&self) -> Result<Option<AccessToken>, AuthError> {
        Ok(None)
    }

    /// Forgets the tokens in these headers, which were refused. Returns whether there may be others.
    fn renew(&self, _refused: &HeaderMap) -> bool {
        false
    }
}

/// An OAuth access token, which whoever has it can use until it expires.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token.
    pub value: SecretString,
    /// Word before it in the Authorization header, `Bearer` as a rule.
    pub kind: String,
    /// When it stops working, or a little earlier; `None` where the answer did not say.
    pub expires: Option<SystemTime>,
}

impl From<&Token> for AccessToken {
    fn from(token: &Token) -> Self {
        AccessToken { value: token.value.clone(), kind: token.kind.clone(), expires: token.expires }
    }
}

/// The strategy that was chosen, and its credentials. Cheap to clone.
#[derive(Clone)]
pub struct SignIn {
    pub(crate) name: &'static str,
    pub(crate) credentials: Arc<dyn Credentials>,
}

impl SignIn {
    /// Name of the strategy, as in `databricks:authType`.
    pub fn auth_type(&self) -> &'static str {
        self.name
    }

    /// Headers for a request that is sent now. A token that has expired is renewed first. Their values are marked as
    /// sensitive.
    pub async fn headers(&self) -> Result<HeaderMap, AuthError> {
        self.credentials.headers().await
    }

    /// The OAuth access token that requests are signed with now; `None` where they are signed with something else, such
    /// as a personal access token.
    pub async fn access_token(&self) -> Result<Option<AccessToken>, AuthError> {
        self.credentials.access_token().await
    }

    /// To be called after a request with these headers was answered with 401. Forgets the token in them, if it is still
    /// the current one, so that the next headers have another. Returns `false` where there is no other, as for a
    /// personal access token.
    pub fn renew(&self, refused: &HeaderMap) -> bool {
        self.credentials.renew(refused)
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Chooses a strategy: the one that `databricks:authType` names, or the first that can sign in. A strategy that is
/// configured and fails ends the search, since the next one might sign in as somebody else.
pub(crate) async fn choose(settings: &Arc<Settings>) -> Result<SignIn, AuthError> {
    let config = &settings.config;
    if let Some(forced) = config.attributes.auth_type.as_deref() {
        let Some(strategy) = STRATEGIES.iter().find(|strategy| strategy.name() == forced) else {
            let known: Vec<_> = STRATEGIES.iter().map(|strategy| strategy.name()).collect();
            return Err(failure(
                config,
                format!(
                    "auth type {forced:?} not found; databricks:authType is one of {}. See {DOCUMENTATION}",
                    known.join(", ")
                ),
            ));
        };
        if cannot_assume_group(*strategy, config) {
            return Err(failure(
                config,
                format!(
                    "auth type {forced:?} does not support group role assumption, which databricks:groupId requires. \
                     Use Databricks OAuth authentication"
                ),
            ));
        }
        let reason = match attempt(*strategy, settings).await {
            Ok(Outcome::Ready(credentials)) => return Ok(SignIn { name: strategy.name(), credentials }),
            Ok(
                Outcome::NotConfigured(reason) | Outcome::DoesNotApply(reason) | Outcome::Incomplete(reason),
            ) => {
                format!("not configured: {reason}")
            }
            Err(error) => error.to_string(),
        };
        return Err(failure(config, format!("{forced} auth: {reason}")));
    }
    let mut search = Search::default();
    for strategy in in_order(settings) {
        let name = strategy.name();
        if cannot_assume_group(strategy, config) {
            search.without_groups.push(name);
            continue;
        }
        let is_ambient = strategy.is_ambient(settings);
        if is_ambient && !search.incomplete.is_empty() {
            search.left_out.push(name);
            continue;
        }
        match attempt(strategy, settings).await {
            Ok(Outcome::Ready(credentials)) => {
                tracing::debug!(strategy = name, passed_over = %search, "can sign in");
                return Ok(SignIn { name, credentials });
            }
            Ok(Outcome::NotConfigured(_)) => search.not_configured.push(name),
            Ok(Outcome::DoesNotApply(reason)) => search.others.push(format!("{name}: {reason}")),
            Ok(Outcome::Incomplete(reason)) => search.incomplete.push(format!("{name}: {reason}")),
            Err(error) if is_ambient => search.others.push(format!("{name}: failed: {error}")),
            Err(error) => {
                return Err(failure(
                    config,
                    format!(
                        "{name} auth: {error}. It is configured, so no other way to sign in takes its place: correct it, \
                         or name another with databricks:authType"
                    ),
                ));
            }
        }
    }
    Err(AuthError(format!(
        "{}{search}",
        failure(
            config,
            format!(
                "cannot configure default credentials. For a personal access token, run `pulumi config set --secret \
                 databricks:token` or set DATABRICKS_TOKEN; for the other ways see {DOCUMENTATION}"
            )
        )
    )))
}

/// How long a strategy that was not chosen may take to say why.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Why each strategy except the chosen one is not used, by its name, for diagnosis. Tries them all again.
pub(crate) async fn others(settings: &Arc<Settings>, chosen: Option<&str>) -> Vec<(&'static str, String)> {
    let config = &settings.config;
    let mut others = Vec::new();
    for strategy in in_order(settings).filter(|strategy| Some(strategy.name()) != chosen) {
        let reason = if let Some(forced) = config.attributes.auth_type.as_deref() {
            format!("databricks:authType names {forced}")
        } else if cannot_assume_group(strategy, config) {
            "cannot assume a group, which databricks:groupId requires".to_owned()
        } else {
            match (tokio::time::timeout(EXPLANATION_TIMEOUT, attempt(strategy, settings)).await, chosen) {
                (Err(_), _) => format!("no answer within {} s", EXPLANATION_TIMEOUT.as_secs()),
                (Ok(Err(error)), _) => format!("failed: {error}"),
                (Ok(Ok(Outcome::Ready(_))), Some(chosen)) => {
                    format!("would work too, but {chosen} comes before it")
                }
                (Ok(Ok(Outcome::Ready(_))), None) => "would work if databricks:authType named it".to_owned(),
                (
                    Ok(Ok(
                        Outcome::NotConfigured(reason)
                        | Outcome::DoesNotApply(reason)
                        | Outcome::Incomplete(reason),
                    )),
                    _,
                ) => reason,
            }
        };
        others.push((strategy.name(), reason));
    }
    others
}

/// The strategies in the order in which they are tried: those that are configured before those that would use what is
/// merely there.
fn in_order(settings: &Settings) -> impl Iterator<Item = &'static dyn Strategy> {
    let (ambient, configured): (Vec<_>, Vec<_>) =
        STRATEGIES.iter().copied().partition(|strategy| strategy.is_ambient(settings));
    configured.into_iter().chain(ambient)
}

/// Signs in and gets the first headers: only they show that a token cannot be had.
async fn attempt(strategy: &dyn Strategy, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
    let outcome = strategy.sign_in(settings).await?;
    if let Outcome::Ready(credentials) = &outcome {
        credentials.headers().await?;
    }
    Ok(outcome)
}

/// An error about signing in, which shows what is configured.
fn failure(config: &Config, reason: String) -> AuthError {
    config.error(format!("default auth: {reason}")).into()
}

/// What came of the strategies that could not sign in.
#[derive(Default)]
struct Search {
    /// Strategies that are configured in part, each with what it lacks.
    incomplete: Vec<String>,
    /// Strategies that cannot be used or that failed, each with the reason.
    others: Vec<String>,
    /// Not tried: they would take the place of those that are incomplete.
    left_out: Vec<&'static str>,
    /// Not tried: they assume no group.
    without_groups: Vec<&'static str>,
    /// Nothing says that these strategies are meant.
    not_configured: Vec<&'static str>,
}

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons: Vec<_> = self.incomplete.iter().chain(&self.others).collect();
        if !reasons.is_empty() {
            f.write_str("\nWays to sign in that were tried:")?;
        }
        for reason in reasons {
            write!(f, "\n  {reason}")?;
        }
        for (what, names) in [
            ("Not tried, since the above is incomplete", &self.left_out),
            ("Not possible with databricks:groupId", &self.without_groups),
            ("Not configured", &self.not_configured),
        ] {
            if !names.is_empty() {
                write!(f, "\n{what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Whether a strategy is out of the question, since a group is to be assumed.
fn cannot_assume_group(strategy: &dyn Strategy, config: &Config) -> bool {
    config.attributes.group_id.is_some() && !strategy.assumes_groups()
}

/// The outcome where properties or other settings have no value; it names them. Those that have one may have it for
/// another use.
fn missing<T>(needed: &[(&str, bool)]) -> Outcome<T> {
    let reason = unset(needed);
    if needed.iter().any(|(_, is_set)| *is_set) {
        Outcome::DoesNotApply(reason)
    } else {
        Outcome::NotConfigured(reason)
    }
}

/// The outcome of a strategy for another cloud than the host's. Where properties of its `group` are set for Databricks
/// alone, no ambient strategy signs in in its place.
fn elsewhere<T>(settings: &Settings, group: &'static str, reason: String) -> Outcome<T> {
    if settings.config.means_method(group) {
        Outcome::Incomplete(reason)
    } else if settings.config.names_method(group) {
        Outcome::DoesNotApply(reason)
    } else {
        Outcome::NotConfigured(reason)
    }
}

/// Like [`missing`], but for settings each of which says that this identity is meant.
fn half<T>(needed: &[(&str, bool)]) -> Outcome<T> {
    match missing(needed) {
        Outcome::DoesNotApply(reason) => Outcome::Incomplete(reason),
        outcome => outcome,
    }
}

fn unset(needed: &[(&str, bool)]) -> String {
    let names: Vec<_> = needed.iter().filter(|(_, is_set)| !is_set).map(|(name, _)| *name).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    let names = match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    };
    format!("{names} {verb} not set")
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

    async fn access_token(&self) -> Result<Option<AccessToken>, AuthError> {
        Ok(Some(AccessToken::from(&*self.0.token().await?)))
    }

    fn renew(&self, refused: &HeaderMap) -> bool {
        self.0.drop_token(refused.get(AUTHORIZATION));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Answer, Clock, Server, Tools, env, settings, workspace};
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
        choose(&settings(stated, env, Clock::still()).await).await.map_err(|error| error.0)
    }

    #[tokio::test]
    async fn the_first_that_can_sign_in_is_chosen() {
        let server = workspace().await;
        let stated = [("host", server.url.as_str())];
        let env = env(&[("DATABRICKS_TOKEN", "dapi"), ("DATABRICKS_OIDC_TOKEN", "jwt")]);
        assert_eq!(choice(&stated, env).await.unwrap().name, "pat");
        assert_eq!(server.seen().len(), 0);
    }

    /// A workspace where OAuth works for identity tokens alone.
    async fn federated() -> Server {
        Server::start(|seen, url| match seen.path.as_str() {
            path if path.ends_with("/oauth-authorization-server") => {
                Answer::json(format!(r#"{{"token_endpoint":"{url}/token"}}"#))
            }
            path if path.starts_with("/github") => Answer::json(r#"{"value":"jwt"}"#),
            "/token" if seen.body.contains("token-exchange") => Answer::json(r#"{"access_token":"t"}"#),
            _ => Answer::status(401),
        })
        .await
    }

    /// Somebody who has signed in with the Databricks CLI.
    fn login() -> Tools {
        let tools = Tools::new();
        let answer = r#"{"access_token":"of somebody","expiry":"2100-01-01T00:00:00Z"}"#;
        tools.add("databricks", &format!("echo '{answer}'"), 1 << 20);
        tools
    }

    fn with(env: Env, vars: &[(&str, &str)]) -> Env {
        let more = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Env { vars: env.vars.into_iter().chain(more).collect(), home: env.home }
    }

    #[tokio::test]
    async fn one_that_is_configured_and_fails_ends_the_search() {
        let server = federated().await;
        let host = ("host", server.url.as_str());
        let login = login();
        assert_eq!(choice(&[host], login.env()).await.unwrap().name, "databricks-cli");

        let stated = [host, ("clientId", "app"), ("clientSecret", "wrong")];
        let env = with(login.env(), &[("DATABRICKS_OIDC_TOKEN", "jwt")]);
        let error = choice(&stated, env.clone()).await.unwrap_err();
        assert!(error.starts_with("default auth: oauth-m2m auth: POST http://"), "{error}");
        assert!(
            error.contains(": 401 without an explanation. It is configured, so no other way "),
            "{error}"
        );
        assert!(error.ends_with("client_id=app, client_secret=***"), "{error}");

        // So does one that fails before it requests a token, and one that comes later than the login in the order.
        let stated = [host, ("databricksIdTokenFilepath", "/nowhere")];
        let error = choice(&stated, login.env()).await.unwrap_err();
        assert!(
            error.starts_with("default auth: file-oidc auth: file \"/nowhere\" does not exist."),
            "{error}"
        );

        // A strategy that is named by authType reports its own error, without that advice.
        let forced = [host, ("clientId", "app"), ("clientSecret", "wrong"), ("authType", "oauth-m2m")];
        let error = choice(&forced, env).await.unwrap_err();
        assert!(error.starts_with("default auth: oauth-m2m auth: POST http://"), "{error}");
        assert!(error.contains(": 401 without an explanation. Config: host="), "{error}");
    }

    #[tokio::test]
    async fn what_is_configured_comes_before_what_is_there() {
        let server = federated().await;
        let (host, login) = (("host", server.url.as_str()), login());
        let env = with(login.env(), &[("DATABRICKS_OIDC_TOKEN", "jwt")]);
        let chosen = choice(&[host], env).await.unwrap();
        assert_eq!(chosen.name, "env-oidc");
        assert_eq!(chosen.credentials.headers().await.unwrap()["authorization"], "Bearer t");
    }

    #[tokio::test]
    async fn what_is_there_is_passed_over_if_it_fails() {
        // A workspace without OAuth.
        let server = Server::start(|_, _| Answer::status(404)).await;
        let host = ("host", server.url.as_str());
        let tools = Tools::new();
        tools.add("databricks", "echo 'not signed in' >&2; exit 1", 1 << 20);
        let request = format!("{}/github", server.url);
        let workflow =
            [("ACTIONS_ID_TOKEN_REQUEST_URL", request.as_str()), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ask")];
        let env = with(tools.env(), &workflow);
        let error = choice(&[host], env.clone()).await.unwrap_err();
        for reason in [
            "\n  databricks-cli: failed: cannot get access token: not signed in: exit status 1",
            "\n  github-oidc: failed: databricks OAuth is not supported for this host",
            "\nNot configured: pat, basic, oauth-m2m, metadata-service, ",
        ] {
            assert!(error.contains(reason), "{reason} is not in {error}");
        }
        // A client id is there for Databricks alone, and makes the workflow one that is configured.
        let error = choice(&[host, ("clientId", "app")], env).await.unwrap_err();
        assert!(
            error.starts_with("default auth: github-oidc auth: databricks OAuth is not supported"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn nobody_takes_the_place_of_somebody_who_is_named() {
        let server = federated().await;
        let (host, login) = (("host", server.url.as_str()), login());
        for (stated, reason) in [
            (("clientId", "app"), "oauth-m2m: databricks:clientSecret is not set"),
            (("username", "u"), "basic: databricks:password is not set"),
            (("oidcTokenEnv", "MINE"), "env-oidc: missing env var \"MINE\""),
        ] {
            let error = choice(&[host, stated], login.env()).await.unwrap_err();
            let expected = format!(
                "\nWays to sign in that were tried:\n  {reason}\nNot tried, since the above is incomplete: databricks-cli, "
            );
            assert!(error.contains(&expected), "{error}");
        }
        // What is named may be meant for another way that is configured.
        let env = with(login.env(), &[("DATABRICKS_OIDC_TOKEN", "jwt")]);
        assert_eq!(choice(&[host, ("clientId", "app")], env).await.unwrap().name, "env-oidc");
    }

    #[tokio::test]
    async fn every_strategy_is_on_one_side() {
        let ambient = async |stated: &[(&str, &str)], vars: &[(&str, &str)]| {
            let settings = settings(stated, env(vars), Clock::still()).await;
            let ambient = STRATEGIES.iter().filter(|strategy| strategy.is_ambient(&settings));
            ambient.map(|strategy| strategy.name()).collect::<Vec<_>>()
        };
        let workflow = [("ACTIONS_ID_TOKEN_REQUEST_URL", "u"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t")];
        let devops = "azure-devops-oidc";
        assert_eq!(ambient(&[], &[]).await, ["databricks-cli", devops, "azure-cli"]);
        assert_eq!(ambient(&[("clientId", "app")], &workflow).await, ["databricks-cli", "azure-cli"]);
        assert_eq!(ambient(&[], &workflow).await, ["databricks-cli", "github-oidc", devops, "azure-cli"]);
        let stated = [("actionsIdTokenRequestUrl", "u")];
        assert_eq!(ambient(&stated, &[]).await, ["databricks-cli", devops, "azure-cli"]);
        // The secret of the application is what is meant there, and not the workflow that it runs in.
        for other in [("azureClientSecret", "s"), ("azureUseMsi", "true")] {
            assert_eq!(
                ambient(&[other], &workflow).await,
                ["databricks-cli", "github-oidc", devops, "github-oidc-azure", "azure-cli"]
            );
        }
    }

    #[tokio::test]
    async fn nothing_configured_is_explained_in_short() {
        let server = workspace().await;
        let error = choice(&[("host", &server.url)], Env::default()).await.unwrap_err();
        assert!(error.starts_with("default auth: cannot configure default credentials. "), "{error}");
        let (_, names) = error.split_once(&format!("Config: host={}\nNot configured: ", server.url)).unwrap();
        let mut names: Vec<_> = names.split(", ").collect();
        names.sort_unstable();
        let mut all = ORDER.to_vec();
        all.sort_unstable();
        assert_eq!(names, all);
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
        assert_eq!(reason("env-oidc"), "would work too, but pat comes before it");
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
        let error = choice(&stated, env(&[("DATABRICKS_TOKEN", "dapi")])).await.unwrap_err();
        assert!(error.contains("\nNot possible with databricks:groupId: pat, basic, "), "{error}");
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
