//! Writes a file for `pulumi import --file` that adopts credentials which exist already, with their values where somebody
//! has these. It changes nothing at Databricks, and no value is printed.

mod names;
mod values;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use databricks_auth::config::token_id;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::context::{Clock, Context, Silent};
use crate::env::Env;
use crate::property::{Map, Property as _, Stored, Value};
use crate::resource::{self, Known, Resource};
use crate::{config, stack};
use names::Names;
use values::Values;

/// What `import-file --help` prints.
pub const HELP: &str = "\
Writes a file for `pulumi import --file`: it adopts credentials that exist, many at once, and with
their values, which Databricks never shows again.

Usage: pulumi-resource-databricks import-file [OPTIONS] [FILTERS]

    pulumi-resource-databricks import-file --comment-prefix ci- --values values.txt
    pulumi import --file import.json

It signs in as the provider does: by environment variables such as DATABRICKS_HOST and a profile of
~/.databrickscfg, and with --stack by the configuration of a stack. `doctor` shows how.

Options:
  --type TYPE      token (the default), oboToken or servicePrincipalSecret
  --values FILE    a file with the values that you have: on each line an id, a blank and the value.
                   - is standard input. They are never taken from the command line, where others
                   could read them
  --out FILE       the file to write, which must not exist; import.json if it is left out. Only you
                   may read it
  --stack          read the configuration of a stack from standard input:
                   pulumi config --json --show-secrets | … import-file --stack
  --help           print this text

Filters are those of `pulumi do databricks:Token list` and its siblings:
  --comment-prefix TEXT, --expires-before TIME, --workspace-id ID
  --created-by-username NAME, --unused-since TIME   for administrators of the workspace
  --service-principal-id ID, --api NAME             for servicePrincipalSecret

A credential whose value is given is written with all that the state keeps about it: `pulumi import`
(3.254 or newer) takes that as it stands. The others are read by the import, and have no value.

The file holds values in the clear: delete it once they are imported.

Exit status: 0 if the file was written; 1 if not; 2 if the command line cannot be understood.
";

/// The output that holds the value of credentials whose id is the hash of their value.
const TOKEN_VALUE: &str = "tokenValue";

/// What the command line asks for.
#[derive(Debug)]
pub struct Options {
    /// The type, as people write it.
    pub kind: String,
    /// Flags of filters, and their values.
    pub filters: Vec<(String, String)>,
    /// The configuration of a stack.
    pub stack: Option<Zeroizing<String>>,
    /// Lines of ids and values.
    pub values: Option<Zeroizing<String>>,
    /// The file to write.
    pub out: PathBuf,
}

/// Why there is no file.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for cannot be done.
    Failed(String),
    /// What is asked for cannot be understood.
    Misused(String),
}

fn failed(reason: impl ToString) -> Failure {
    Failure::Failed(reason.to_string())
}

fn misused(reason: impl ToString) -> Failure {
    Failure::Misused(reason.to_string())
}

/// The file.
#[derive(Serialize)]
struct ImportFile<'a> {
    resources: Vec<Entry<'a>>,
}

/// A resource in it.
#[derive(Serialize)]
struct Entry<'a> {
    r#type: &'static str,
    name: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Stored<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Stored<'a>>,
}

/// A credential to adopt.
struct Adopted {
    name: String,
    id: String,
    inputs: Option<Map>,
    outputs: Option<Map>,
}

/// Writes the file. Returns what to tell the user.
pub async fn write(options: Options, env: Env, clock: Arc<dyn Clock>) -> Result<String, Failure> {
    let resource = find(&options.kind)?;
    let query = query(resource, options.filters)?;
    let mut values =
        Values::read(options.values.as_ref().map_or("", |text| text.as_str())).map_err(misused)?;
    let mut stated = match &options.stack {
        Some(text) => stack::read(text).map_err(misused)?,
        None => Map::new(),
    };
    // An import knows no other workspace than the provider's.
    let workspace = query.get("workspaceId").cloned();
    stated.extend(workspace.clone().map(|id| ("workspaceId".to_owned(), id)));
    if options.out.exists() {
        return Err(failed(exists(&options.out)));
    }
    if let Some(failure) = config::check(&stated, &env).into_iter().next() {
        return Err(failed(failure.reason));
    }
    let config = config::resolve(&stated, &env).map_err(failed)?;
    config.check_host().map_err(failed)?;
    let client = Client::new(config, env, Arc::clone(&clock));
    let ctx = Context {
        urn: String::new(),
        resource: "import-file",
        clock,
        reporter: Arc::new(Silent),
        cancel: CancellationToken::new(),
        deadline: None,
    };

    let noun = resource.noun();
    let listed = resource.list(&client, &ctx, &query).await;
    let listed = listed.map_err(|error| failed(format!("cannot list {noun}s: {error}")))?;
    if listed.is_empty() {
        return Err(failed(format!("no {noun} matches, so there is nothing to import")));
    }
    let definition = resource.definition();
    let secret = definition.computed.iter().find(|row| row.secret).map(|row| row.name).unwrap_or_default();
    let mut names = Names::default();
    let mut adopted = Vec::new();
    for (id, _) in listed {
        let found = resource.read(&client, &ctx, &id, Known::Nothing).await;
        let found = found.map_err(|error| failed(format!("cannot read {noun} {id}: {error}")))?;
        // It may have been revoked since it was listed.
        let Some(found) = found else { continue };
        let comment = found.state.inputs.get("comment").and_then(|comment| String::decode(comment).ok());
        let name = names.of(comment.as_deref(), noun, &found.id);
        let mut inputs = found.state.inputs;
        if let Some(id) = workspace.clone() {
            let place = Value::Object(Map::from([("workspaceId".to_owned(), id)]));
            inputs.insert("providerConfig".to_owned(), place);
        }
        let value = values.take(&found.id).or_else(|| values.take(&id));
        adopted.push(match value {
            Some((line, value)) => {
                if secret == TOKEN_VALUE && is_hash(&found.id) && token_id(&value) != found.id {
                    return Err(failed(format!(
                        "line {line} of the values: the value is not that of {noun} {}",
                        found.id
                    )));
                }
                let mut outputs = found.state.outputs;
                outputs.insert(secret.to_owned(), Value::secret(value.encode()));
                Adopted { name, id: found.id, inputs: Some(inputs), outputs: Some(outputs) }
            }
            None => {
                let inputs = workspace.is_some().then_some(inputs);
                Adopted { name, id, inputs, outputs: None }
            }
        });
    }
    if let Some(line) = values.unused() {
        // The line is not quoted: it may hold a value in the wrong place.
        return Err(failed(format!("line {line} of the values: no {noun} that matches has this id")));
    }
    save(&options.out, resource.type_token(), &adopted)?;
    Ok(summary(&options.out, noun, &adopted))
}

