//! The calls of Databricks' REST API, one module for each service. They know what is sent and answered, and nothing of
//! Pulumi.

pub mod current_user;
pub mod service_principal_secrets;
pub mod token_management;
pub mod tokens;

use secrecy::SecretString;

use crate::client::ApiError;
use crate::client::{Client, Error, Request};

/// A credential that was just created: the only time that its value is seen.
#[derive(Debug)]
pub struct Minted<T> {
    /// The value.
    pub value: SecretString,
    /// The rest of it.
    pub info: T,
    /// Workspace that answered, if it said which it is.
    pub workspace_id: Option<String>,
}

/// What answered well is not the API after all.
fn not_the_api(client: &Client, request: &Request, reason: &str) -> Error {
    Error::NotAnApi {
        host: client.config().host.as_ref().map(|host| host.url.clone()).unwrap_or_default(),
        request: request.to_string(),
        reason: format!("{reason}. Check that databricks:host is the URL of a workspace"),
        turned_away: false,
    }
}

/// Codes of status 404 that are about the API and not about what it was asked for.
const API_IS_MISSING: &[&str] = &["FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"];

/// Whether Databricks says that what was asked for does not exist, in its code, its status or, as older workspaces, its
/// words. A 404 of anything else that stands in between says nothing of a credential, which would be forgotten alive.
pub(crate) fn is_gone(error: &Error) -> bool {
    let Error::Api(api) = error else { return false };
    api.structured && !API_IS_MISSING.contains(&api.code.as_str()) && (api.is_not_found() || says_so(api))
}

fn says_so(api: &ApiError) -> bool {
    api.message.contains("does not exist")
}
