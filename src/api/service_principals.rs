//! Service principals: the calls of the SCIM API of an account or of a workspace.

use http::Method;
use serde::Deserialize;

use super::not_the_api;
use crate::client::{Client, Error, Repeat, Request};
use crate::context::Context;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServicePrincipal {
    #[serde(default)]
    application_id: String,
}

/// The application id of a service principal, which it signs in with. `account_id` is that of the account whose API is
/// asked; `None` asks the workspace.
pub async fn application_id(
    client: &Client,
    ctx: &Context,
    account_id: Option<&str>,
    id: &str,
) -> Result<String, Error> {
    let request = match account_id {
        Some(account) => Request::new(Method::GET, "/api/2.0/accounts", None, Repeat::Always)
            .at_account()
            .segment(account)
            .then("/scim/v2"),
        None => Request::new(Method::GET, "/api/2.0/preview/scim/v2", None, Repeat::Always),
    };
    let request = request.then("/ServicePrincipals").segment(id);
    let found = client.send::<ServicePrincipal>(ctx, &request).await?.body;
    if found.application_id.is_empty() {
        return Err(not_the_api(client, &request, "the answer names no application id"));
    }
    Ok(found.application_id)
}
