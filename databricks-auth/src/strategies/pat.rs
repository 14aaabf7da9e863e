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
        // Files and clipboards add blanks and line breaks, which are no part of any token.
        let token = token.expose_secret().trim();
        if token.is_empty() {
            return Err(AuthError("databricks:token holds nothing but white space".to_owned()));
        }
        let headers = authorization("Bearer", token).map_err(|_| {
            AuthError(
                "databricks:token (DATABRICKS_TOKEN) holds a line break or another character that no token contains. \
                 Set it again"
                    .to_owned(),
            )
        })?;
        Ok(Outcome::Ready(Arc::new(Fixed(headers))))
    }
}

#[cfg(test)]
mod tests {
    use crate::env::Env;
    use crate::strategies::testing::{Clock, settings, sign_in};

    #[tokio::test]
    async fn white_space_around_a_token_is_no_part_of_it() {
        for token in ["dapi", "dapi\n", " dapi\r\n", "\tdapi "] {
            let settings = settings(&[("token", token)], Env::default(), Clock::still()).await;
            let headers = sign_in(&settings, "pat").await.unwrap().headers().await.unwrap();
            assert_eq!(headers["authorization"], "Bearer dapi", "{token:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_token_is_named() {
        for (token, expected) in [
            (" \n", "databricks:token holds nothing but white space"),
            ("da\npi", "databricks:token (DATABRICKS_TOKEN) holds a line break or another character"),
        ] {
            let settings = settings(&[("token", token)], Env::default(), Clock::still()).await;
            let error = sign_in(&settings, "pat").await.err().unwrap().0;
            assert!(error.starts_with(expected) && !error.contains("pi\n"), "{error}");
        }
    }
}
