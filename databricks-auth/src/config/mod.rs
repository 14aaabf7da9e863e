//! Provider configuration: what a program, the environment and `.databrickscfg` say, resolved once and in that order.
//!
//! The rules are those of the Databricks SDKs, so that a provider signs in wherever the other tools do. Nothing here
//! sends a request.

mod attributes;
#[cfg(test)]
mod fuzz;
mod host;
mod ini;
mod profile;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use crate::env::Env;

pub use attributes::{ATTRIBUTES, Attribute, Attributes, Group, Kind};
pub use host::{Cloud, Host, HostError};

/// What a program states, by the name of the attribute.
pub type Statements = BTreeMap<String, Statement>;

/// What a program states for one attribute: the text of its value.
#[derive(Clone, Debug)]
pub struct Statement {
    text: Result<SecretString, String>,
    confidential: bool,
}

impl Statement {
    /// A value that cannot be made a text. The reason becomes an error of the configuration.
    pub fn unusable(reason: impl Into<String>) -> Self {
        Statement { text: Err(reason.into()), confidential: false }
    }

    /// Keeps the value out of every message, whether the attribute is a credential or not.
    pub fn confidential(self, confidential: bool) -> Self {
        Statement { confidential, ..self }
    }

    /// Sets the attribute.
    pub fn set(&self, attribute: &Attribute, attributes: &mut Attributes) -> Result<(), String> {
        (attribute.set_text)(attributes, self.text.as_ref().map_err(String::clone)?.expose_secret())
    }
}

impl From<&str> for Statement {
    fn from(text: &str) -> Self {
        Statement { text: Ok(text.into()), confidential: false }
    }
}

impl From<String> for Statement {
    fn from(text: String) -> Self {
        Statement { text: Ok(text.into()), confidential: false }
    }
}

/// Where the value of an attribute comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Pulumi configuration, or the arguments of an explicit provider.
    Program,
    /// An environment variable.
    Environment,
    /// A profile of the configuration file.
    Profile,
    /// The query of the host URL.
    Host,
}

/// An attribute that is accepted and has no effect.
const WITHOUT_EFFECT: &str = "azureLoginAppId";

/// A configuration that is ready for signing in.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The values.
    pub attributes: Attributes,
    /// Where each value comes from, by attribute name.
    pub sources: BTreeMap<&'static str, Source>,
    /// Attributes whose values the program marks as secret, credentials or not.
    pub confidential: BTreeSet<&'static str>,
    /// The host in its normal form, if one is set.
    pub host: Option<Host>,
}

/// Why a configuration cannot be used. The text ends with what is set and where from, credentials masked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}{}", suffix(.settings))]
pub struct ConfigError {
    /// What is wrong, in the words of the Databricks SDKs where they have some.
    pub reason: String,
    /// What is set, as in [`Config::describe`].
    pub settings: String,
}

fn suffix(settings: &str) -> String {
    if settings.is_empty() { String::new() } else { format!(". {settings}") }
}

/// Older names of methods that configurations may use, each with its name here.
const AUTH_TYPE_ALIASES: &[(&str, &str)] = &[
    ("google-creds", "google-credentials"),
    ("google-accounts", "google-id"),
    ("google-workspace", "google-id"),
];

