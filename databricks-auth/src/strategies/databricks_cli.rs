use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::{Bearer, Outcome, Strategy, command};
use crate::config::Source;
use crate::error::AuthError;
use crate::metadata::HostType;
use crate::settings::Settings;
use crate::token_cache::{self, Token};

/// Whoever signed in with `databricks auth login`.
pub(super) struct DatabricksCli;

/// Name of the tool on the PATH.
const DEFAULT_NAME: &str = "databricks";
/// The tool is one program of many megabytes. Its predecessor of the same name is a script, which is smaller than this.
const LEAST_SIZE: u64 = 1 << 20;
/// The first version whose `auth token` takes a profile.
const TAKES_PROFILE: Version = Version { numbers: [0, 207, 1], is_release: true };
/// The first version that can renew a token which still works.
const TAKES_FORCE_REFRESH: Version = Version { numbers: [0, 296, 0], is_release: true };

#[async_trait]
impl Strategy for DatabricksCli {
    fn name(&self) -> &'static str {
        "databricks-cli"
    }

    /// The login is that of whoever uses this machine.
    fn is_ambient(&self, _settings: &Settings) -> bool {
        true
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        // A profile may name scopes: the tool that wrote it has requested them.
        let scopes = settings.config.sources.get("scopes");
        if scopes.is_some_and(|source| *source != Source::Profile) {
            return Err(AuthError(
                "custom scopes are not supported with databricks-cli auth; scopes are determined by what was last \
                 used when logging in with `databricks auth login`. Unset databricks:scopes"
                    .to_owned(),
            ));
        }
        Ok(match find(settings) {
            Ok(program) => {
                let cli = Cli { settings: Arc::clone(settings), program, version: OnceCell::new() };
                Bearer::sign_in(cli, settings)
            }
            Err(reason) => reason,
        })
    }
}

/// Finds the tool, or says why there is none.
fn find(settings: &Settings) -> Result<PathBuf, Outcome> {
    let path = settings.config.attributes.databricks_cli_path.as_deref();
    let stated = path.unwrap_or(DEFAULT_NAME);
    let candidates = if stated.contains(['/', std::path::MAIN_SEPARATOR]) {
        vec![PathBuf::from(stated)]
    } else {
        let mut found = command::on_path(&settings.env, stated);
        if cfg!(windows) {
            found.extend(command::on_path(&settings.env, &format!("{stated}.exe")));
        }
        found
    };
    let mut reason = format!("databricks CLI not found: {stated:?} does not exist, or is not on the PATH");
    let mut is_there = path.is_some();
    for path in candidates {
        match std::fs::metadata(&path) {
            Ok(file) if file.is_file() && file.len() >= LEAST_SIZE => return Ok(path),
            Ok(file) if file.is_file() => {
                reason = format!("legacy databricks CLI detected; upgrade to >= 0.100.0: {}", path.display());
                is_there = true;
            }
            _ => {}
        }
    }
    Err(if is_there { Outcome::DoesNotApply(reason) } else { Outcome::NotConfigured(reason) })
}

struct Cli {
    settings: Arc<Settings>,
    program: PathBuf,
    /// `None` where the tool does not say its version.
    version: OnceCell<Option<Version>>,
}

/// What the tool answers.
#[derive(Deserialize)]
struct Answer {
    access_token: SecretString,
    #[serde(default)]
    token_type: String,
    expiry: String,
}

