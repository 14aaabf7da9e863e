//! Provider configuration as Pulumi has it, and what CheckConfig says about it. Property values become statements for
//! [`databricks_auth::config`], which resolves them together with the environment and `.databrickscfg`.

pub use databricks_auth::config::{
    ATTRIBUTES, Attribute, Attributes, Cloud, Config, ConfigError, Group, Host, HostError,
    Kind as AttributeKind, Source,
};
use databricks_auth::config::{Kind, Statement, Statements};
use serde_json::Value as Json;

use crate::env::Env;
use crate::property::{Failure, Map, Mismatch, Property, SIGNATURE_KEY, Value, is_internal, probably_meant};

/// Resolves a configuration: what the program states, then the environment, then a profile.
pub fn resolve(stated: &Map, env: &Env) -> Result<Config, ConfigError> {
    let statements: Statements = ATTRIBUTES
        .iter()
        .filter_map(|attribute| {
            let value =
                stated.get(attribute.name).filter(|value| !value.is_null() && !value.has_unknown())?;
            Some((attribute.name.to_owned(), statement(attribute, value)))
        })
        .collect();
    Config::resolve(&statements, env)
}

/// The value that a program states for an attribute, as a statement.
fn statement(attribute: &Attribute, value: &Value) -> Statement {
    match text(attribute, value) {
        Ok(text) => Statement::from(text),
        Err(reason) => Statement::unusable(reason),
    }
    .confidential(value.has_secret())
}

/// The text of a value. SDKs turn whatever is not a string into JSON text; YAML passes it as a native value.
fn text(attribute: &Attribute, value: &Value) -> Result<String, String> {
    let value = value.plain();
    match (attribute.kind, value) {
        (_, Value::Null) => Ok(String::new()),
        (Kind::Text | Kind::Credential, Value::String(text)) => Ok(text.clone()),
        // For example a workspace id, which YAML has read as a number.
        (Kind::Text | Kind::Credential, Value::Number(_)) => match Property::decode(value) {
            Ok(text) => Ok(text),
            Err(Mismatch::Wrong(reason)) => Err(reason),
            Err(Mismatch::Unknown) => Ok(String::new()),
        },
        (Kind::Text | Kind::Credential, value) => Err(format!("expected a string, got {}", value.kind())),
        (Kind::Flag, Value::Bool(flag)) => Ok(flag.to_string()),
        (Kind::Flag | Kind::Number, Value::String(text)) => {
            let is_understood = (attribute.set_text)(&mut Attributes::default(), text).is_ok();
            match from_json(text).filter(|_| !is_understood) {
                Some(value) => self::text(attribute, &value),
                None => Ok(text.clone()),
            }
        }
        (Kind::Flag, value) => Err(format!("expected true or false, got {}", value.kind())),
        (Kind::Number, value) => match Property::decode(value) {
            Ok::<i64, _>(number) => Ok(number.to_string()),
            Err(_) => Err("expected a whole number".to_owned()),
        },
        (Kind::List, Value::Array(items)) => {
            let items: Result<Vec<_>, _> = items.iter().map(item).collect();
            Ok(items?.join(","))
        }
        (Kind::List, Value::String(text)) => match from_json(text) {
            Some(value) => self::text(attribute, &value),
            None if text.trim_start().starts_with('[') => {
                Err("expected a list of strings in JSON".to_owned())
            }
            None => Ok(text.clone()),
        },
        (Kind::List, value) => Err(format!("expected a list of strings, got {}", value.kind())),
    }
}

/// The text of an item of a list.
fn item(value: &Value) -> Result<String, String> {
    match value.plain() {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        value @ Value::Number(_) => match Property::decode(value) {
            Ok(text) => Ok(text),
            Err(Mismatch::Wrong(reason)) => Err(reason),
            Err(Mismatch::Unknown) => Ok(String::new()),
        },
        value => Err(format!("expected a string, got {}", value.kind())),
    }
}

/// The value in a JSON text. In it, what was secret in the program is wrapped in Pulumi's envelope, at any depth.
fn from_json(text: &str) -> Option<Value> {
    fn value(json: Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(flag),
            Json::Number(number) => number.as_f64().map_or(Value::Null, Value::Number),
            Json::String(text) => Value::String(text),
            Json::Array(items) => Value::Array(items.into_iter().map(value).collect()),
            Json::Object(mut envelope) if envelope.contains_key(SIGNATURE_KEY) => {
                Value::secret(value(envelope.remove("value").unwrap_or_default()))
            }
            Json::Object(map) => {
                Value::Object(map.into_iter().map(|(key, item)| (key, value(item))).collect::<Map>())
            }
        }
    }
    serde_json::from_str(text).ok().map(value)
}

/// Keys that the engine adds to a provider's configuration: which plugin to run, and where it comes from.
pub const ENGINE_KEYS: &[&str] = &["version", "pluginDownloadURL"];

/// Marks the credentials in a configuration as secret. The engine sends them to CheckConfig in the clear.
pub fn mark_secrets(mut stated: Map) -> Map {
    for attribute in ATTRIBUTES.iter().filter(|attribute| attribute.secret) {
        if let Some(value) = stated.remove(attribute.name) {
            stated.insert(attribute.name.to_owned(), Value::secret(value));
        }
    }
    stated
}