/// Id of a personal access token, as Databricks lists it: the SHA-256 of the value.
pub fn token_id(value: &SecretString) -> String {
    let id = ring::digest::digest(&ring::digest::SHA256, value.expose_secret().as_bytes());
    id.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Config {
    /// Resolves a configuration: what the program states, then the environment, then a profile.
    pub fn resolve(stated: &Statements, env: &Env) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        config.load_stated(stated)?;
        config.load_environment(env)?;
        profile::load(&mut config, env)?;
        config.validate()?;
        config.normalize_host()?;
        let scopes = &mut config.attributes.scopes;
        scopes.sort();
        scopes.dedup();
        if let Some(auth_type) = &mut config.attributes.auth_type
            && let Some((_, name)) = AUTH_TYPE_ALIASES.iter().find(|(alias, _)| alias == auth_type)
        {
            *auth_type = (*name).to_owned();
        }
        // The Databricks CLI writes "none" where no workspace is meant.
        if config.attributes.workspace_id.as_deref() == Some("none") {
            config.attributes.workspace_id = None;
        }
        Ok(config)
    }

    /// Sets an attribute unless it has a value already; the first source wins.
    fn set(
        &mut self,
        attribute: &Attribute,
        source: Source,
        set: impl FnOnce(&mut Attributes) -> Result<(), String>,
    ) -> Result<(), String> {
        if (attribute.is_set)(&self.attributes) {
            return Ok(());
        }
        set(&mut self.attributes)?;
        if (attribute.is_set)(&self.attributes) {
            self.sources.insert(attribute.name, source);
        }
        Ok(())
    }

    fn load_stated(&mut self, stated: &Statements) -> Result<(), ConfigError> {
        for attribute in ATTRIBUTES {
            let Some(statement) = stated.get(attribute.name) else { continue };
            if statement.confidential {
                self.confidential.insert(attribute.name);
            }
            self.set(attribute, Source::Program, |attributes| statement.set(attribute, attributes))
                .map_err(|reason| self.error(format!("databricks:{}: {reason}", attribute.name)))?;
        }
        Ok(())
    }

    fn load_environment(&mut self, env: &Env) -> Result<(), ConfigError> {
        for attribute in ATTRIBUTES {
            let Some((name, text)) = attribute.env.and_then(|name| Some((name, env.var(name)?))) else {
                continue;
            };
            self.set(attribute, Source::Environment, |attributes| (attribute.set_text)(attributes, text))
                .map_err(|reason| self.error(format!("environment variable {name}: {reason}")))?;
        }
        Ok(())
    }

    fn normalize_host(&mut self) -> Result<(), ConfigError> {
        let Some(stated) = self.attributes.host.take() else { return Ok(()) };
        let host = Host::parse(&stated).map_err(|error| self.error(error.to_string()))?;
        for (value, slot, name) in [
            (&host.workspace_id, &mut self.attributes.workspace_id, "workspaceId"),
            (&host.account_id, &mut self.attributes.account_id, "accountId"),
        ] {
            if slot.is_none() && value.is_some() {
                slot.clone_from(value);
                self.sources.insert(name, Source::Host);
            }
        }
        self.attributes.host = Some(host.url.clone());
        self.host = Some(host);
        Ok(())
    }

    /// Whether anything is set that belongs to the credentials of this group.
    pub(crate) fn names_method(&self, group: &'static str) -> bool {
        let mut attributes = ATTRIBUTES.iter();
        attributes.any(|it| it.group == Group::Method(group) && (it.is_set)(&self.attributes))
    }

    /// Whether anything of this group is set where it can only be meant for Databricks: in the program, the stack, the
    /// profile, or a variable of Databricks' own. The remaining variables are read by other tools too.
    pub(crate) fn means_method(&self, group: &'static str) -> bool {
        let is_for_databricks = |it: &Attribute| match self.sources.get(it.name) {
            Some(Source::Environment) => it.env.is_some_and(|name| name.starts_with("DATABRICKS_")),
            source => source.is_some(),
        };
        let mut attributes = ATTRIBUTES.iter();
        attributes
            .any(|it| it.group == Group::Method(group) && it.name != WITHOUT_EFFECT && is_for_databricks(it))
    }

    /// This configuration, with `host` in place of its own, which may be missing.
    pub fn at(&self, host: Host) -> Config {
        let mut config = self.clone();
        config.attributes.host = Some(host.url.clone());
        config.host = Some(host);
        config
    }

    /// Refuses attributes of two methods at once, unless `auth_type` names the method to use.
    fn validate(&self) -> Result<(), ConfigError> {
        let mut methods: Vec<&str> = ATTRIBUTES
            .iter()
            .filter(|attribute| (attribute.is_set)(&self.attributes))
            .filter_map(|attribute| match attribute.group {
                Group::Method(name) => Some(name),
                Group::General | Group::Internal => None,
            })
            .collect();
        methods.sort_unstable();
        methods.dedup();
        if methods.len() > 1 && self.attributes.auth_type.is_none() {
            let methods = methods.join(" and ");
            return Err(self.error(format!(
                "validate: more than one authorization method configured: {methods}. Set databricks:authType to the \
                 one to use, or unset the others"
            )));
        }
        Ok(())
    }

    /// Fails where nothing says which workspace is meant; the error says what to do.
    pub fn check_host(&self) -> Result<(), ConfigError> {
        if self.host.is_some() || self.attributes.azure_workspace_resource_id.is_some() {
            return Ok(());
        }
        Err(self.error(
            "no host configured: run `pulumi config set databricks:host https://<workspace>`, set DATABRICKS_HOST, or \
             name a profile of ~/.databrickscfg with databricks:profile",
        ))
    }

    /// A warning about what works but should not stay as it is, if there is such a thing.
    pub fn warning(&self) -> Option<String> {
        let host = self.host.as_ref().filter(|host| host.is_exposed())?;
        Some(format!(
            "{host} is plain http: credentials and new tokens can be read by anyone on the network path. Use https in \
             databricks:host"
        ))
    }

    /// An error of this configuration.
    pub fn error(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError { reason: reason.into(), settings: self.describe() }
    }

    /// The value of an attribute as messages show it: a credential, and whatever the program marks as secret, as `***`.
    pub fn show(&self, attribute: &Attribute) -> String {
        let confidential = self.confidential.contains(attribute.name);
        if confidential { "***".to_owned() } else { without_password((attribute.show)(&self.attributes)) }
    }

    /// The configuration file that is read where a profile is needed: the configured one, or that in the home
    /// directory.
    pub fn file(&self, env: &Env) -> Option<PathBuf> {
        profile::path(self, env)
    }

    /// Id of the configured personal access token, as Databricks lists it.
    pub fn token_id(&self) -> Option<String> {
        self.attributes.token.as_ref().map(token_id)
    }

    /// What is set and by which environment variables, in the form of the Databricks SDKs. Credentials are masked,
    /// and so is whatever the program marks as secret.
    pub fn describe(&self) -> String {
        let set = || {
            ATTRIBUTES.iter().filter(|attribute| {
                attribute.group != Group::Internal && (attribute.is_set)(&self.attributes)
            })
        };
        let values: Vec<_> =
            set().map(|attribute| format!("{}={}", attribute.ini, self.show(attribute))).collect();
        let names: Vec<_> = set()
            .filter(|attribute| self.sources.get(attribute.name) == Some(&Source::Environment))
            .filter_map(|attribute| attribute.env)
            .collect();
        let mut parts = Vec::new();
        if !values.is_empty() {
            parts.push(format!("Config: {}", values.join(", ")));
        }
        if !names.is_empty() {
            parts.push(format!("Env: {}", names.join(", ")));
        }
        parts.join(". ")
    }
}

