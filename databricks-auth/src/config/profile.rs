//! `.databrickscfg`: profiles that the Databricks CLI and SDKs share.

use std::path::{Path, PathBuf};

use super::ini::{DEFAULT, File};
use super::{ATTRIBUTES, Config, ConfigError, Group, Source};
use crate::env::Env;

/// Section that may name the default profile; never a profile itself.
const SETTINGS: &str = "__settings__";

/// Fills what is still unset from a profile. Does nothing where host or credentials are set already and no profile is
/// named, so that a default profile never mixes into a complete configuration.
pub(super) fn load(config: &mut Config, env: &Env) -> Result<(), ConfigError> {
    let complete = ATTRIBUTES.iter().any(|attribute| {
        let decides = matches!(attribute.group, Group::Method(_)) || attribute.name == "host";
        decides && (attribute.is_set)(&config.attributes)
    });
    if complete && config.attributes.profile.is_none() {
        return Ok(());
    }
    let Some(path) = path(config, env) else { return Ok(()) };
    let text = match std::fs::read(&path) {
        Ok(bytes) => zeroize::Zeroizing::new(bytes),
        // Most machines have no such file.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(config, &path, &error)),
    };
    apply(config, &path, &text)
}

fn unusable(config: &Config, path: &Path, reason: &dyn std::fmt::Display) -> ConfigError {
    config.error(format!("resolve: {}: cannot parse config file: {reason}", path.display()))
}

/// Fills what is still unset from the content of the file at `path`.
pub(super) fn apply(config: &mut Config, path: &Path, content: &[u8]) -> Result<(), ConfigError> {
    let file =
        File::parse(&String::from_utf8_lossy(content)).map_err(|reason| unusable(config, path, &reason))?;

    let asked = config.attributes.profile.clone().or_else(|| {
        let name = file.get(SETTINGS, "default_profile")?.trim();
        (!name.is_empty()).then(|| name.to_owned())
    });
    let name = asked.clone().unwrap_or_else(|| DEFAULT.to_owned());
    if name == SETTINGS {
        return Err(config.error(format!(
            "resolve: {}: {SETTINGS} is a reserved section name and cannot be used as a profile",
            path.display()
        )));
    }
    if file.is_empty(&name) {
        return match asked {
            None => Ok(()),
            Some(_) => {
                Err(config.error(format!("resolve: {} has no {name} profile configured", path.display())))
            }
        };
    }
    for attribute in ATTRIBUTES {
        let Some(text) = file.get(&name, attribute.ini) else { continue };
        config.set(attribute, Source::Profile, |attributes| (attribute.set_text)(attributes, text)).map_err(
            |reason| {
                config.error(format!(
                    "resolve: {} {name} profile: {}: {reason}",
                    path.display(),
                    attribute.ini
                ))
            },
        )?;
    }
    config.attributes.profile = Some(name);
    Ok(())
}

pub(super) fn path(config: &Config, env: &Env) -> Option<PathBuf> {
    match config.attributes.config_file.as_deref() {
        None => Some(env.home.as_ref()?.join(".databrickscfg")),
        Some(path) => match path.strip_prefix('~') {
            Some(rest) => Some(env.home.as_ref()?.join(rest.trim_start_matches(['/', '\\']))),
            None => Some(PathBuf::from(path)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Statements;
    use crate::config::tests::stated;

    fn resolve_at_home(file: &str, values: &[(&str, &str)]) -> Config {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".databrickscfg"), file).unwrap();
        Config::resolve(&stated(values), &Env { home: Some(home.path().to_owned()), ..Env::default() })
            .unwrap()
    }

    #[test]
    fn a_default_profile_never_mixes_into_a_configuration() {
        let username = |values: &[(&str, &str)]| {
            resolve_at_home("[DEFAULT]\nusername = u\n", values).attributes.username
        };
        assert_eq!(username(&[]).as_deref(), Some("u"));
        assert_eq!(username(&[("rateLimit", "1")]).as_deref(), Some("u"));
        assert_eq!(username(&[("host", "https://a.b")]), None);
        assert_eq!(username(&[("password", "p")]), None);
        assert_eq!(username(&[("host", "https://a.b"), ("profile", "DEFAULT")]).as_deref(), Some("u"));
    }

    #[test]
    fn the_file_may_name_the_default_profile() {
        for (name, expected) in [("p", "https://p"), ("", "https://default"), (" ", "https://default")] {
            let file = format!(
                "[__settings__]\ndefault_profile = {name}\n[DEFAULT]\nhost = https://default\n[p]\nhost = https://p\n"
            );
            assert_eq!(resolve_at_home(&file, &[]).attributes.host.as_deref(), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_none() {
        let resolve = |path: PathBuf| {
            let name = "DATABRICKS_CONFIG_FILE".to_owned();
            let vars = [(name, path.to_string_lossy().into_owned())].into();
            Config::resolve(&Statements::new(), &Env { vars, home: None })
        };
        let error = resolve(std::env::temp_dir()).unwrap_err().to_string();
        assert!(error.contains("cannot parse config file: "), "{error}");
        assert!(resolve(std::env::temp_dir().join("no such file of databricks")).is_ok());
    }
}
