//! The configuration of a stack, as `pulumi config --json --show-secrets` prints it.

use serde_json::Value as Json;

use crate::property::{Map, Value};

/// The command that prints what is read here.
pub const COMMAND: &str = "pulumi config --json --show-secrets";

/// Reads the provider's part of a stack's configuration. No error quotes the text, which holds credentials.
pub fn read(text: &str) -> Result<Map, String> {
    let unusable = |what: &str| format!("standard input {what}: it should be what `{COMMAND}` prints");
    if text.trim().is_empty() {
        return Err(unusable("is empty"));
    }
    let json: Json = serde_json::from_str(text).map_err(|_| unusable("is not JSON"))?;
    let Json::Object(entries) = json else { return Err(unusable("is not a JSON object")) };
    let mut stated = Map::new();
    for (key, entry) in entries {
        let Some(name) = key.strip_prefix("databricks:") else { continue };
        let is_secret = entry["secret"] == true;
        let Some(value) = entry["value"].as_str() else {
            return Err(if is_secret {
                format!("the value of {key} is left out: run `{COMMAND}`, with --show-secrets")
            } else {
                unusable("has an entry without a value")
            });
        };
        let value = Value::from(value);
        stated.insert(name.to_owned(), if is_secret { Value::secret(value) } else { value });
    }
    Ok(stated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_provider_s_own_part_is_read() {
        let text = r#"{"databricks:host": {"value": "https://a.b", "secret": false},
                       "databricks:token": {"value": "dapi", "secret": true},
                       "other:x": {"value": "1", "secret": false}}"#;
        let stated = read(text).unwrap();
        assert_eq!(stated.keys().collect::<Vec<_>>(), ["host", "token"]);
        assert!(stated["token"].has_secret() && !stated["host"].has_secret());
    }

    #[test]
    fn what_cannot_be_used_is_explained_and_not_quoted() {
        for (text, reason) in [
            (" ", "is empty"),
            ("dapi-hidden", "is not JSON"),
            (r#"["dapi-hidden"]"#, "is not a JSON object"),
            (r#"{"databricks:token": {"secret": true}}"#, "with --show-secrets"),
            (r#"{"databricks:host": "dapi-hidden"}"#, "without a value"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason) && error.contains(COMMAND), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
