//! The Pulumi package schema: everything in it comes from the rows of the configuration and of the resources.

use serde_json::{Map as Object, Value as Json, json};

use crate::config::{ATTRIBUTES, Attribute, AttributeKind};
use crate::function;
use crate::property::Row;
use crate::resource::{self, Definition};

/// The schema as it is committed and served. A test keeps it equal to [`package`].
pub const SCHEMA: &str = include_str!("../schema.json");

/// Properties that we keep secret although the official package does not mark them so. Programs are written for its
/// schema, so ours does not mark them either; CheckConfig marks their values all the same.
const PUBLIC_IN_SCHEMA: &[&str] = &["actionsIdTokenRequestToken"];

/// Where engines download the plugin from. None until releases have a home; without one, an engine that lacks this
/// version looks for the official plugin.
const PLUGIN_DOWNLOAD_URL: Option<&str> = None;

/// Builds the schema of the package.
pub fn package() -> Json {
    let config: Object<String, Json> =
        ATTRIBUTES.iter().map(|attribute| (attribute.name.to_owned(), config_property(attribute))).collect();
    let strings: Object<String, Json> = ATTRIBUTES
        .iter()
        .filter(|attribute| matches!(attribute.kind, AttributeKind::Text | AttributeKind::Credential))
        .map(|attribute| (attribute.name.to_owned(), config_property(attribute)))
        .collect();
    let mut types = Object::new();
    let mut resources = Object::new();
    for resource in resource::ALL {
        let definition = resource.definition();
        for (token, doc, rows) in definition.types {
            types.insert((*token).to_owned(), object_type(doc, rows));
        }
        resources.insert(resource.type_token().to_owned(), resource_type(&definition));
    }
    let mut functions = Object::new();
    for function in function::ALL {
        let definition = function.definition();
        for (token, doc, rows) in definition.types {
            types.insert((*token).to_owned(), object_type(doc, rows));
        }
        functions.insert(function.token().to_owned(), function_type(&definition));
    }
    let mut package = json!({
        "name": "databricks",
        "displayName": "Databricks",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "A native Pulumi provider for Databricks credentials.",
        "keywords": ["pulumi", "databricks", "category/infrastructure", "kind/native"],
        "license": "Apache-2.0",
        // Without it the .NET package would name Pulumi as its author.
        "publisher": "The pulumi-databricks contributors",
        "meta": { "moduleFormat": "(.*)(?:/[^/]*)" },
        "language": {
            "csharp": { "namespaces": { "databricks": "Databricks" }, "packageReferences": { "Pulumi": "3.*" }, "respectSchemaVersion": true },
            "go": {
                "generateResourceContainerTypes": true,
                // No modulePath: with one, `pulumi package add` makes an SDK that cannot import itself.
                "importBasePath": "github.com/pulumi/pulumi-databricks/sdk/go/databricks",
                "respectSchemaVersion": true
            },
            "java": { "buildFiles": "gradle", "gradleNexusPublishPluginVersion": "2.0.0" },
            "nodejs": {
                "dependencies": { "@pulumi/pulumi": "^3.142.0" },
                "devDependencies": { "@types/node": "^20", "typescript": "^5" },
                "packageName": "@pulumi/databricks",
                "respectSchemaVersion": true
            },
            "python": { "packageName": "pulumi_databricks", "pyproject": { "enabled": true }, "respectSchemaVersion": true }
        },
        "config": { "variables": config },
        "provider": {
            "description": "The provider: where the workspace is and how to sign in there. Everything may also come from the environment and from a profile of `~/.databrickscfg`, as with every Databricks tool.",
            "inputProperties": config,
            "properties": strings,
        },
        "types": types,
        "resources": resources,
        "functions": functions,
    });
    if let Some(url) = PLUGIN_DOWNLOAD_URL {
        package["pluginDownloadURL"] = url.into();
    }
    package
}

fn config_property(attribute: &Attribute) -> Json {
    let mut property = described(config_type(attribute.kind), attribute.doc);
    if attribute.secret && !PUBLIC_IN_SCHEMA.contains(&attribute.name) {
        property["secret"] = json!(true);
    }
    property
}

fn config_type(kind: AttributeKind) -> Json {
    match kind {
        AttributeKind::Text | AttributeKind::Credential => json!({ "type": "string" }),
        AttributeKind::Flag => json!({ "type": "boolean" }),
        AttributeKind::Number => json!({ "type": "integer" }),
        AttributeKind::List => json!({ "type": "array", "items": { "type": "string" } }),
    }
}