impl Cli {
    /// The arguments that request a token, with the flags that the tool's version knows.
    async fn arguments(&self) -> Result<Vec<String>, AuthError> {
        let version = self.version.get_or_init(|| self.ask_version()).await.as_ref();
        let since = |first: Version| version.is_some_and(|version| *version >= first);
        let mut arguments = vec!["auth".to_owned(), "token".to_owned()];
        let profile = self.settings.config.attributes.profile.as_ref().filter(|_| since(TAKES_PROFILE));
        match profile {
            Some(profile) => arguments.extend(["--profile".to_owned(), profile.clone()]),
            None => {
                arguments.extend(["--host".to_owned(), self.settings.host()?.to_owned()]);
                let metadata = &self.settings.metadata;
                if let (HostType::Account, Some(account)) = (metadata.host_type, &metadata.account_id) {
                    arguments.extend(["--account-id".to_owned(), account.clone()]);
                }
            }
        }
        if since(TAKES_FORCE_REFRESH) {
            arguments.push("--force-refresh".to_owned());
        }
        Ok(arguments)
    }

    async fn ask_version(&self) -> Option<Version> {
        let version = match command::run(&self.settings, &self.program, &["version"]).await {
            Ok(output) => Version::parse(&String::from_utf8_lossy(&output)),
            Err(failure) => {
                tracing::debug!(%failure, "the Databricks CLI does not report its version");
                None
            }
        };
        tracing::debug!(?version, "Databricks CLI");
        version
    }
}

#[async_trait]
impl token_cache::Source for Cli {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let arguments = self.arguments().await?;
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = command::run(&self.settings, &self.program, &arguments)
            .await
            .map_err(|failure| AuthError(format!("cannot get access token: {failure}")))?;
        read_answer(&output)
    }
}

/// Reads what the tool wrote to stdout.
pub(super) fn read_answer(output: &[u8]) -> Result<Token, AuthError> {
    // The error names only the place of the fault, since the answer holds a token.
    let answer: Answer = serde_json::from_slice(output).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        AuthError(format!("cannot parse CLI response: line {line}, column {column}"))
    })?;
    let expires = parse_expiry(&answer.expiry).ok_or_else(|| {
        AuthError("cannot parse CLI response: cannot parse token expiry: it is not a date".to_owned())
    })?;
    Token::new("databricks auth token", answer.access_token, &answer.token_type, Some(expires))
}

/// Reads a date of RFC 3339, or one without a zone, which is in UTC.
pub(super) fn parse_expiry(text: &str) -> Option<SystemTime> {
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let date: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(date).ok()
    })?;
    timestamp.try_into().ok()
}

/// A version of the tool. Of the label of a pre-release, only its presence is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    numbers: [u32; 3],
    is_release: bool,
}

impl Version {
    /// Reads `Databricks CLI v0.296.0`. A build without a version calls itself v0.0.0-dev, so it is older than all
    /// others.
    pub(super) fn parse(output: &str) -> Option<Version> {
        let text = output.trim();
        let text = text.strip_prefix("Databricks CLI ").unwrap_or(text).strip_prefix('v')?;
        let text = text.split('+').next()?;
        let (release, is_release) = match text.split_once('-') {
            Some((release, _)) => (release, false),
            None => (text, true),
        };
        let numbers: Vec<u32> = release.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Version { numbers: numbers.try_into().ok()?, is_release })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::env::Env;
    use crate::strategies::testing::{Answer, Clock, Server, Tools, settings, sign_in, start};

