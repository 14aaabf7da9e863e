//! The workspace that a credential belongs to: `providerConfig`.

use std::marker::PhantomData;

use serde_json::{Value as Json, json};

use super::Error;
use crate::client::{self, Client};
use crate::context::Context;
use crate::property::{Failure, Input, Map, Mismatch, Property, Record, Row, Value};
use crate::record;

/// Name of the property.
pub(super) const PROVIDER_CONFIG: &str = "providerConfig";

/// Path of the workspace among the changes.
pub(super) const WORKSPACE: &str = "providerConfig.workspaceId";

record! {
    /// The workspace of a credential.
    struct Workspace {
        /// Id of the workspace.
        workspace_id: Input<String> = "workspaceId";
    }
}

/// The rows of every `providerConfig`.
pub(crate) const ROWS: &[Row] = Workspace::ROWS;

/// A resource whose `providerConfig` has a type of its own in the schema, as in the official package.
pub(crate) trait HasProviderConfig: Clone + Send + Sync + 'static {
    /// Token of that type.
    const PROVIDER_CONFIG_TYPE: &'static str;
}

/// The workspace that the resource `R` belongs to.
#[derive(Clone)]
pub(crate) struct ProviderConfig<R> {
    workspace_id: Input<String>,
    resource: PhantomData<R>,
}

impl<R: HasProviderConfig> Property for ProviderConfig<R> {
    fn schema() -> Json {
        json!({ "$ref": format!("#/types/{}", R::PROVIDER_CONFIG_TYPE) })
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        match value.object() {
            Some(map) => {
                let Workspace { workspace_id } = <Workspace as Record>::decode(map)
                    .map_err(|failures| Mismatch::Wrong(super::sentence(&failures)))?;
                Ok(ProviderConfig { workspace_id, resource: PhantomData })
            }
            None if value.has_unknown() => Err(Mismatch::Unknown),
            None => Err(Mismatch::Wrong(format!("expected an object, got {}", value.kind()))),
        }
    }

    fn encode(&self) -> Value {
        Value::Object(Workspace { workspace_id: self.workspace_id.clone() }.encode())
    }
}

/// `providerConfig` among the outputs: the workspace, if it is known.
pub(crate) fn output(workspace_id: Option<String>) -> Value {
    Value::Object(Workspace { workspace_id: workspace_id.map_or(Input::Absent, Input::Known) }.encode())
}

/// The workspace that inputs name, as far as they do.
pub(crate) fn stated<R>(config: &Input<ProviderConfig<R>>) -> Input<&str> {
    match config {
        Input::Known(config) => match &config.workspace_id {
            Input::Known(id) => Input::Known(id),
            Input::Unknown => Input::Unknown,
            Input::Absent => Input::Absent,
        },
        Input::Unknown => Input::Unknown,
        Input::Absent => Input::Absent,
    }
}

/// The workspace that a state names.
pub(super) fn of_state(state: &Map) -> Option<String> {
    let config = state.get(PROVIDER_CONFIG)?.object()?;
    String::decode(config.get("workspaceId")?).ok().filter(|id| !id.is_empty())
}

/// Refuses unknown keys of `providerConfig`.
pub(super) fn check(inputs: &Map) -> Vec<Failure> {
    let Some(config) = inputs.get(PROVIDER_CONFIG) else { return Vec::new() };
    let Some(map) = config.object() else { return Vec::new() };
    let secret = matches!(config, Value::Secret(_));
    crate::property::check_keys(map, ROWS, PROVIDER_CONFIG)
        .into_iter()
        .map(|failure| {
            // A secret map's keys are as secret as its values.
            let reason = if secret { "it has only workspaceId".to_owned() } else { failure.reason };
            Failure::new(PROVIDER_CONFIG, reason)
        })
        .collect()
}

/// Explains that the workspace a state names is not the one that the provider reaches now.
pub(super) fn explained(error: client::Error, noun: &str, id: &str, workspace: Option<&str>) -> Error {
    match (error, workspace) {
        (client::Error::Workspace(reason), Some(workspace)) => Error::Other(format!(
            "{reason}. The {noun} {id} belongs to workspace {workspace}: run this with that workspace's \
             databricks:host, or revoke the {noun} there and remove it from the state with `pulumi state delete`"
        )),
        (error, _) => error.into(),
    }
}

/// The workspace of a credential whose state may name none.
pub(super) async fn known(
    client: &Client,
    ctx: &Context,
    stated: Option<String>,
) -> Result<Option<String>, client::Error> {
    match stated {
        Some(id) => Ok(Some(id)),
        None => client.workspace_id(ctx).await,
    }
}
