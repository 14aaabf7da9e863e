use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::google::{self, Account, CLOUD_PLATFORM, COMPUTE, Key};
use super::{Outcome, Strategy, elsewhere, missing};
use crate::env::Env;
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::{self, Cache, Token};
use crate::token_request::{self, TokenAnswer};
use crate::transport::authorization;
use crate::transport::{HttpClient, url_with_parameters};

/// A Google service account, impersonated with the application default credentials of this machine.
pub(super) struct GoogleId;

/// How long it may take to find out whether this is a machine of Google.
const MACHINE_PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the metadata service of the machine may take for a token.
const MACHINE_TIMEOUT: Duration = Duration::from_secs(10);

/// The variable that names a file with credentials of Google, for every tool.
const FILE_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

#[async_trait]
impl Strategy for GoogleId {
    fn name(&self) -> &'static str {
        "google-id"
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let Some(email) = &settings.config.attributes.google_service_account else {
            return Ok(missing(&[("databricks:googleServiceAccount", false)]));
        };
        if let Some(reason) = google::not_google(settings) {
            return Ok(elsewhere(settings, "google", reason));
        }
        if !email.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte)) {
            return Err(AuthError(
                "databricks:googleServiceAccount is not the e-mail of a service account".to_owned(),
            ));
        }
        let Some(own) = Own::find(settings).await? else {
            return Ok(Outcome::Incomplete(format!(
                "no application default credentials of Google: run `gcloud auth application-default login` or set \
                 {FILE_VARIABLE}"
            )));
        };
        let own = Cache::new(OwnTokens { own, settings: Arc::clone(settings) }, Arc::clone(&settings.clock));
        google::sign_in(settings, Impersonated { settings: Arc::clone(settings), email: email.clone(), own })
    }
}

/// The account to act as, and the tokens of the one that may do so.
struct Impersonated {
    settings: Arc<Settings>,
    email: String,
    own: Cache<OwnTokens>,
}

impl Impersonated {
    fn url(&self, method: &str) -> String {
        let base = &self.settings.services.google_credentials;
        format!("{base}/v1/projects/-/serviceAccounts/{}:{method}", self.email)
    }

    async fn ask<T: DeserializeOwned>(&self, url: &str, what: &str, body: &Json) -> Result<T, AuthError> {
        let own = self.own.token().await?;
        let headers = authorization(&own.kind, own.value.expose_secret())?;
        let request = || {
            let request = self.settings.http.post(url).headers(headers.clone());
            request.header("content-type", "application/json").body(body.to_string())
        };
        token_request::send(&self.settings, what, request).await
    }
}

#[async_trait]
impl Account for Impersonated {
    async fn id_token(&self, audience: &str) -> Result<Token, AuthError> {
        #[derive(Deserialize)]
        struct Answer {
            token: SecretString,
        }
        let url = self.url("generateIdToken");
        let what = format!("token request to {url}");
        let body = json!({ "audience": audience, "includeEmail": true });
        let answer: Answer = self.ask(&url, &what, &body).await?;
        google::id_token(&what, &self.settings, answer.token)
    }

    async fn access_token(&self) -> Result<Token, AuthError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            access_token: SecretString,
            expire_time: String,
        }
        let url = self.url("generateAccessToken");
        let what = format!("token request to {url}");
        let body = json!({ "lifetime": "3600s", "scope": [CLOUD_PLATFORM, COMPUTE] });
        let answer: Answer = self.ask(&url, &what, &body).await?;
        let expires: Option<jiff::Timestamp> = answer.expire_time.parse().ok();
        let expires = expires
            .and_then(|expires| SystemTime::try_from(expires).ok())
            .ok_or_else(|| AuthError(format!("{what}: the answer has no expiry")))?;
        Token::new(&what, answer.access_token, "", Some(expires))
    }
}

/// Application default credentials: as whom Google knows this process.
enum Own {
    /// A service account with a key.
    Key(Box<Key>),
    /// Somebody who has logged in with `gcloud`.
    User(User),
    /// The service account of the Google machine that this runs on.
    Machine(HttpClient),
}

#[derive(Deserialize)]
struct User {
    client_id: String,
    client_secret: SecretString,
    refresh_token: SecretString,
}

