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

use super::cache::{self, Token};
use super::{AuthError, Bearer, Settings, SignIn, Strategy, command};
use crate::config::Source;
use crate::databricks::metadata::HostType;

/// Whoever signed in with `databricks auth login`.
pub(super) struct DatabricksCli;

/// Name of the tool on the PATH.
const DEFAULT_NAME: &str = "databricks";
/// The tool is one program of many megabytes; the tool of the same name that came before it, a script, is not.
const LEAST_SIZE: u64 = 1 << 20;
/// The first version whose `auth token` takes a profile.
const TAKES_PROFILE: Version = Version { numbers: [0, 207, 1], is_release: true };
/// The first version that renews a token which still works.
const TAKES_FORCE_REFRESH: Version = Version { numbers: [0, 296, 0], is_release: true };

#[async_trait]
impl Strategy for DatabricksCli {
    fn name(&self) -> &'static str {
        "databricks-cli"
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<SignIn, AuthError> {
        // A profile may name scopes: the tool that wrote it has asked for them.
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
            Err(reason) => SignIn::NotConfigured(reason),
        })
    }
}

/// Finds the tool, or says why there is none.
fn find(settings: &Settings) -> Result<PathBuf, String> {
    let stated = settings.config.attributes.databricks_cli_path.as_deref().unwrap_or(DEFAULT_NAME);
    let candidates = if stated.contains(['/', std::path::MAIN_SEPARATOR]) {
        vec![PathBuf::from(stated)]
    } else {
        let mut found = command::on_path(&settings.env, stated);
        if cfg!(windows) {
            found.extend(command::on_path(&settings.env, &format!("{stated}.exe")));
        }
        found
    };
    let mut reason = format!("databricks CLI not found: {stated:?} is not there, or not on the PATH");
    for path in candidates {
        match std::fs::metadata(&path) {
            Ok(file) if file.is_file() && file.len() >= LEAST_SIZE => return Ok(path),
            Ok(file) if file.is_file() => {
                reason =
                    format!("legacy databricks CLI detected; upgrade to >= 0.100.0: {}", path.display());
            }
            _ => {}
        }
    }
    Err(reason)
}

struct Cli {
    settings: Arc<Settings>,
    program: PathBuf,
    /// `None` is one that does not say.
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
    /// The command for a token, as far as the version knows its flags.
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
                tracing::debug!(%failure, "the Databricks CLI does not tell its version");
                None
            }
        };
        tracing::debug!(?version, "Databricks CLI");
        version
    }
}

#[async_trait]
impl cache::Source for Cli {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let arguments = self.arguments().await?;
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = command::run(&self.settings, &self.program, &arguments)
            .await
            .map_err(|failure| AuthError(format!("cannot get access token: {failure}")))?;
        // The place of the fault, since the answer holds a token.
        let answer: Answer = serde_json::from_slice(&output).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            AuthError(format!("cannot parse CLI response: line {line}, column {column}"))
        })?;
        let expires = parse_expiry(&answer.expiry).ok_or_else(|| {
            AuthError("cannot parse CLI response: cannot parse token expiry: it is no date".to_owned())
        })?;
        Token::new("databricks auth token", answer.access_token, &answer.token_type, Some(expires))
    }
}

/// A date of RFC 3339, or one without a zone, which is UTC.
fn parse_expiry(text: &str) -> Option<SystemTime> {
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let date: DateTime = text.parse().ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    Some(timestamp.into())
}

/// A version of the tool. What comes before a release has no part in it but that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: [u32; 3],
    is_release: bool,
}

impl Version {
    /// Reads `Databricks CLI v0.296.0`. A build without a version calls itself v0.0.0-dev, and so is older than all.
    fn parse(output: &str) -> Option<Version> {
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
