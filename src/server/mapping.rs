//! How Terraform's names and ours correspond, for `pulumi convert --from terraform` and its kind. The answer is what
//! Pulumi's bridge would say about a provider with these resources: its schema in Terraform's words, and the names
//! under which programs find everything. All of it comes from the rows.

use serde_json::{Map as Object, Value as Json, json};

use crate::config::{ATTRIBUTES, AttributeKind};
use crate::function;
use crate::property::Row;
use crate::resource::{self, ObjectType};

/// The provider, as Terraform calls it.
pub(super) const PROVIDER: &str = "databricks";

/// Whether there is a mapping for this key; older engines send the shorter one.
pub(super) fn has(key: &str) -> bool {
    ["terraform", "tf"].contains(&key)
}

/// Numbers of Terraform's types.
const BOOL: u8 = 1;
const INT: u8 = 2;
const STRING: u8 = 4;
const LIST: u8 = 5;
const MAP: u8 = 6;

/// The mapping.
pub(super) fn terraform() -> Json {
    let mut provider = json!({ "schema": provider_schema(), "resources": {}, "dataSources": {} });
    let (mut resources, mut data_sources) = (Object::new(), Object::new());
    for resource in resource::ALL {
        let definition = resource.definition();
        let rows: Vec<_> = definition.inputs.iter().chain(definition.computed).collect();
        let name = terraform_name(resource.type_token());
        let is_input = |row: &Row| definition.inputs.iter().any(|input| input.name == row.name);
        provider["resources"][&name] = schema(&rows, &is_input, definition.types);
        resources
            .insert(name, json!({ "tok": resource.type_token(), "fields": fields(&rows), "idFields": [] }));
    }
    for function in function::ALL {
        let definition = function.definition();
        let rows: Vec<_> = definition.inputs.iter().chain(definition.outputs).collect();
        let name = terraform_name(function.token());
        let is_input = |row: &Row| definition.inputs.iter().any(|input| input.name == row.name);
        provider["dataSources"][&name] = schema(&rows, &is_input, definition.types);
        data_sources.insert(name, json!({ "tok": function.token(), "fields": fields(&rows) }));
    }
    json!({
        "name": PROVIDER,
        "version": env!("CARGO_PKG_VERSION"),
        "provider": provider,
        "resources": resources,
        "dataSources": data_sources,
    })
}

/// The configuration of the provider.
fn provider_schema() -> Object<String, Json> {
    let property = |kind: AttributeKind| match kind {
        AttributeKind::Text | AttributeKind::Credential => json!({ "type": STRING, "optional": true }),
        AttributeKind::Flag => json!({ "type": BOOL, "optional": true }),
        AttributeKind::Number => json!({ "type": INT, "optional": true }),
        AttributeKind::List => {
            json!({ "type": LIST, "optional": true, "element": { "schema": { "type": STRING } } })
        }
    };
    ATTRIBUTES.iter().map(|attribute| (snake(attribute.name), property(attribute.kind))).collect()
}

/// The schema of rows: inputs, and the rest, which are outputs only.
fn schema(rows: &[&Row], is_input: &dyn Fn(&Row) -> bool, types: &[ObjectType]) -> Json {
    let property = |row: &&Row| {
        let mut property = terraform_type(&(row.schema)(), types);
        let how = match is_input(row) {
            true if row.required => "required",
            true => "optional",
            false => "computed",
        };
        property[how] = json!(true);
        if row.change.replaces() {
            property["forceNew"] = json!(true);
        }
        if row.secret {
            property["sensitive"] = json!(true);
        }
        (snake(row.name), property)
    };
    // Where an input is an output as well, the input counts.
    Json::Object(rows.iter().rev().map(property).collect())
}

/// A type of a Pulumi schema in Terraform's words.
fn terraform_type(schema: &Json, types: &[ObjectType]) -> Json {
    if let Some(reference) = schema["$ref"].as_str() {
        let rows = types.iter().find(|(token, ..)| reference.ends_with(token)).map_or(&[][..], |it| it.2);
        let fields: Object<String, Json> = rows
            .iter()
            .map(|row| {
                let mut field = terraform_type(&(row.schema)(), types);
                field["optional"] = json!(true);
                (snake(row.name), field)
            })
            .collect();
        // A block that may occur once.
        return json!({ "type": LIST, "maxItems": 1, "element": { "resource": fields } });
    }
    let element = |inner: &Json| json!({ "schema": terraform_type(inner, types) });
    match schema["type"].as_str().unwrap_or_default() {
        "boolean" => json!({ "type": BOOL }),
        "integer" => json!({ "type": INT }),
        "array" => json!({ "type": LIST, "element": element(&schema["items"]) }),
        "object" => json!({ "type": MAP, "element": element(&schema["additionalProperties"]) }),
        _ => json!({ "type": STRING }),
    }
}

/// Names in programs by those in Terraform.
fn fields(rows: &[&Row]) -> Object<String, Json> {
    rows.iter().map(|row| (snake(row.name), json!({ "name": row.name }))).collect()
}

/// The name of a type or a function in Terraform: `databricks_current_user` for getCurrentUser.
fn terraform_name(token: &str) -> String {
    let name = token.rsplit(':').next().unwrap_or_default();
    format!("{PROVIDER}_{}", snake(name.strip_prefix("get").unwrap_or(name)))
}

/// A name in lower case, with underscores between its words.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_under_their_names() {
        let mapping = terraform();
        let resource = &mapping["provider"]["resources"]["databricks_service_principal_secret"];
        assert_eq!(
            resource["service_principal_id"],
            json!({ "type": STRING, "required": true, "forceNew": true })
        );
        assert_eq!(resource["secret"]["sensitive"], true);
        assert_eq!(
            mapping["provider"]["resources"]["databricks_token"]["provider_config"],
            json!({
                "type": LIST, "maxItems": 1, "optional": true,
                "element": { "resource": { "workspace_id": { "type": STRING, "optional": true } } },
            })
        );
        assert_eq!(mapping["resources"]["databricks_obo_token"]["tok"], "databricks:index/oboToken:OboToken");
        let field = &mapping["resources"]["databricks_token"]["fields"]["lifetime_seconds"];
        assert_eq!(field["name"], "lifetimeSeconds");
        assert_eq!(
            mapping["dataSources"]["databricks_current_user"]["tok"],
            "databricks:index/getCurrentUser:getCurrentUser"
        );
        assert_eq!(mapping["provider"]["schema"]["azure_client_id"]["type"], STRING);
    }
}