impl Own {
    /// Looks in the places where every tool of Google looks, in the same order.
    async fn find(settings: &Settings) -> Result<Option<Own>, AuthError> {
        if let Some(path) = settings.env.var(FILE_VARIABLE) {
            let failed = |reason: String| AuthError(format!("{FILE_VARIABLE}: {path}: {reason}"));
            let text = tokio::fs::read_to_string(path).await.map_err(|error| failed(error.to_string()))?;
            return Own::parse(settings, &Zeroizing::new(text)).map(Some).map_err(|error| failed(error.0));
        }
        if let Some(path) = gcloud_file(&settings.env)
            && let Ok(text) = tokio::fs::read_to_string(&path).await
        {
            let failed = |error: AuthError| AuthError(format!("{}: {error}", path.display()));
            return Own::parse(settings, &Zeroizing::new(text)).map(Some).map_err(failed);
        }
        // A proxy would give its own identity.
        let http = HttpClient::direct(&settings.config)?;
        Ok(is_google_machine(settings, &http).await.then_some(Own::Machine(http)))
    }

    fn parse(settings: &Settings, text: &str) -> Result<Own, AuthError> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: String,
        }
        let bad = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            AuthError(format!("not credentials of Google (line {line}, column {column})"))
        };
        match serde_json::from_str::<Kind>(text).map_err(bad)?.kind.as_str() {
            "service_account" => Key::parse(settings, text).map(Box::new).map(Own::Key),
            "authorized_user" => serde_json::from_str(text).map_err(bad).map(Own::User),
            kind => Err(AuthError(format!(
                "credentials of type {kind:?} are not supported; use a service account or `gcloud auth \
                 application-default login`"
            ))),
        }
    }
}

/// Where `gcloud auth application-default login` leaves its credentials.
fn gcloud_file(env: &Env) -> Option<PathBuf> {
    let folder = match (env.var("CLOUDSDK_CONFIG"), env.var("APPDATA")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(folder)) if cfg!(windows) => PathBuf::from(folder).join("gcloud"),
        _ => env.home.as_ref()?.join(".config/gcloud"),
    };
    Some(folder.join("application_default_credentials.json"))
}

/// Whether the metadata service of this machine is Google's; other clouds have theirs at the same address.
async fn is_google_machine(settings: &Settings, http: &HttpClient) -> bool {
    let request = http.get(&settings.services.machine).header("metadata-flavor", "Google");
    let answer = request.timeout(MACHINE_PROBE_TIMEOUT).send().await;
    answer
        .is_ok_and(|answer| answer.headers().get("metadata-flavor").is_some_and(|flavor| flavor == "Google"))
}

struct OwnTokens {
    own: Own,
    settings: Arc<Settings>,
}