fn resource_type(definition: &Definition) -> Json {
    let inputs = properties(definition.inputs);
    let mut outputs: Object<String, Json> = definition
        .inputs
        .iter()
        .filter(|row| !definition.computed.iter().any(|computed| computed.name == row.name))
        .map(|row| (row.name.to_owned(), property(row)))
        .collect();
    outputs.extend(properties(definition.computed));
    let state: Object<String, Json> = outputs
        .iter()
        .map(|(name, property)| {
            let mut property = property.clone();
            if let Some(property) = property.as_object_mut() {
                property.remove("willReplaceOnChanges");
            }
            (name.clone(), property)
        })
        .collect();
    let stated =
        definition.inputs.iter().filter(|row| !definition.computed.iter().any(|it| it.name == row.name));
    let always = [required(definition.computed.iter()), required(stated)].concat();
    let mut resource = json!({
        "description": definition.doc.trim(),
        "properties": outputs,
        "required": always,
        "inputProperties": inputs,
        "stateInputs": { "properties": state, "type": "object" },
    });
    let needed = required(definition.inputs.iter());
    if !needed.is_empty() {
        resource["requiredInputs"] = json!(needed);
    }
    if let Some(rows) = definition.list_inputs {
        resource["listInputs"] = json!({ "properties": properties(rows) });
        let needed = required(rows.iter());
        if !needed.is_empty() {
            resource["listInputs"]["required"] = json!(needed);
        }
    }
    resource
}

fn function_type(definition: &function::Definition) -> Json {
    let object = |rows: &[Row]| {
        let mut object = json!({ "type": "object", "properties": properties(rows) });
        let needed = required(rows.iter());
        if !needed.is_empty() {
            object["required"] = json!(needed);
        }
        object
    };
    let mut function = json!({ "description": definition.doc, "outputs": object(definition.outputs) });
    if !definition.inputs.is_empty() {
        function["inputs"] = object(definition.inputs);
    }
    function
}

fn object_type(doc: &str, rows: &[Row]) -> Json {
    json!({
        "description": doc,
        "type": "object",
        "properties": properties(rows),
        "language": { "nodejs": { "requiredOutputs": rows.iter().map(|row| row.name).collect::<Vec<_>>() } },
    })
}

fn properties(rows: &[Row]) -> Object<String, Json> {
    rows.iter().map(|row| (row.name.to_owned(), property(row))).collect()
}

fn property(row: &Row) -> Json {
    let mut property = described((row.schema)(), row.doc);
    if row.secret {
        property["secret"] = json!(true);
    }
    if row.change.replaces() {
        property["willReplaceOnChanges"] = json!(true);
    }
    property
}

fn required<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'static str> {
    rows.filter(|row| row.required).map(|row| row.name).collect()
}

/// Adds the description: the lines of a doc comment as one paragraph.
fn described(mut schema: Json, doc: &str) -> Json {
    schema["description"] = doc.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Group;

    /// The configuration properties as the documentation lists them.
    fn configuration_table() -> String {
        let rows = ATTRIBUTES.iter().map(|attribute| {
            let kind = match attribute.kind {
                AttributeKind::Text => "text",
                AttributeKind::Credential => "text, secret",
                AttributeKind::Flag => "true or false",
                AttributeKind::Number => "number",
                AttributeKind::List => "list",
            };
            let method = match attribute.group {
                Group::Method(name) => format!("`{name}`"),
                Group::General | Group::Internal => String::new(),
            };
            let variable = attribute.env.map(|name| format!("`{name}`")).unwrap_or_default();
            let doc = attribute.doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            format!(
                "| `{}` | {variable} | `{}` | {kind} | {method} | {doc} |\n",
                attribute.name, attribute.ini
            )
        });
        let head = "| Property | Environment variable | In a profile | Type | For | Meaning |\n\
                    | --- | --- | --- | --- | --- | --- |\n";
        head.to_owned() + &rows.collect::<String>()
    }

    /// After a change to the rows, `UPDATE=1 cargo test --lib schema` writes the table anew.
    #[test]
    fn the_documented_configuration_is_current() {
        const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/installation-configuration.md");
        let page = std::fs::read_to_string(PAGE).expect("the page");
        let (before, rest) = page.split_once("<!-- properties -->\n").expect("the beginning of the table");
        let (_, after) = rest.split_once("<!-- end of the properties -->").expect("its end");
        let current = format!(
            "{before}<!-- properties -->\n\n{}\n<!-- end of the properties -->{after}",
            configuration_table()
        );
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(PAGE, current).expect("the page");
            return;
        }
        assert!(page == current, "the table differs from the rows: run `UPDATE=1 cargo test --lib schema`");
    }

    /// After a change to the rows, `UPDATE=1 cargo test schema` writes the file anew.
    #[test]
    fn the_committed_schema_is_current() {
        let current = serde_json::to_string_pretty(&package()).expect("a schema is JSON") + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json"), &current)
                .expect("schema.json");
            return;
        }
        assert!(SCHEMA == current, "schema.json differs from the rows: run `UPDATE=1 cargo test schema`");
    }
}
