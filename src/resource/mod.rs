//! Resources: what they take, what they give, and what each operation does. A new resource is one new file and one
//! line in [`ALL`].

#[cfg(test)]
mod fuzz;

mod credential;
mod filter;
mod findings;
mod lost;
mod obo_token;
mod outcome;
mod overlap;
pub(crate) mod placement;
mod presence;
mod rotation;
mod service_principal_secret;
mod succession;
mod token;
mod weigh;

use async_trait::async_trait;

use crate::client::{self, Client};
use crate::context::Context;
use crate::property::{Changes, Failure, Map, Row, Value, cleaned, stated};
use rotation::{EXPIRES_AT, ROTATES_AT};
pub(crate) use rotation::{date, duration, timestamp};

/// Every resource of the package.
pub const ALL: &[&dyn Resource] =
    &[&token::Token, &obo_token::OboToken, &service_principal_secret::ServicePrincipalSecret];

/// A type of resource, without the types of its properties: operations work on property maps. `credential::Credential`
/// is the typed side.
#[async_trait]
pub trait Resource: Sync {
    /// Type token, as in `databricks:index/token:Token`.
    fn type_token(&self) -> &'static str;

    /// The resource in plain words: in error messages, and in the User-Agent.
    fn noun(&self) -> &'static str;

    /// What the schema says about it.
    fn definition(&self) -> Definition;

    /// Validates inputs. The inputs in the answer are what the state keeps.
    fn check(&self, inputs: Map) -> Checked;

    /// Says what a change of inputs, or the passing of time, means.
    async fn diff(&self, client: &Client, ctx: &Context, request: Diff<'_>) -> Result<Verdict, Error>;

    /// Says in a preview why a create would fail, as far as that can be told.
    async fn preview_create(&self, client: &Client, ctx: &Context, inputs: &Map) -> Result<(), Error>;

    /// Creates the resource. One that replaces another is tried out, since the other will be deleted.
    async fn create(
        &self,
        client: &Client,
        ctx: &Context,
        inputs: Map,
        replaces: bool,
    ) -> Result<Created, Error>;

    /// Reads the live resource; `None` if it counts as gone: that is proved, or nobody who was asked knows it.
    async fn read(
        &self,
        client: &Client,
        ctx: &Context,
        id: &str,
        known: Known,
    ) -> Result<Option<Found>, Error>;

    /// Outputs that a preview of Update can foretell.
    async fn preview_update(&self, client: &Client, ctx: &Context, request: Diff<'_>) -> Result<Map, Error>;

    /// Changes the resource in place. Also finishes what Create left incomplete.
    async fn update(&self, client: &Client, ctx: &Context, request: Diff<'_>) -> Result<Updated, Error>;

    /// Deletes the resource; one that is already gone counts as deleted.
    async fn delete(&self, client: &Client, ctx: &Context, id: &str, outputs: &Map) -> Result<(), Error>;

    /// Lists the live resources: id and name of each.
    async fn list(&self, client: &Client, ctx: &Context, query: &Map)
    -> Result<Vec<(String, String)>, Error>;

    /// Whether an update with these inputs should first look whether the resource is still there.
    fn wants_refresh(&self, inputs: &Map) -> bool;
}

/// An object type of the schema: its token, what it is, and its rows.
pub type ObjectType = (&'static str, &'static str, &'static [Row]);

/// The schema of a resource.
#[derive(Debug)]
pub struct Definition {
    /// Description; Markdown.
    pub doc: &'static str,
    /// Inputs, which are outputs too unless a row of the same name is in `computed`.
    pub inputs: &'static [Row],
    /// Outputs that Databricks sets.
    pub computed: &'static [Row],
    /// Inputs that Databricks sets and that are never sent.
    pub never_sent: &'static [&'static str],
    /// Object types.
    pub types: &'static [ObjectType],
    /// What `pulumi do … list` takes; `None` where there is no list.
    pub list_inputs: Option<&'static [Row]>,
}

/// The answer of Check.
#[derive(Debug)]
pub struct Checked {
    /// The inputs to keep.
    pub inputs: Map,
    /// What was refused.
    pub failures: Vec<Failure>,
    /// What is accepted but looks wrong.
    pub warnings: Vec<String>,
}

/// What a Diff finds.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What has changed, and what that means.
    pub changes: Changes,
    /// Whether a replacement deletes the old one before it creates the new one.
    pub delete_before_replace: bool,
}

/// What Diff compares, and what Update goes by.
#[derive(Clone, Copy, Debug)]
pub struct Diff<'a> {
    /// Id of the resource.
    pub id: &'a str,
    /// Inputs of the state.
    pub old_inputs: &'a Map,
    /// Outputs of the state.
    pub outputs: &'a Map,
    /// Inputs of the program.
    pub news: &'a Map,
    /// Properties whose changes the program ignores.
    pub ignore: &'a [String],
    /// Whether this is part of a refresh, which replaces nothing: what it has just read is the old side.
    pub refresh: bool,
}

/// Inputs and outputs as the state keeps them.
#[derive(Debug, PartialEq)]
pub struct State {
    /// Inputs.
    pub inputs: Map,
    /// Outputs.
    pub outputs: Map,
}

/// A live resource, as Read finds it.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// Its id. The one that is given to an import may say more than this.
    pub id: String,
    /// Inputs and outputs.
    pub state: State,
}

