//! `.databrickscfg`: profiles that the Databricks CLI and SDKs share.

use std::path::PathBuf;

use ini::{Ini, ParseOption};

use super::{ATTRIBUTES, Config, ConfigError, Group, Source};
use crate::env::Env;

/// Section that may name the default profile; never a profile itself.
const SETTINGS: &str = "__settings__";
const DEFAULT: &str = "DEFAULT";

/// Fills what is still unset from a profile. Skipped where host or credentials are set already and no profile is
/// asked for, so that a default profile never mixes into a complete configuration.
pub(super) fn load(config: &mut Config, env: &Env) -> Result<(), ConfigError> {
    let complete = ATTRIBUTES.iter().any(|attribute| {
        let decides = matches!(attribute.group, Group::Method(_)) || attribute.name == "host";
        decides && (attribute.is_set)(&config.attributes)
    });
    if complete && config.attributes.profile.is_none() {
        return Ok(());
    }
    let Some(path) = path(config, env) else { return Ok(()) };
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    let file = parse(&text).map_err(|line| {
        config.error(format!("resolve: {}: cannot parse config file: {line}", path.display()))
    })?;

    let asked = config.attributes.profile.clone().or_else(|| {
        let name = file.get_from(Some(SETTINGS), "default_profile")?.trim();
        (!name.is_empty()).then(|| name.to_owned())
    });
    let name = asked.clone().unwrap_or_else(|| DEFAULT.to_owned());
    if name == SETTINGS {
        return Err(config.error(format!(
            "resolve: {}: {SETTINGS} is a reserved section name and cannot be used as a profile",
            path.display()
        )));
    }
    let values = section(&file, &name);
    if values.is_empty() {
        return match asked {
            None => Ok(()),
            Some(_) => {
                Err(config.error(format!("resolve: {} has no {name} profile configured", path.display())))
            }
        };
    }
    for attribute in ATTRIBUTES {
        let Some((_, text)) = values.iter().rev().find(|(key, _)| *key == attribute.ini) else { continue };
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

fn path(config: &Config, env: &Env) -> Option<PathBuf> {
    match config.attributes.config_file.as_deref() {
        None => Some(env.home.as_ref()?.join(".databrickscfg")),
        Some(path) => match path.strip_prefix('~') {
            Some(rest) => Some(env.home.as_ref()?.join(rest.trim_start_matches(['/', '\\']))),
            None => Some(PathBuf::from(path)),
        },
    }
}

/// Reads the file as the Go SDK does: comments need a blank before them, quotes come off, nothing is escaped.
fn parse(text: &str) -> Result<Ini, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = ParseOption { enabled_escape: false, ..ParseOption::default() };
    Ini::load_from_str_opt(text, options).map_err(|error| format!("line {}: {}", error.line, error.msg))
}

/// The keys of a section. Sections of one name are one, and keys before any header belong to DEFAULT.
fn section<'a>(file: &'a Ini, name: &str) -> Vec<(&'a str, &'a str)> {
    file.iter()
        .filter(|(section, _)| section.unwrap_or(DEFAULT) == name)
        .flat_map(|(_, values)| values.iter())
        .map(|(key, value)| (key, unquoted(value)))
        .collect()
}

/// Backtick quotes, which the INI reader leaves on.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('`').and_then(|value| value.strip_suffix('`')).unwrap_or(value)
}