#[async_trait]
impl token_cache::Source for OwnTokens {
    async fn fetch(&self) -> Result<Token, AuthError> {
        let settings = &*self.settings;
        let (what, answer): (String, TokenAnswer) = match &self.own {
            Own::Key(key) => return key.access_token(settings, CLOUD_PLATFORM).await,
            Own::User(user) => {
                let url = &settings.services.google_token;
                let what = format!("token request to {url}");
                let form = token_request::form(&[
                    ("client_id", &user.client_id),
                    ("client_secret", user.client_secret.expose_secret()),
                    ("grant_type", "refresh_token"),
                    ("refresh_token", user.refresh_token.expose_secret()),
                ]);
                let request = || token_request::post_form(settings, url, &form);
                let answer = token_request::send(settings, &what, request).await?;
                (what, answer)
            }
            Own::Machine(http) => {
                let path = "/computeMetadata/v1/instance/service-accounts/default/token";
                let address = format!("{}{path}", settings.services.machine);
                let what = format!("token request to {address}");
                let url = url_with_parameters(&address, &[("scopes", CLOUD_PLATFORM)])
                    .map_err(|error| AuthError(format!("{what}: {error}")))?;
                let request = || http.get(&url).header("metadata-flavor", "Google").timeout(MACHINE_TIMEOUT);
                let answer = token_request::send(settings, &what, request).await?;
                (what, answer)
            }
        };
        answer.token(&what, settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::google::tests::{EMAIL, claims, key_file, some_id_token};
    use crate::strategies::testing::{self, Answer, Clock, Seen, Server};
    use crate::strategies::{SignIn, choose};

    /// Google: its token endpoint, its service for tokens of service accounts, and the metadata service of a machine.
    fn google(seen: &Seen, _: &str) -> Answer {
        match seen.path.rsplit([':', '/']).next().unwrap_or_default() {
            "generateIdToken" => Answer::json(json!({ "token": some_id_token(1_800_003_600) })),
            "generateAccessToken" => {
                Answer::json(json!({ "accessToken": "act", "expireTime": "2027-01-15T09:00:00Z" }))
            }
            "machine" => Answer::status(200).with_header("metadata-flavor", "Google"),
            _ => Answer::json(json!({ "access_token": "own", "token_type": "Bearer", "expires_in": 3599 })),
        }
    }

    async fn sign_in(server: &Server, env: Env) -> Result<SignIn, AuthError> {
        let stated = [
            ("host", server.url.as_str()),
            ("cloud", "GCP"),
            ("googleServiceAccount", "to@act-as.example.com"),
        ];
        let services = testing::services(&server.url);
        choose(&testing::settings_at(&stated, env, Clock::still(), services).await).await
    }

    /// Signs in and checks what must be the same for every kind of own credentials; returns the requests before those.
    async fn impersonated(server: &Server, env: Env) -> Vec<Seen> {
        let chosen = sign_in(server, env).await.unwrap();
        assert_eq!(chosen.name, "google-id");
        let headers = chosen.credentials.headers().await.unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["authorization"], format!("Bearer {}", some_id_token(1_800_003_600)));
        assert_eq!(headers["x-databricks-gcp-sa-access-token"], "act");

        let mut seen = server.seen();
        let asked = seen.split_off(seen.len() - 2);
        let account = "/google/iam/v1/projects/-/serviceAccounts/to@act-as.example.com";
        let scopes = [CLOUD_PLATFORM, COMPUTE];
        for (asked, method, body) in [
            (&asked[0], "generateIdToken", json!({ "audience": server.url, "includeEmail": true })),
            (&asked[1], "generateAccessToken", json!({ "lifetime": "3600s", "scope": scopes })),
        ] {
            assert_eq!(asked.path, format!("{account}:{method}"));
            assert_eq!(asked.header("authorization"), "Bearer own");
            assert_eq!(serde_json::from_str::<Json>(&asked.body).unwrap(), body);
        }
        seen
    }

    fn env(home: &tempfile::TempDir) -> Env {
        Env { home: Some(home.path().to_owned()), ..Env::default() }
    }

    #[tokio::test]
    async fn a_key_file_that_the_environment_names_goes_first() {
        let server = Server::start(google).await;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.json");
        std::fs::write(&path, key_file(&format!("{}/token", server.url))).unwrap();
        let mut env = env(&home);
        env.vars.insert(FILE_VARIABLE.to_owned(), path.display().to_string());
        let seen = impersonated(&server, env).await;
        assert_eq!(seen.len(), 1);
        let claims = claims(&seen[0].body);
        assert_eq!((claims["iss"].as_str(), claims["scope"].as_str()), (Some(EMAIL), Some(CLOUD_PLATFORM)));
    }

    const LOGIN_FILE: &str = "application_default_credentials.json";
    const LOGIN: &str =
        r#"{"type":"authorized_user","client_id":"c","client_secret":"s&","refresh_token":"r"}"#;

    #[tokio::test]
    async fn a_login_of_gcloud_goes_second() {
        let server = Server::start(google).await;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/gcloud");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(LOGIN_FILE), LOGIN).unwrap();
        let seen = impersonated(&server, env(&home)).await;
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].path, "/google/token");
        assert_eq!(seen[0].body, "client_id=c&client_secret=s%26&grant_type=refresh_token&refresh_token=r");
    }

    #[tokio::test]
    async fn gcloud_may_keep_its_files_elsewhere() {
        let server = Server::start(google).await;
        let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join(LOGIN_FILE), LOGIN).unwrap();
        let mut env = env(&home);
        env.vars.insert("CLOUDSDK_CONFIG".to_owned(), folder.path().display().to_string());
        let seen = impersonated(&server, env).await;
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].path, "/google/token");
    }

    #[tokio::test]
    async fn the_machine_comes_last() {
        let server = Server::start(google).await;
        let home = tempfile::tempdir().unwrap();
        let seen = impersonated(&server, env(&home)).await;
        let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/machine",
                "/machine/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.\
                 googleapis.com%2Fauth%2Fcloud-platform"
            ]
        );
        assert!(seen.iter().all(|seen| seen.header("metadata-flavor") == "Google"));
    }

    #[tokio::test]
    async fn whoever_is_unknown_to_google_learns_what_to_do() {
        // The metadata service of another cloud.
        let server = Server::start(|_, _| Answer::status(200)).await;
        let home = tempfile::tempdir().unwrap();
        let error = sign_in(&server, env(&home)).await.unwrap_err().to_string();
        let reason = "google-id: no application default credentials of Google: run `gcloud auth application-default \
                      login` or set GOOGLE_APPLICATION_CREDENTIALS";
        assert!(error.contains(reason), "{error}");

        let mut env = env(&home);
        let path = home.path().join("federation.json");
        env.vars.insert(FILE_VARIABLE.to_owned(), path.display().to_string());
        let error = sign_in(&server, env.clone()).await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("google-id auth: {FILE_VARIABLE}: {}: No such file", path.display())),
            "{error}"
        );
        std::fs::write(&path, r#"{"type":"external_account"}"#).unwrap();
        let error = sign_in(&server, env).await.unwrap_err().to_string();
        assert!(error.contains("credentials of type \"external_account\" are not supported"), "{error}");
    }
}