/// What Read knows beforehand.
#[derive(Debug)]
pub enum Known {
    /// Nothing: the resource is being imported.
    Nothing,
    /// The state of the program or of the stack; may be partial.
    State(State),
}

/// A resource that was created.
#[derive(Debug)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// Its outputs.
    pub outputs: Map,
    /// Why it is not complete; empty where it is. Update finishes it.
    pub incomplete: Vec<String>,
}

/// A resource that was changed in place.
#[derive(Debug)]
pub struct Updated {
    /// Its outputs.
    pub outputs: Map,
    /// Why it is not complete; empty where it is.
    pub incomplete: Vec<String>,
    /// Id and outputs of what was created for it, and is to be deleted if the engine does not learn of it.
    pub minted: Option<(String, Map)>,
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The inputs cannot be used.
    #[error("{}", sentence(.0))]
    Inputs(Vec<Failure>),
    /// Databricks, or the way to it, failed.
    #[error(transparent)]
    Databricks(#[from] client::Error),
    /// Nobody can tell whether the resource is still there.
    #[error("{0}")]
    Undecided(Box<Undecided>),
    /// Anything else, in full sentences.
    #[error("{0}")]
    Other(String),
}

/// Why nobody can tell whether a credential is still there: it belongs to somebody other than whoever signs in.
#[derive(Debug, PartialEq)]
pub struct Undecided {
    /// The facts, in a sentence without its full stop.
    facts: String,
    /// Whose the credential is.
    owner: String,
    /// The resource.
    urn: String,
}

impl std::fmt::Display for Undecided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Undecided { facts, owner, urn } = self;
        write!(
            f,
            "{facts}. Nothing was changed. Sign in as {owner}, or as an admin of the workspace. If the token is not needed \
             any more, let one of them revoke it, then run `pulumi state delete '{urn}'`"
        )
    }
}

impl Undecided {
    /// The same about the previous credential, which is no reason to take the resource out of the state.
    fn of_previous(&self) -> String {
        let Undecided { facts, owner, .. } = self;
        format!(
            "{facts}. It is the previous token and stays in the state. Run `pulumi up` as {owner}, or as an admin of \
             the workspace, which revokes it; once it has expired, anybody's `pulumi up` removes it"
        )
    }
}

impl From<Vec<Failure>> for Error {
    fn from(failures: Vec<Failure>) -> Self {
        Error::Inputs(failures)
    }
}

fn sentence(failures: &[Failure]) -> String {
    failures
        .iter()
        .map(|failure| format!("{}: {}", failure.property, failure.reason))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Outputs that a preview of Create can foretell: the inputs, and that everything else will be known later.
pub fn preview(definition: &Definition, inputs: Map) -> Map {
    let mut outputs = inputs;
    let rotates = stated(&outputs, "rotateBeforeSeconds").is_some();
    let will_be_there =
        |row: &&Row| row.required || row.name == EXPIRES_AT || row.name == ROTATES_AT && rotates;
    for row in definition.computed.iter().filter(will_be_there) {
        let value = if row.secret { Value::secret(Value::Unknown) } else { Value::Unknown };
        outputs.insert(row.name.to_owned(), value);
    }
    outputs
}

/// Outputs that a preview of Update can foretell: the new inputs, and what Databricks has said about the resource so
/// far.
fn preview_update(definition: &Definition, outputs: Map, inputs: Map) -> Map {
    let computed = |name: &str| definition.computed.iter().any(|row| row.name == name);
    let stated = |name: &str| definition.inputs.iter().any(|row| row.name == name) && !computed(name);
    let mut outputs = cleaned(outputs);
    outputs.retain(|name, _| !stated(name));
    outputs.extend(inputs.into_iter().filter(|(name, _)| !computed(name)));
    outputs
}

/// The inputs that a program has stated, as far as outputs repeat them.
pub fn stated_in(definition: &Definition, outputs: &Map) -> Map {
    let computed = |name: &str| definition.computed.iter().any(|row| row.name == name);
    let stated = |name: &str| definition.inputs.iter().any(|row| row.name == name) && !computed(name);
    let mut inputs = cleaned(outputs.clone());
    inputs.retain(|name, _| stated(name));
    inputs
}

/// Takes the names off failures of secret properties: the engine prints the value of the property that is named.
pub fn hide_secrets(definition: &Definition, failures: Vec<Failure>, inputs: &Map) -> Vec<Failure> {
    let is_secret = |name: &str| {
        inputs.get(name).is_some_and(Value::has_secret)
            || definition.computed.iter().any(|row| row.secret && row.name == name)
    };
    failures
        .into_iter()
        .map(|failure| {
            if is_secret(&failure.property) {
                Failure::new("", format!("property `{}`: {}", failure.property, failure.reason))
            } else {
                failure
            }
        })
        .collect()
}
