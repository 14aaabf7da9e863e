use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::{Bearer, Outcome, Strategy, missing};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::{Source, Token};
use crate::token_request::{self, TokenAnswer};
use crate::transport::{HttpClient, parse_url};

/// A service on this machine that hands out tokens, such as that of an editor.
pub(super) struct MetadataService;

/// How long the service may take to answer.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(10);

#[async_trait]
impl Strategy for MetadataService {
    fn name(&self) -> &'static str {
        "metadata-service"
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let Some(stated) = &settings.config.attributes.metadata_service_url else {
            return Ok(missing(&[("databricks:metadataServiceUrl", false)]));
        };
        // The URL is a credential, so no error may quote it.
        let url = parse_url(stated.expose_secret()).map_err(|error| {
            AuthError(format!("invalid auth server URL in databricks:metadataServiceUrl: {error}"))
        })?;
        if !matches!(url.host_str(), Some("localhost" | "127.0.0.1")) {
            return Err(AuthError(
                "only localhost URLs are allowed in databricks:metadataServiceUrl: its host has to be localhost or \
                 127.0.0.1"
                    .to_owned(),
            ));
        }
        // No proxy leads to this machine.
        let http = HttpClient::direct(&settings.config)?;
        let host = settings.host()?.to_owned();
        Ok(Bearer::sign_in(
            Service { settings: Arc::clone(settings), url: stated.clone(), host, http },
            settings,
        ))
    }
}

struct Service {
    settings: Arc<Settings>,
    url: SecretString,
    host: String,
    http: HttpClient,
}

#[async_trait]
impl Source for Service {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let what = "request to the metadata service";
        let answer: TokenAnswer = token_request::send(&self.settings, what, || {
            self.http
                .get(self.url.expose_secret())
                .header("x-databricks-metadata-version", "1")
                .header("x-databricks-host", &self.host)
                .timeout(SERVICE_TIMEOUT)
        })
        .await?;
        answer.token(what, &self.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::env::Env;
    use crate::strategies::testing::{self, Clock, Server, settings, sign_in, start};

    async fn ask(answer: String) -> (Server, Result<Token, AuthError>) {
        let server = Server::start(move |seen, _| match seen.path.as_str() {
            "/token?x=1" => testing::Answer::json(&answer),
            _ => testing::Answer::status(404),
        })
        .await;
        let service = Service {
            settings: settings(&[("host", &server.url)], Env::default(), Clock::hasty()).await,
            url: format!("{}/token?x=1", server.url).into(),
            host: "https://workspace".to_owned(),
            http: HttpClient::direct(&Config::default()).unwrap(),
        };
        let token = service.fetch().await;
        (server, token)
    }

    #[tokio::test]
    async fn the_expiry_is_a_number_or_its_text() {
        for expiry in ["1800003600", "\"1800003600\""] {
            let (server, token) =
                ask(format!(r#"{{"access_token":"t","token_type":"Bearer","expires_on":{expiry}}}"#)).await;
            let token = token.unwrap();
            assert_eq!(token.expires, Some(start() + Duration::from_secs(3600)));
            let seen = &server.seen()[0];
            assert_eq!(seen.method, "GET");
            assert_eq!(seen.header("x-databricks-metadata-version"), "1");
            assert_eq!(seen.header("x-databricks-host"), "https://workspace");
        }
        let (_, token) = ask(r#"{"access_token":"t"}"#.to_owned()).await;
        assert_eq!(token.unwrap().expires, None);
        let (_, token) = ask(r#"{"access_token":"t","expires_on":"soon"}"#.to_owned()).await;
        assert!(token.is_err());
    }

    #[tokio::test]
    async fn only_this_machine_is_asked() {
        let at = |url: &'static str| async move {
            let stated = [("host", "http://127.0.0.1:1"), ("metadataServiceUrl", url)];
            sign_in(&settings(&stated, Env::default(), Clock::hasty()).await, "metadata-service").await
        };
        for url in ["http://localhost:1/secret", "http://127.0.0.1:1/secret"] {
            assert!(at(url).await.is_ok(), "{url}");
        }
        for (url, expected) in [
            ("http://169.254.169.254/secret", "only localhost URLs are allowed"),
            ("http://127.0.0.1.example.com/secret", "only localhost URLs are allowed"),
            ("http://localhost@example.com/secret", "only localhost URLs are allowed"),
            ("secret", "invalid auth server URL"),
        ] {
            let error = at(url).await.err().unwrap().0;
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
