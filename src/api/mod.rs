//! The calls of Databricks' REST API, one module for each service. They know what is sent and answered, and nothing of
//! Pulumi.

pub mod current_user;
pub mod service_principal_secrets;
pub mod service_principals;
pub mod token_management;
pub mod tokens;
pub mod workspace_conf;

use secrecy::SecretString;

use crate::client::{Client, Error, Request};

/// A credential that was just created: the only time that its value is seen.
#[derive(Debug)]
pub struct Minted<T> {
    /// The value.
    pub value: SecretString,
    /// Everything else about it.
    pub info: T,
    /// The workspace that answered, if it said which it is.
    pub workspace_id: Option<String>,
}

/// The error for a good answer that turns out not to come from the API.
fn not_the_api(client: &Client, request: &Request, reason: &str) -> Error {
    Error::NotAnApi {
        host: client.config().host.as_ref().map(|host| host.url.clone()).unwrap_or_default(),
        request: request.to_string(),
        reason: format!("{reason}. Check that databricks:host is the URL of a workspace"),
        turned_away: false,
    }
}

/// Codes with which Databricks says that something does not exist.
const NOT_FOUND: &[&str] = &["RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"];

/// Whether Databricks says that the thing with this id does not exist, and not something else on the way to it.
pub(crate) fn says_gone(error: &Error, id: &str) -> bool {
    let Error::Api(api) = error else { return false };
    api.structured && NOT_FOUND.contains(&api.code.as_str()) && names(&api.message, id)
}

/// Whether an answer may mean that what was asked for is gone. Only a look at what exists can decide that: older
/// workspaces say it in words, and use the same words about workspaces and scopes.
fn may_be_gone(error: &Error) -> bool {
    let Error::Api(api) = error else { return false };
    api.structured && (api.is_not_found() || api.message.contains("does not exist"))
}

/// Whether an answer may mean that what was asked for is gone, or somebody else's. A proxy, which answers in a form of
/// its own, says nothing about a credential at all.
pub(crate) fn leaves_open(error: &Error) -> bool {
    may_be_gone(error) || matches!(error, Error::Api(api) if api.structured && api.status == 403)
}

/// Whether a text names an id. A longer id that contains it does not count, nor does the path of the request, which a
/// server that does not know the API repeats.
fn names(text: &str, id: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let before = |c: char| part(c) || c == '/';
    !id.is_empty()
        && text
            .match_indices(id)
            .any(|(at, _)| !text[..at].ends_with(before) && !text[at + id.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ApiError;

    fn refused(body: &str) -> Error {
        Error::Api(ApiError::parse("GET /x".to_owned(), 404, "Not Found", body.as_bytes(), None))
    }

    #[test]
    fn gone_is_said_by_code_and_by_id() {
        let says = |body: &str| says_gone(&refused(body), "11");
        assert!(says(r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Token 11 does not exist"}"#));
        assert!(says(r#"{"error_code":"NOT_FOUND","message":"no token '11'."}"#));
        for body in [
            r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Workspace 111 does not exist"}"#,
            r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Token does not exist"}"#,
            r#"{"error_code":"ENDPOINT_NOT_FOUND","message":"No API found for 'GET /tokens/11'"}"#,
            r#"{"error_code":"NOT_FOUND","message":"nothing is at /api/2.0/token-management/tokens/11"}"#,
            "<html>11 does not exist</html>",
        ] {
            assert!(!says(body), "{body}");
        }
    }
}
