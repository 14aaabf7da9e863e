use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::cache::{Source, Token};
use super::exchange::{self, TokenAnswer};
use super::{AuthError, Bearer, Settings, SignIn, Strategy, missing, oidc};

/// A Databricks service principal with an OAuth secret.
pub(super) struct OAuthM2m;

#[async_trait]
impl Strategy for OAuthM2m {
    fn name(&self) -> &'static str {
        "oauth-m2m"
    }

    fn assumes_groups(&self) -> bool {
        true
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<SignIn, AuthError> {
        let attributes = &settings.config.attributes;
        let (Some(id), Some(secret)) = (&attributes.client_id, &attributes.client_secret) else {
            return Ok(missing(&[
                ("databricks:clientId", attributes.client_id.is_some()),
                ("databricks:clientSecret", attributes.client_secret.is_some()),
            ]));
        };
        let client = Client {
            settings: Arc::clone(settings),
            id: id.clone(),
            secret: secret.clone(),
            endpoint: OnceCell::new(),
        };
        Ok(Bearer::sign_in(client, settings))
    }
}

struct Client {
    settings: Arc<Settings>,
    id: String,
    secret: SecretString,
    endpoint: OnceCell<String>,
}

#[async_trait]
impl Source for Client {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let endpoint = self.endpoint.get_or_try_init(|| oidc::token_endpoint(&self.settings)).await;
        let endpoint = endpoint.map_err(|error| AuthError(format!("oidc: {error}")))?;
        let scope = oidc::scope(&self.settings);
        let mut fields = vec![("grant_type", "client_credentials"), ("scope", &scope)];
        if let Some(group) = &self.settings.config.attributes.group_id {
            fields.push(("assume_group", group));
        }
        let form = exchange::form(&fields);
        let headers = exchange::client_authorization(&self.id, self.secret.expose_secret())?;
        let what = format!("POST {endpoint}");
        let answer: TokenAnswer = exchange::send(&self.settings, &what, || {
            exchange::post_form(&self.settings, endpoint, &form).headers(headers.clone())
        })
        .await?;
        answer.token(&what, &self.settings)
    }
}
