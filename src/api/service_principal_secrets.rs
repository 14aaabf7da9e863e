//! OAuth secrets of service principals, through the account or through a workspace.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Minted, not_the_api};
use crate::client::{Client, Error, Repeat, Request};
use crate::context::{BoxFuture, Context};

/// How many secrets a service principal may have at a time.
pub const MOST_SECRETS: usize = 5;

/// A secret as Databricks lists it. Times are RFC 3339 texts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SecretInfo {
    /// Id, with which the secret is deleted.
    pub id: String,
    /// Hash of the value.
    pub secret_hash: String,
    /// When it was created.
    pub create_time: String,
    /// When it was changed last.
    pub update_time: String,
    /// When it expires; absent means never.
    pub expire_time: Option<String>,
    /// `ACTIVE`.
    pub status: String,
    /// OAuth scopes that access tokens of this secret are limited to.
    pub scopes: Option<Vec<String>>,
    /// The account whose API returned it; `None` if it was a workspace's.
    #[serde(skip)]
    pub account_id: Option<String>,
}

/// What a secret is to be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewSecret<'a> {
    /// Lifetime as a protobuf duration, such as `3600s`; the longest possible where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
    /// OAuth scopes that access tokens of this secret are limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<&'a [String]>,
}

/// Whose secrets, and through which API.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// Id of the account, for the account's API; `None` for the workspace's own.
    pub account_id: Option<String>,
    /// Numeric id of the service principal.
    pub service_principal_id: String,
}

impl Owner {
    fn request(&self, method: Method, body: Option<Json>, repeat: Repeat) -> Request {
        let request = Request::new(method, "/api/2.0/accounts", body, repeat);
        let request = match &self.account_id {
            Some(account) => request.at_account().segment(account),
            None => request,
        };
        request
            .then("/servicePrincipals")
            .segment(&self.service_principal_id)
            .then("/credentials/secrets")
            .hiding_fields(&["secret"])
    }

    fn list_name(&self) -> String {
        self.request(Method::GET, None, Repeat::Always).to_string()
    }
}

#[derive(Deserialize)]
struct CreateReply {
    secret: SecretString,
    #[serde(flatten)]
    info: SecretInfo,
}

#[derive(Deserialize)]
struct ListReply {
    /// Absent where there are none.
    secrets: Option<Vec<SecretInfo>>,
    #[serde(default)]
    next_page_token: String,
    #[serde(flatten)]
    other: HashMap<String, IgnoredAny>,
}

/// Creates a secret. The request is sent once: whether it is worth another try is for the caller to find out.
pub async fn create(
    client: &Client,
    ctx: &Context,
    owner: &Owner,
    new: &NewSecret<'_>,
) -> Result<Minted<SecretInfo>, Error> {
    let request = owner.request(Method::POST, Some(json!(new)), Repeat::Never);
    let reply = client.send::<CreateReply>(ctx, &request).await?;
    if reply.body.info.id.is_empty() {
        return Err(not_the_api(client, &request, "the answer names no id of a secret"));
    }
    let info = SecretInfo { account_id: owner.account_id.clone(), ..reply.body.info };
    Ok(Minted { value: reply.body.secret, info, workspace_id: reply.workspace_id })
}

/// Lists the secrets of a service principal, with one request for all who ask at the same time.
pub async fn list(client: &Client, ctx: &Context, owner: &Owner) -> Result<Arc<Vec<SecretInfo>>, Error> {
    client.read_shared(ctx, &owner.list_name(), fetch(owner)).await
}

/// Finds a secret in the list. One list is enough for many that are there; to prove that a secret is not there takes a
/// list that is requested after this call.
pub async fn find(
    client: &Client,
    ctx: &Context,
    owner: &Owner,
    id: &str,
) -> Result<Option<SecretInfo>, Error> {
    let pick = |all: &Vec<SecretInfo>| all.iter().find(|secret| secret.id == id).cloned();
    client.find_shared(ctx, &owner.list_name(), id, fetch(owner), pick).await
}

fn fetch(
    owner: &Owner,
) -> impl FnOnce(Client, Context) -> BoxFuture<'static, Result<Vec<SecretInfo>, Error>> + use<> {
    let owner = owner.clone();
    |client, ctx| Box::pin(async move { pages(&client, &ctx, &owner).await })
}

async fn pages(client: &Client, ctx: &Context, owner: &Owner) -> Result<Vec<SecretInfo>, Error> {
    let (mut secrets, mut page) = (Vec::new(), String::new());
    loop {
        let request = owner.request(Method::GET, None, Repeat::Always);
        let request = if page.is_empty() { request } else { request.query("page_token", &page) };
        let reply = client.send::<ListReply>(ctx, &request).await?.body;
        // Some other object must not pass for an empty list: every secret would look gone.
        if reply.secrets.is_none() && !reply.other.is_empty() {
            return Err(not_the_api(client, &request, "the answer holds no list of secrets"));
        }
        let here = |secret| SecretInfo { account_id: owner.account_id.clone(), ..secret };
        secrets.extend(reply.secrets.unwrap_or_default().into_iter().map(here));
        if reply.next_page_token.is_empty() {
            return Ok(secrets);
        }
        if reply.next_page_token == page {
            return Err(not_the_api(client, &request, "the same page follows again and again"));
        }
        page = reply.next_page_token;
    }
}

/// Deletes a secret.
pub async fn delete(client: &Client, ctx: &Context, owner: &Owner, id: &str) -> Result<(), Error> {
    let request = owner.request(Method::DELETE, None, Repeat::Always).segment(id);
    client.send::<IgnoredAny>(ctx, &request).await?;
    Ok(())
}
