use std::sync::Arc;

use async_trait::async_trait;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{Fixed, Outcome, Strategy, half};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::transport::authorization;

/// User name and password.
pub(super) struct Basic;

#[async_trait]
impl Strategy for Basic {
    fn name(&self) -> &'static str {
        "basic"
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let attributes = &settings.config.attributes;
        let (Some(username), Some(password)) = (&attributes.username, &attributes.password) else {
            return Ok(half(&[
                ("databricks:username", attributes.username.is_some()),
                ("databricks:password", attributes.password.is_some()),
            ]));
        };
        let pair = Zeroizing::new(format!("{username}:{}", password.expose_secret()));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*pair));
        Ok(Outcome::Ready(Arc::new(Fixed(authorization("Basic", &encoded)?))))
    }
}

#[cfg(test)]
mod tests {
    use crate::env::Env;
    use crate::strategies::testing::{Clock, settings, sign_in};

    #[tokio::test]
    async fn name_and_password_make_a_header() {
        let stated = [("username", "user"), ("password", "pa:ss")];
        let settings = settings(&stated, Env::default(), Clock::hasty()).await;
        let headers = sign_in(&settings, "basic").await.unwrap().headers().await.unwrap();
        assert_eq!(headers["authorization"], "Basic dXNlcjpwYTpzcw==");
        assert!(headers["authorization"].is_sensitive());
    }
}
