//! One schema of two: the official package, with what is ours laid over it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The members of a JSON object. Their texts are copied and not parsed: they are long, and nothing in them matters
/// here.
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// In these, our members replace those of the same name.
const MERGED: &[&str] = &["resources", "types", "functions"];

/// These say whose package it is and where to get it from, so ours count.
const OURS: &[&str] = &["name", "version", "pluginDownloadURL"];

/// Lays the schema `ours` over that of the official plugin.
pub(super) fn overlay(official: &str, ours: &str) -> serde_json::Result<String> {
    let mut package: Members<'_> = serde_json::from_str(official)?;
    let ours: Members<'_> = serde_json::from_str(ours)?;
    package.retain(|name, _| !OURS.contains(&name.as_ref()));
    package.extend(OURS.iter().filter_map(|name| Some((Cow::Borrowed(*name), *ours.get(*name)?))));
    let mut merged = Vec::new();
    for name in MERGED {
        let Some(own) = ours.get(*name) else { continue };
        let mut members: Members<'_> = match package.remove(*name) {
            Some(official) => serde_json::from_str(official.get())?,
            None => Members::new(),
        };
        members.extend(serde_json::from_str::<Members<'_>>(own.get())?);
        merged.push((*name, members));
    }
    let mut text = String::with_capacity(official.len() + 256 * 1024);
    text.push('{');
    for (name, value) in &package {
        push(&mut text, name, value.get())?;
    }
    for (name, members) in merged {
        push(&mut text, name, "{")?;
        for (name, value) in &members {
            push(&mut text, name, value.get())?;
        }
        text.push('}');
    }
    text.push('}');
    Ok(text)
}

/// Adds a member to an object that is open.
fn push(text: &mut String, name: &str, value: &str) -> serde_json::Result<()> {
    if !text.ends_with('{') {
        text.push(',');
    }
    text.push_str(&serde_json::to_string(name)?);
    text.push(':');
    text.push_str(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn ours_lies_over_the_official_one() {
        let official = json!({
            "name": "databricks",
            "version": "1.118.0",
            "pluginDownloadURL": "official",
            "publisher": "official",
            "types": { "t:Shared": 1, "t:Theirs": { "{\"": "}" } },
            "resources": { "r:Shared": 1, "r:Theirs": 1 },
            "functions": { "f:Theirs": 1 },
        });
        let ours = json!({
            "name": "databricks",
            "version": "2.0.0",
            "publisher": "ours",
            "types": { "t:Shared": 2, "t:Ours": 2 },
            "resources": { "r:Shared": { "description": "\n\u{e9}" }, "r:Ours": 2 },
        });
        let text = overlay(&serde_json::to_string_pretty(&official).unwrap(), &ours.to_string()).unwrap();
        let expected = json!({
            "name": "databricks",
            "version": "2.0.0",
            "publisher": "official",
            "types": { "t:Shared": 2, "t:Ours": 2, "t:Theirs": { "{\"": "}" } },
            "resources": { "r:Shared": { "description": "\n\u{e9}" }, "r:Ours": 2, "r:Theirs": 1 },
            "functions": { "f:Theirs": 1 },
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Value>(&overlay("{}", "{}").unwrap()).unwrap(), json!({}));
        assert!(overlay("no schema", "{}").is_err());
    }

    #[test]
    fn ours_alone_is_there_completely() {
        let text = overlay("{}", crate::schema::SCHEMA).unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        let ours: Value = serde_json::from_str(crate::schema::SCHEMA).unwrap();
        for name in ["name", "version", "types", "resources"] {
            assert_eq!(found[name], ours[name]);
        }
    }
}