/// The resource that a person means.
fn find(kind: &str) -> Result<&'static dyn Resource, Failure> {
    let short = |resource: &dyn Resource| resource.type_token().rsplit(':').next().unwrap_or_default();
    let known = || resource::ALL.iter().copied();
    known().find(|it| it.type_token() == kind || short(*it).eq_ignore_ascii_case(kind)).ok_or_else(|| {
        let names: Vec<_> = known().map(short).collect();
        misused(format!("--type is one of {}", names.join(", ")))
    })
}

/// What the flags say, as the inputs of a list.
fn query(resource: &dyn Resource, filters: Vec<(String, String)>) -> Result<Map, Failure> {
    let definition = resource.definition();
    let rows = definition.list_inputs.unwrap_or_default();
    let mut query = Map::new();
    for (flag, value) in filters {
        let Some(row) = rows.iter().find(|row| dashed(row.name) == flag) else {
            let known: Vec<_> = rows.iter().map(|row| format!("--{}", dashed(row.name))).collect();
            return Err(misused(format!(
                "a list of {}s has no --{flag}; it has {}",
                resource.noun(),
                known.join(", ")
            )));
        };
        query.insert(row.name.to_owned(), Value::String(value));
    }
    Ok(query)
}

/// A name as flags have it: `commentPrefix` is `comment-prefix`.
fn dashed(name: &str) -> String {
    let mut dashed = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            dashed.push('-');
        }
        dashed.push(c.to_ascii_lowercase());
    }
    dashed
}

/// Whether an id can be a hash.
fn is_hash(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn exists(path: &Path) -> String {
    format!("{} already exists: delete it, or name another file with --out", path.display())
}

/// Writes the file, which nobody else may read.
fn save(path: &Path, r#type: &'static str, adopted: &[Adopted]) -> Result<(), Failure> {
    let entries = adopted.iter().map(|it| Entry {
        r#type,
        name: &it.name,
        id: &it.id,
        inputs: it.inputs.as_ref().map(Stored),
        outputs: it.outputs.as_ref().map(Stored),
    });
    let file = ImportFile { resources: entries.collect() };
    let text = Zeroizing::new(serde_json::to_vec_pretty(&file).map_err(failed)?);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let written = options.open(path).and_then(|mut file| {
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => failed(exists(path)),
        _ => failed(format!("{}: {error}", path.display())),
    })
}

/// What to tell the user.
fn summary(path: &Path, noun: &str, adopted: &[Adopted]) -> String {
    let with = adopted.iter().filter(|it| it.outputs.is_some()).count();
    let plural = |count: usize| if count == 1 { noun.to_owned() } else { format!("{noun}s") };
    let path = path.display();
    let mut text = format!("{path}: {} {}, {with} with a value\n\n", adopted.len(), plural(adopted.len()));
    for it in adopted {
        let note = if it.outputs.is_some() { "" } else { ", without its value" };
        text.push_str(&format!("  {}: {}{note}\n", it.name, it.id));
    }
    text.push_str(&format!("\nImport with `pulumi import --file {path}`"));
    text.push_str(if with > 0 { ", then delete the file: it holds values in the clear.\n" } else { ".\n" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::ALL;

    #[test]
    fn the_help_names_every_type_and_filter() {
        for resource in ALL {
            let name = resource.type_token().split(['/', ':']).nth(2).unwrap();
            assert!(HELP.contains(name), "the help lacks the type {name}");
            for row in resource.definition().list_inputs.unwrap_or_default() {
                assert!(HELP.contains(&format!("--{} ", dashed(row.name))), "the help lacks {}", row.name);
            }
        }
    }
}