    /// A stand-in that is big enough, answers requests for tokens, and runs the script `version` for its version.
    fn cli(tools: &Tools, version: &str) {
        let script = format!(
            r#"case "$1" in
            version) {version} ;;
            *) echo "$@" >> "$HOME/calls"
               echo '{{"access_token":"cli-token","token_type":"Bearer","expiry":"2027-01-15T09:00:00.123456789Z"}}' ;;
            esac"#
        );
        tools.add("databricks", &script, 1 << 20);
    }

    fn calls(tools: &Tools) -> String {
        std::fs::read_to_string(tools.path().join("calls")).unwrap_or_default()
    }

    const HOST: (&str, &str) = ("host", "http://127.0.0.1:1");

    #[tokio::test]
    async fn the_flags_follow_the_version() {
        let host = "auth token --host http://127.0.0.1:1";
        for (version, profile, expected) in [
            ("echo Databricks CLI v0.100.0", "p", host.to_owned()),
            ("echo Databricks CLI v0.207.0", "p", host.to_owned()),
            ("echo Databricks CLI v0.207.1", "p", "auth token --profile p".to_owned()),
            ("echo Databricks CLI v0.207.1", "", host.to_owned()),
            ("echo Databricks CLI v0.296.0", "p", "auth token --profile p --force-refresh".to_owned()),
            ("echo Databricks CLI v0.296.0-rc1", "p", "auth token --profile p".to_owned()),
            ("echo Databricks CLI v1.0.0", "", format!("{host} --force-refresh")),
            ("echo Databricks CLI v0.0.0-dev+0a1b2c", "p", host.to_owned()),
            ("echo something else", "p", host.to_owned()),
            ("exit 1", "p", host.to_owned()),
        ] {
            let tools = Tools::new();
            cli(&tools, version);
            std::fs::write(tools.path().join(".databrickscfg"), "[p]\ncluster_id = c\n").unwrap();
            let stated = [HOST, ("profile", profile)];
            let credentials =
                sign_in(&settings(&stated, tools.env(), Clock::still()).await, "databricks-cli")
                    .await
                    .unwrap();
            let headers = credentials.headers().await.unwrap();
            assert_eq!(headers["authorization"], "Bearer cli-token");
            assert_eq!(calls(&tools).trim(), expected, "{version}");
        }
    }

    #[tokio::test]
    async fn an_account_host_is_named_with_its_account() {
        let server = Server::start(|_, _| Answer::json(r#"{"host_type":"account"}"#)).await;
        let tools = Tools::new();
        cli(&tools, "echo Databricks CLI v0.250.0");
        let stated = [("host", server.url.as_str()), ("accountId", "acc")];
        let settings = settings(&stated, tools.env(), Clock::still()).await;
        sign_in(&settings, "databricks-cli").await.unwrap().headers().await.unwrap();
        assert_eq!(calls(&tools).trim(), format!("auth token --host {} --account-id acc", server.url));
    }

    #[tokio::test]
    async fn the_tool_is_looked_for_where_the_configuration_says() {
        let tools = Tools::new();
        let reason = |stated: Vec<(&'static str, String)>, env: Env| async move {
            let stated: Vec<_> = stated.iter().map(|(name, value)| (*name, value.as_str())).collect();
            sign_in(&settings(&stated, env, Clock::still()).await, "databricks-cli")
                .await
                .err()
                .map(|error| error.0)
        };
        let host = || vec![(HOST.0, HOST.1.to_owned())];
        let with_path = |path: &str| [host(), vec![("databricksCliPath", path.to_owned())]].concat();

        let error = reason(host(), tools.env()).await.unwrap();
        assert!(error.contains("databricks CLI not found"), "{error}");
        let error = reason(with_path("/nowhere/databricks"), tools.env()).await.unwrap();
        assert!(error.contains("databricks CLI not found: \"/nowhere/databricks\""), "{error}");

        let folder = Tools::new();
        std::fs::create_dir(folder.path().join("databricks")).unwrap();
        let path = folder.path().join("databricks").display().to_string();
        for stated in [host(), with_path(&path)] {
            let error = reason(stated, folder.env()).await.unwrap();
            assert!(error.contains("databricks CLI not found"), "{error}");
        }

        let legacy = tools.add("databricks", "exit 1", 0);
        for stated in [host(), with_path(&legacy.display().to_string())] {
            let error = reason(stated, tools.env()).await.unwrap();
            assert!(error.contains("legacy databricks CLI detected; upgrade to >= 0.100.0"), "{error}");
        }

        // A tool that is new enough is found even where an old one comes first on the PATH.
        let newer = Tools::new();
        cli(&newer, "echo Databricks CLI v0.250.0");
        let mut env = tools.env();
        let path = format!("{}:{}", env.vars["PATH"], newer.path().display());
        env.vars.insert("PATH".into(), path);
        assert_eq!(reason(host(), env).await, None);
        let named = newer.add("dbx", "exit 1", 1 << 20);
        assert_eq!(reason(with_path(&named.display().to_string()), tools.env()).await, None);
        assert_eq!(reason(with_path("dbx"), newer.env()).await, None);
    }

    #[tokio::test]
    async fn scopes_are_those_of_the_login() {
        let tools = Tools::new();
        cli(&tools, "echo Databricks CLI v0.250.0");
        let stated = [HOST, ("scopes", "[\"sql\"]")];
        let refused = sign_in(&settings(&stated, tools.env(), Clock::still()).await, "databricks-cli").await;
        assert!(
            refused.err().unwrap().0.contains("custom scopes are not supported with databricks-cli auth")
        );

        let profile = format!("[p]\nhost = {}\nscopes = sql\n", HOST.1);
        std::fs::write(tools.path().join(".databrickscfg"), profile).unwrap();
        let settings = settings(&[("profile", "p")], tools.env(), Clock::still()).await;
        assert_eq!(settings.config.attributes.scopes, ["sql"]);
        assert!(sign_in(&settings, "databricks-cli").await.is_ok());
    }

    #[tokio::test]
    async fn a_failure_quotes_what_the_tool_says_and_no_token() {
        let tools = Tools::new();
        for (script, expected) in [
            ("echo 'no such login' >&2; exit 3", "cannot get access token: no such login: exit status 3"),
            ("echo eyJhbGciOiJIUzI1NiJ9.e30.c2ln >&2; exit 1", "cannot get access token: ***: exit status 1"),
            ("echo hidden", "cannot parse CLI response: line 1, column 1"),
            (
                r#"echo '{"access_token":"hidden","expiry":"tomorrow"}'"#,
                "cannot parse CLI response: cannot parse token expiry: it is not a date",
            ),
            (
                r#"echo '{"access_token":"","expiry":"2027-01-15T09:00:00Z"}'"#,
                "databricks auth token: the answer holds no token",
            ),
        ] {
            tools.add("databricks", script, 1 << 20);
            let settings = settings(&[HOST], tools.env(), Clock::still()).await;
            let credentials = sign_in(&settings, "databricks-cli").await.unwrap();
            assert_eq!(credentials.headers().await.unwrap_err().0, expected);
        }
    }

    #[test]
    fn an_expiry_has_several_forms() {
        // The tests begin at eight in the morning.
        let midnight = start() - std::time::Duration::from_secs(8 * 60 * 60);
        for (text, milliseconds) in [
            ("2027-01-15T00:00:00Z", 0),
            ("2027-01-15T02:00:00.5+02:00", 500),
            ("2027-01-15T00:00:00.123456789Z", 123),
            ("2027-01-15 00:00:00", 0),
            ("2027-01-15 00:00:00.25", 250),
        ] {
            let since = parse_expiry(text).and_then(|at| at.duration_since(midnight).ok());
            assert_eq!(since.map(|since| since.as_millis()), Some(milliseconds), "{text}");
        }
        for text in ["", "tomorrow", "1800000000"] {
            assert_eq!(parse_expiry(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn the_expiry_is_that_of_the_answer() {
        let tools = Tools::new();
        cli(&tools, "echo Databricks CLI v0.250.0");
        let settings = settings(&[HOST], tools.env(), Clock::still()).await;
        let cli = Cli {
            settings: Arc::clone(&settings),
            program: find(&settings).ok().unwrap(),
            version: OnceCell::new(),
        };
        let token = token_cache::Source::fetch(&cli).await.unwrap();
        assert_eq!(token.value.expose_secret(), "cli-token");
        let lifetime = token.expires.unwrap().duration_since(start()).unwrap();
        assert_eq!(lifetime.as_secs(), 60 * 60);
    }
}
