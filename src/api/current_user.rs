//! Who signs in: the call of `/api/2.0/preview/scim/v2/Me`.

use serde::Deserialize;

use super::not_the_api;
use crate::client::{Client, Error, question};
use crate::context::Context;

/// Who the requests of a client come from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CurrentUser {
    /// Numeric id.
    pub id: String,
    /// Name of a user, or application id of a service principal.
    pub user_name: String,
    /// Id by which an identity provider knows the caller; empty where there is none.
    pub external_id: String,
    /// The workspace that answered, if it said which it is.
    #[serde(skip)]
    pub workspace_id: Option<String>,
}

/// Asks a workspace who the caller is.
pub async fn get(client: &Client, ctx: &Context) -> Result<CurrentUser, Error> {
    let request = question();
    let reply = client.send::<CurrentUser>(ctx, &request).await?;
    if reply.body.user_name.is_empty() {
        return Err(not_the_api(client, &request, "the answer names nobody"));
    }
    Ok(CurrentUser { workspace_id: reply.workspace_id, ..reply.body })
}
