use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;

use super::{AuthError, Credentials, Settings, SignIn, Strategy, authorization};

/// A personal access token, sent as it is.
pub(super) struct Pat;

struct Token(HeaderMap);

#[async_trait]
impl Strategy for Pat {
    fn name(&self) -> &'static str {
        "pat"
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<SignIn, AuthError> {
        let Some(token) = &settings.config.attributes.token else {
            return Ok(SignIn::NotConfigured("databricks:token is not set".to_owned()));
        };
        Ok(SignIn::Ready(Arc::new(Token(authorization("Bearer", token.expose_secret())?))))
    }
}

#[async_trait]
impl Credentials for Token {
    async fn headers(&self) -> Result<HeaderMap, AuthError> {
        Ok(self.0.clone())
    }
}