/// Whether two statements of a property mean the same: SDKs state a number, a flag or a list as JSON text, YAML states
/// it as such, and an empty value counts as not set. A value that is not known yet is never the same.
pub fn same(name: &str, old: Option<&Value>, new: Option<&Value>) -> bool {
    if [old, new].into_iter().flatten().any(Value::has_unknown) {
        return false;
    }
    let Some(attribute) = ATTRIBUTES.iter().find(|attribute| attribute.name == name) else {
        return same_values(old, new);
    };
    let read = |value: Option<&Value>| {
        let mut attributes = Attributes::default();
        match value.filter(|value| !value.is_null()) {
            Some(value) => {
                statement(attribute, value).set(attribute, &mut attributes).is_ok().then_some(attributes)
            }
            None => Some(attributes),
        }
    };
    let (Some(before), Some(after)) = (read(old), read(new)) else { return same_values(old, new) };
    match ((attribute.is_set)(&before), (attribute.is_set)(&after)) {
        (false, false) => true,
        // Every credential is shown as the same mask, so what is shown cannot be compared.
        (true, true) if attribute.secret => same_values(old, new),
        (true, true) => (attribute.show)(&before) == (attribute.show)(&after),
        _ => false,
    }
}

fn same_values(old: Option<&Value>, new: Option<&Value>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => crate::property::same(old, new),
        (old, new) => old.is_none() && new.is_none(),
    }
}

/// What CheckConfig refuses: unknown keys, and values of the wrong type. No failure names the property of a
/// credential, since the engine prints the value of the property that a failure names.
pub fn check(stated: &Map, env: &Env) -> Vec<Failure> {
    let mut failures: Vec<Failure> = stated
        .keys()
        .filter(|key| {
            !is_internal(key)
                && !ENGINE_KEYS.contains(&key.as_str())
                && !ATTRIBUTES.iter().any(|attribute| attribute.name == key.as_str())
        })
        .map(|key| {
            let hint = probably_meant(key, ATTRIBUTES.iter().map(|attribute| attribute.name))
                .map_or(String::new(), |name| format!("; did you mean `{name}`?"));
            Failure::new("", format!("the databricks provider has no configuration property `{key}`{hint}"))
        })
        .collect();
    for attribute in ATTRIBUTES {
        let Some(value) = stated.get(attribute.name).filter(|value| !value.is_null() && !value.has_unknown())
        else {
            continue;
        };
        if let Err(reason) = statement(attribute, value).set(attribute, &mut Attributes::default()) {
            failures.push(Failure::new("", format!("databricks:{}: {reason}", attribute.name)));
        }
    }
    // An unknown value may yet decide a conflict, so the whole is judged only when all of it is known.
    if failures.is_empty()
        && !stated.values().any(Value::has_unknown)
        && let Err(error) = resolve(stated, env)
    {
        failures.push(Failure::new("", error.to_string()));
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(values: &[(&str, &str)]) -> Map {
        values.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    fn attributes(name: &str, value: Value) -> Result<Attributes, String> {
        let attribute = ATTRIBUTES.iter().find(|attribute| attribute.name == name).unwrap();
        let mut attributes = Attributes::default();
        statement(attribute, &value).set(attribute, &mut attributes)?;
        Ok(attributes)
    }

    #[test]
    fn only_an_envelope_is_opened() {
        let json = |signature: &str| Value::String(format!(r#"{{"{signature}":"","value":"true"}}"#));
        assert!(attributes("skipVerify", json(SIGNATURE_KEY)).unwrap().skip_verify);
        assert!(attributes("skipVerify", json("other")).is_err());
    }

    #[test]
    fn lists_arrive_in_every_shape() {
        let envelope =
            format!(r#"["sql",{{"{SIGNATURE_KEY}":"1b47061264138c4ac30d75fd1eb44270","value":"all-apis"}}]"#);
        for value in [
            Value::Array(vec!["sql".into(), Value::secret("all-apis".into())]),
            r#"["sql","all-apis"]"#.into(),
            Value::String(envelope),
            "sql, all-apis,".into(),
        ] {
            assert_eq!(attributes("scopes", value.clone()).unwrap().scopes, ["sql", "all-apis"], "{value:?}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (name, value, reason) in [
            ("host", Value::Bool(true), "expected a string, got "),
            ("skipVerify", Value::Number(1.0), "expected true or false, got "),
            ("skipVerify", "maybe".into(), "expected true or false"),
            ("rateLimit", Value::Number(1.5), "expected a whole number"),
            ("rateLimit", "many".into(), "expected a whole number"),
            ("scopes", "[".into(), "expected a list of strings in JSON"),
            ("scopes", "7".into(), "expected a list of strings, got "),
        ] {
            let error = attributes(name, value).unwrap_err();
            assert!(error.starts_with(reason), "{name}: {error}");
        }
        let error = resolve(&[("host".to_owned(), Value::Bool(true))].into(), &Env::default()).unwrap_err();
        assert!(error.to_string().starts_with("databricks:host: expected a string, got "), "{error}");
    }

    #[test]
    fn what_the_program_marks_secret_is_not_shown() {
        let mut stated = stated(&[("token", "t"), ("rateLimit", "many")]);
        stated.insert("username".into(), Value::secret("somebody".into()));
        let error = resolve(&stated, &Env::default()).unwrap_err().to_string();
        assert!(error.contains("username=***") && !error.contains("somebody"), "{error}");
    }

    #[test]
    fn failures_never_name_the_property() {
        let failures = check(&stated(&[("rateLimit", "many"), ("bogus", "x")]), &Env::default());
        assert_eq!(failures.len(), 2);
        assert!(failures.iter().all(|failure| failure.property.is_empty()));
    }
}
