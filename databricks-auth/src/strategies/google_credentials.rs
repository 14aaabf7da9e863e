use std::sync::Arc;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::google::{self, Account, CLOUD_PLATFORM, COMPUTE, Key};
use super::{Outcome, Strategy, elsewhere, missing};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::Token;

/// A Google service account, with its key.
pub(super) struct GoogleCredentials;

#[async_trait]
impl Strategy for GoogleCredentials {
    fn name(&self) -> &'static str {
        "google-credentials"
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let Some(stated) = &settings.config.attributes.google_credentials else {
            return Ok(missing(&[("databricks:googleCredentials", false)]));
        };
        if let Some(reason) = google::not_google(settings) {
            return Ok(elsewhere(settings, "google", reason));
        }
        let stated = stated.expose_secret();
        let key = match tokio::fs::read_to_string(stated).await.map(Zeroizing::new) {
            Ok(json) => Key::parse(settings, &json),
            Err(_) => Key::parse(settings, stated),
        };
        let key = key.map_err(|error| {
            AuthError(format!(
                "databricks:googleCredentials is neither a readable file nor usable by itself: {error}"
            ))
        })?;
        google::sign_in(settings, KeyHolder { settings: Arc::clone(settings), key })
    }
}

struct KeyHolder {
    settings: Arc<Settings>,
    key: Key,
}

#[async_trait]
impl Account for KeyHolder {
    async fn id_token(&self, audience: &str) -> Result<Token, AuthError> {
        self.key.id_token(&self.settings, audience).await
    }

    async fn access_token(&self) -> Result<Token, AuthError> {
        self.key.access_token(&self.settings, &format!("{CLOUD_PLATFORM} {COMPUTE}")).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::env::Env;
    use crate::strategies::google::tests::{EMAIL, claims, key_file, some_id_token};
    use crate::strategies::testing::{self, Answer, Clock, Seen, Server};
    use crate::strategies::{SignIn, choose};

    async fn sign_in(server: &Server, clock: &Clock, credentials: &str) -> Result<SignIn, AuthError> {
        let stated = [("host", server.url.as_str()), ("cloud", "GCP"), ("googleCredentials", credentials)];
        choose(&testing::settings(&stated, Env::default(), clock.clone()).await).await
    }

    /// Google's token endpoint.
    fn google(seen: &Seen, _: &str) -> Answer {
        let claims = claims(&seen.body);
        let expires = 3600 + claims["iat"].as_u64().unwrap_or_default();
        match claims.get("target_audience") {
            Some(_) => Answer::json(json!({ "id_token": some_id_token(expires) })),
            None => {
                Answer::json(json!({ "access_token": "act", "token_type": "Bearer", "expires_in": 3600 }))
            }
        }
    }

    #[tokio::test]
    async fn a_key_signs_in_with_an_id_token_and_an_access_token() {
        let server = Server::start(google).await;
        let chosen =
            sign_in(&server, &Clock::still(), &key_file(&format!("{}/token", server.url))).await.unwrap();
        assert_eq!(chosen.name, "google-credentials");
        let headers = chosen.credentials.headers().await.unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["authorization"], format!("Bearer {}", some_id_token(1_800_003_600)));
        assert_eq!(headers["x-databricks-gcp-sa-access-token"], "act");
        assert!(headers.values().all(|value| value.is_sensitive()));

        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        let expected = |claim: &str, value: &str| {
            json!({
                "iss": EMAIL,
                "aud": format!("{}/token", server.url),
                "iat": 1_800_000_000,
                "exp": 1_800_003_600,
                claim: value,
            })
        };
        assert_eq!(claims(&seen[0].body), expected("target_audience", &server.url));
        let scopes = "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/compute";
        assert_eq!(claims(&seen[1].body), expected("scope", scopes));
        for seen in seen {
            assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/token"));
            assert!(seen.body.ends_with("&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"));
        }
    }

    #[tokio::test]
    async fn a_key_may_be_in_a_file_and_is_used_again_when_its_token_expires() {
        let server = Server::start(google).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        std::fs::write(&path, key_file(&format!("{}/token", server.url))).unwrap();
        let clock = Clock::still();
        let chosen = sign_in(&server, &clock, path.to_str().unwrap()).await.unwrap();
        clock.advance(Duration::from_secs(3601));
        let headers = chosen.credentials.headers().await.unwrap();
        assert_eq!(headers["authorization"], format!("Bearer {}", some_id_token(1_800_007_201)));
        assert_eq!(server.seen().len(), 4);
    }

    #[tokio::test]
    async fn requests_go_out_without_an_access_token_that_cannot_be_had() {
        let server = Server::start(|seen, url| match claims(&seen.body).get("scope") {
            Some(_) => Answer::status(403),
            None => google(seen, url),
        })
        .await;
        let clock = Clock::still();
        let chosen = sign_in(&server, &clock, &key_file(&format!("{}/token", server.url))).await.unwrap();
        for _ in 0..3 {
            let headers = chosen.credentials.headers().await.unwrap();
            assert_eq!(headers.keys().collect::<Vec<_>>(), ["authorization"]);
        }
        // The first request shows that there is none; the next ones do not ask again at once.
        assert_eq!(server.seen().len(), 2);
        clock.advance(Duration::from_secs(61));
        chosen.credentials.headers().await.unwrap();
        assert_eq!(server.seen().len(), 3);
    }

    #[tokio::test]
    async fn a_key_that_is_none_is_not_quoted() {
        let server = Server::start(|_, _| Answer::status(404)).await;
        let good = key_file("");
        for (credentials, reason) in [
            (
                "/no/such/file.json".to_owned(),
                "not the JSON key of a Google service account (line 1, column 1)",
            ),
            (good.replace("service_account", "authorized_user"), "its type is not service_account"),
            (good.replace("BEGIN PRIVATE", "BEGIN RSA PRIVATE"), "not an RSA key in PKCS#8"),
        ] {
            let error = sign_in(&server, &Clock::still(), &credentials).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains(&credentials) && !error.contains("KEY--"), "{error}");
        }
        assert!(server.seen().is_empty());
    }

    #[tokio::test]
    async fn it_says_why_it_does_not_apply() {
        let host = ("host", "http://127.0.0.1:1");
        for (stated, reason) in [
            (vec![host], ", google-credentials, google-id, "),
            (
                vec![host, ("googleCredentials", "{}")],
                "google-credentials: http://127.0.0.1:1 is not on Google Cloud; if it is, set databricks:cloud to GCP",
            ),
        ] {
            let settings = testing::settings(&stated, Env::default(), Clock::still()).await;
            let error = choose(&settings).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
