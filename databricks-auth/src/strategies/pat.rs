use std::sync::Arc;

use async_trait::async_trait;
use secrecy::ExposeSecret;

use super::{Fixed, Outcome, Strategy, missing};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::transport::authorization;

/// A personal access token, sent as it is.
pub(super) struct Pat;

#[async_trait]
impl Strategy for Pat {
    fn name(&self) -> &'static str {
        "pat"
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let Some(token) = &settings.config.attributes.token else {
            return Ok(missing(&[("databricks:token", false)]));
        };
        Ok(Outcome::Ready(Arc::new(Fixed(authorization("Bearer", token.expose_secret())?))))
    }
}
