//! The OAuth endpoints of a Databricks host.

use serde::Deserialize;

use crate::error::AuthError;
use crate::metadata::HostType;
use crate::settings::Settings;
use crate::token_request::{self, Refusal};

/// The scope to request where the configuration names none.
pub(super) const DEFAULT_SCOPE: &str = "all-apis";

/// The discovery document of RFC 8414, as far as it is needed.
#[derive(Deserialize)]
struct Document {
    token_endpoint: String,
}

/// The URL at which the host hands out tokens. Asks the host for it, unless it follows from what is known.
pub(super) async fn token_endpoint(settings: &Settings) -> Result<String, AuthError> {
    let host = settings.host()?;
    let url = match (&settings.metadata.discovery_url, settings.metadata.host_type) {
        (Some(url), _) => url.clone(),
        (None, HostType::Workspace) => format!("{host}/oidc/.well-known/oauth-authorization-server"),
        (None, HostType::Account) => {
            let Some(account) = &settings.metadata.account_id else {
                return Err(AuthError(format!(
                    "{host} is an account host, and databricks:accountId is not set"
                )));
            };
            return Ok(format!("{host}/oidc/accounts/{account}/v1/token"));
        }
        (None, HostType::Unified) => {
            return Err(AuthError(format!(
                "unknown host type: UNIFIED_HOST: {host} does not say where its OAuth endpoints are. Set \
                 databricks:discoveryUrl"
            )));
        }
    };
    let answer = token_request::try_send(settings, &format!("GET {url}"), || settings.http.get(&url)).await;
    match answer {
        Ok(Document { token_endpoint }) => Ok(token_endpoint),
        Err(Refusal { status: Some(404), .. }) => {
            Err(AuthError(format!("databricks OAuth is not supported for this host: {url} does not exist")))
        }
        Err(Refusal { reason, .. }) => Err(AuthError(format!("failed to get OAuth endpoints: {reason}"))),
    }
}

/// The scopes to request, in their order, as one text.
pub(super) fn scope(settings: &Settings) -> String {
    match &settings.config.attributes.scopes[..] {
        [] => DEFAULT_SCOPE.to_owned(),
        scopes => scopes.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::strategies::testing::{Answer, Clock, Server, settings};

    fn document(endpoint: &str) -> Answer {
        Answer::json(serde_json::json!({ "authorization_endpoint": "https://a", "token_endpoint": endpoint }))
    }

    async fn ask(server: &Server, more: &[(&str, &str)]) -> Result<String, AuthError> {
        let stated: Vec<_> = [("host", server.url.as_str())].iter().chain(more).copied().collect();
        token_endpoint(&*settings(&stated, Env::default(), Clock::hasty()).await).await
    }

    #[tokio::test]
    async fn a_workspace_is_asked() {
        let server = Server::start(|seen, url| match seen.path.as_str() {
            "/oidc/.well-known/oauth-authorization-server" => document(&format!("{url}/token")),
            _ => Answer::status(404),
        })
        .await;
        assert_eq!(ask(&server, &[]).await.unwrap(), format!("{}/token", server.url));
        let elsewhere = format!("{}/elsewhere", server.url);
        let error = ask(&server, &[("discoveryUrl", &elsewhere)]).await.unwrap_err();
        assert!(error.0.starts_with("databricks OAuth is not supported for this host"), "{error}");
    }

    #[tokio::test]
    async fn an_account_host_is_not_asked() {
        let server = Server::start(|seen, _| match seen.path.as_str() {
            "/.well-known/databricks-config" => Answer::json(r#"{"host_type":"ACCOUNT"}"#),
            _ => Answer::status(500),
        })
        .await;
        let endpoint = ask(&server, &[("accountId", "acc")]).await.unwrap();
        assert_eq!(endpoint, format!("{}/oidc/accounts/acc/v1/token", server.url));
        let error = ask(&server, &[]).await.unwrap_err();
        assert!(error.0.ends_with("databricks:accountId is not set"), "{error}");
        assert_eq!(server.seen().len(), 0);
    }

    #[tokio::test]
    async fn what_the_host_says_of_itself_decides() {
        let server = Server::start(|seen, url| match seen.path.as_str() {
            "/.well-known/databricks-config" => Answer::json(serde_json::json!({
                "host_type": "unified", "account_id": "acc", "oidc_endpoint": format!("{url}/x/{{account_id}}/"),
            })),
            "/x/acc/.well-known/oauth-authorization-server" => document("https://endpoint"),
            _ => Answer::status(404),
        })
        .await;
        assert_eq!(ask(&server, &[]).await.unwrap(), "https://endpoint");

        let server = Server::start(|_, _| Answer::json(r#"{"host_type":"unified"}"#)).await;
        let error = ask(&server, &[]).await.unwrap_err();
        assert!(error.0.starts_with("unknown host type: UNIFIED_HOST"), "{error}");
    }

    #[tokio::test]
    async fn other_failures_say_what_the_host_answered() {
        let server = Server::start(|_, _| Answer::status(403)).await;
        let error = ask(&server, &[]).await.unwrap_err();
        assert!(error.0.starts_with("failed to get OAuth endpoints: GET http://"), "{error}");
        assert!(error.0.contains("403"), "{error}");
    }

    #[tokio::test]
    async fn a_host_in_a_private_network_is_called_so() {
        let refused = "/login.html?error=private-link-validation-error:1";
        let server = Server::start(move |_, _| Answer::status(302).with_header("Location", refused)).await;
        let error = ask(&server, &[("cloud", "Azure")]).await.unwrap_err();
        assert!(error.0.contains("the requested workspace has Azure Private Link enabled"), "{error}");
    }
}
