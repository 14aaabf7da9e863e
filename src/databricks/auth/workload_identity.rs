//! Workload identity federation: an identity token of the machine or job is exchanged for one of Databricks.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::cache::{Source, Token};
use super::exchange::{self, TokenAnswer};
use super::{AuthError, Bearer, Settings, SignIn, oidc};
use crate::databricks::metadata::HostType;

/// Where identity tokens come from.
#[async_trait]
pub(super) trait IdTokens: Send + Sync + 'static {
    /// Gets one that is meant for `audience`, anew for every exchange, since they live for minutes only.
    async fn id_token(&self, settings: &Settings, audience: &str) -> Result<SecretString, AuthError>;
}

/// Signs in with the identity tokens of a source.
pub(super) fn sign_in(settings: &Arc<Settings>, id_tokens: impl IdTokens) -> SignIn {
    let exchange = Exchange { settings: Arc::clone(settings), id_tokens, endpoint: OnceCell::new() };
    Bearer::sign_in(exchange, settings)
}

struct Exchange<I> {
    settings: Arc<Settings>,
    id_tokens: I,
    endpoint: OnceCell<String>,
}

#[async_trait]
impl<I: IdTokens> Source for Exchange<I> {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let settings = &*self.settings;
        let endpoint = self.endpoint.get_or_try_init(|| oidc::token_endpoint(settings)).await?;
        let id_token = self.id_tokens.id_token(settings, audience(settings, endpoint)).await?;
        let attributes = &settings.config.attributes;
        let scope = oidc::scope(settings);
        let mut fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("scope", &scope),
            ("subject_token", id_token.expose_secret()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        // Without one, the policy of the account decides whom the identity stands for.
        if let Some(id) = &attributes.client_id {
            fields.push(("client_id", id));
        }
        if let Some(group) = &attributes.group_id {
            fields.push(("assume_group", group));
        }
        let form = exchange::form(&fields);
        let what = format!("POST {endpoint}");
        let answer: TokenAnswer =
            exchange::send(settings, &what, || exchange::post_form(settings, endpoint, &form)).await?;
        answer.token(&what, settings)
    }
}

/// Whom an identity token is to be meant for.
fn audience<'a>(settings: &'a Settings, endpoint: &'a str) -> &'a str {
    let metadata = &settings.metadata;
    let account = metadata.account_id.as_deref().filter(|_| metadata.host_type != HostType::Workspace);
    metadata.audience.as_deref().or(account).unwrap_or(endpoint)
}