/// The value, with user and password masked if it is a URL that has them, as a copied host may.
pub fn without_password(shown: String) -> String {
    let Some((scheme, rest)) = shown.split_once("://") else { return shown };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> Env {
        Env { vars: vars.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(), home: None }
    }

    pub(super) fn stated(values: &[(&str, &str)]) -> Statements {
        values.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn a_password_in_the_host_is_not_shown() {
        for (shown, expected) in [
            ("https://u:p@a.b/x@y", "https://***@a.b/x@y"),
            ("https://u:p@:x", "https://***@:x"),
            ("https://a.b/?x=u@v", "https://a.b/?x=u@v"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_password(shown.to_owned()), expected);
        }
    }

    #[test]
    fn the_program_goes_before_the_environment() {
        let env = env(&[("DATABRICKS_HOST", "https://env"), ("DATABRICKS_TOKEN", "t")]);
        let config = Config::resolve(&stated(&[("host", "https://program")]), &env).unwrap();
        assert_eq!(config.attributes.host.as_deref(), Some("https://program"));
        assert_eq!(config.sources["token"], Source::Environment);
        assert_eq!(config.describe(), "Config: host=https://program, token=***. Env: DATABRICKS_TOKEN");
    }

    #[test]
    fn what_the_program_marks_secret_is_not_shown() {
        let mut stated = stated(&[("token", "t"), ("rateLimit", "many")]);
        stated.insert("username".into(), Statement::from("somebody").confidential(true));
        let error = Config::resolve(&stated, &Env::default()).unwrap_err().to_string();
        assert!(error.contains("username=***") && !error.contains("somebody"), "{error}");
    }

    #[test]
    fn two_methods_at_once_are_refused_by_name() {
        let env = env(&[("ARM_CLIENT_ID", "a"), ("DATABRICKS_TOKEN", "t"), ("DATABRICKS_HOST", "h")]);
        let error = Config::resolve(&Statements::new(), &env).unwrap_err().to_string();
        assert!(
            error.starts_with("validate: more than one authorization method configured: azure and pat."),
            "{error}"
        );
        assert!(error.contains("Config: host=h, token=***, azure_client_id=a. Env: "), "{error}");
        assert!(Config::resolve(&stated(&[("authType", "pat")]), &env).is_ok());
    }

    #[test]
    fn plain_http_is_warned_of_unless_it_stays_on_this_machine() {
        let warning =
            |host: &str| Config::resolve(&stated(&[("host", host)]), &Env::default()).unwrap().warning();
        assert!(warning("http://a.b").is_some_and(|text| text.starts_with("http://a.b is plain http")));
        for host in ["https://a.b", "http://localhost:1", "http://127.0.0.1:1"] {
            assert_eq!(warning(host), None, "{host}");
        }
        assert_eq!(Config::default().warning(), None);
    }

    #[test]
    fn the_host_may_name_the_workspace() {
        for (host, id, expected, source) in [
            ("https://a.b/?o=1", None, Some("1"), Some(Source::Host)),
            ("https://a.b/?o=1", Some("2"), Some("2"), Some(Source::Program)),
            ("https://a.b", Some("2"), Some("2"), Some(Source::Program)),
            ("https://a.b", None, None, None),
        ] {
            let mut values = vec![("host", host)];
            values.extend(id.map(|id| ("workspaceId", id)));
            let config = Config::resolve(&stated(&values), &Env::default()).unwrap();
            assert_eq!(config.attributes.workspace_id.as_deref(), expected, "{host} {id:?}");
            assert_eq!(config.sources.get("workspaceId"), source.as_ref(), "{host} {id:?}");
        }
    }

    #[test]
    fn the_id_of_a_token_is_the_digest_of_its_value() {
        let config = Config::resolve(&stated(&[("token", "abc")]), &Env::default()).unwrap();
        let id = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(config.token_id().as_deref(), Some(id));
        assert_eq!(Config::default().token_id(), None);
    }

    #[test]
    fn every_property_has_a_row() {
        assert_eq!(ATTRIBUTES.len(), 42);
    }
}
