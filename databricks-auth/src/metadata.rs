//! What a host says of itself.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde::Deserialize;

use crate::backoff::{self, Backoff};
use crate::clock::Clock;
use crate::config::{Cloud, Config, Host};
use crate::transport::{FailureKind, HttpClient};

/// How long the host is asked to describe itself, over all attempts. It need not answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a host that has not answered before.
pub(crate) const LESS_PATIENCE: Duration = Duration::from_secs(1);

/// What kind of host answers under a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostType {
    /// One workspace.
    #[default]
    Workspace,
    /// The account console.
    Account,
    /// Accounts and workspaces; the routing header says which one a request is for.
    Unified,
}

/// What a host says of itself at `/.well-known/databricks-config`, filled up from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// What kind of host it is.
    pub host_type: HostType,
    /// Account that the host belongs to.
    pub account_id: Option<String>,
    /// Workspace to act on: the configured one, or else the host's own.
    pub workspace_id: Option<String>,
    /// Workspace that the host says it serves, whatever the configuration says.
    pub own_workspace_id: Option<String>,
    /// Cloud that the host runs on.
    pub cloud: Cloud,
    /// Audience that identity tokens must name.
    pub audience: Option<String>,
    /// Where the OAuth endpoints are described.
    pub discovery_url: Option<String>,
    /// Whether the host has answered, even if only that it does not describe itself. Where it has not, all other values
    /// are guesses and may be wrong.
    pub is_certain: bool,
    /// The time on the host's clock when it answered.
    pub date: Option<SystemTime>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    oidc_endpoint: Option<String>,
    account_id: Option<String>,
    workspace_id: Option<String>,
    cloud: Option<String>,
    host_type: Option<String>,
    token_federation_default_oidc_audiences: Vec<String>,
}

/// What came of one attempt to have the host describe itself.
#[derive(Default)]
struct Answer {
    document: Option<Document>,
    is_certain: bool,
    date: Option<SystemTime>,
    /// `Some` where another attempt may do better; it holds how long the host asks to wait, if it does.
    again: Option<Option<Duration>>,
}

impl Answer {
    async fn of(http: &HttpClient, url: &str, clock: &dyn Clock) -> Answer {
        let none = |again| Answer { again, ..Answer::default() };
        let response = match http.get(url).header("accept", "application/json").send().await {
            Ok(response) => response,
            Err(failure) => {
                return none(match failure.kind {
                    FailureKind::Invalid | FailureKind::Untrusted | FailureKind::NotTls => None,
                    FailureKind::Unreachable | FailureKind::Interrupted => Some(None),
                });
            }
        };
        let (status, date) = (response.status(), date(response.headers()));
        if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
            let asked = backoff::retry_after(response.headers(), clock.now());
            return Answer { date, ..none(Some(asked)) };
        }
        let document = match response.body().await {
            Ok(body) if status.is_success() => serde_json::from_slice(&body).ok(),
            Ok(_) => None,
            Err(_) => return Answer { date, ..none(Some(None)) },
        };
        Answer { document, is_certain: true, date, again: None }
    }
}

/// The time on the host's clock, also where a cache on the way has kept the answer, which says for how long.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let age = headers.get(http::header::AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    // More than this, about a century, cannot be added to every date.
    let age = Duration::from_secs(age.unwrap_or(0).min(u32::MAX.into()));
    backoff::date(headers)?.checked_add(age)
}

impl Metadata {
    /// Asks the host, and again while it is busy or unreachable. If no answer comes, this is no error: the
    /// configuration and the host's name decide then.
    pub(crate) async fn fetch(
        http: &HttpClient,
        config: &Config,
        host: &Host,
        clock: &dyn Clock,
        within: Duration,
    ) -> Metadata {
        let url = format!("{}/.well-known/databricks-config", host.url);
        let mut backoff = Backoff::brisk(clock.now());
        let mut date = None;
        let asking = async {
            loop {
                let answer = Answer::of(http, &url, clock).await;
                date = answer.date.or(date);
                let wait = answer.again.and_then(|asked| backoff.next(clock.now(), within, None, asked));
                let Some(wait) = wait else { return answer };
                clock.sleep(wait).await;
            }
        };
        let answer = tokio::time::timeout(within, asking).await.unwrap_or_default();
        if answer.document.is_none() {
            tracing::debug!(host = %host, is_certain = answer.is_certain, "the host does not describe itself");
        }
        Metadata { is_certain: answer.is_certain, date, ..Metadata::new(config, host, answer.document) }
    }

    fn new(config: &Config, host: &Host, document: Option<Document>) -> Metadata {
        let attributes = &config.attributes;
        let is_described = document.is_some();
        let document = document.unwrap_or_default();
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let host_type = match document.host_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("workspace") => HostType::Workspace,
            Some("account") => HostType::Account,
            Some("unified") => HostType::Unified,
            _ if host.is_account() => HostType::Account,
            _ => HostType::Workspace,
        };
        let own_workspace_id = some(document.workspace_id);
        let account_id = attributes.account_id.clone().or(some(document.account_id));
        let cloud = if attributes.azure_workspace_resource_id.is_some() {
            Cloud::Azure
        } else {
            [attributes.cloud.as_deref(), document.cloud.as_deref()]
                .into_iter()
                .flatten()
                .find_map(Cloud::named)
                .unwrap_or_else(|| host.cloud())
        };
        let audience = attributes
            .audience
            .clone()
            .or_else(|| {
                document.token_federation_default_oidc_audiences.into_iter().find(|text| !text.is_empty())
            })
            // A host that describes itself and names no workspace belongs to the account.
            .or_else(|| account_id.clone().filter(|_| is_described && own_workspace_id.is_none()));
        let discovery_url = attributes.discovery_url.clone().or_else(|| {
            let endpoint = some(document.oidc_endpoint)?;
            let endpoint = match &account_id {
                Some(account) => endpoint.replace("{account_id}", account),
                None if endpoint.contains("{account_id}") => return None,
                None => endpoint,
            };
            Some(format!("{}/.well-known/oauth-authorization-server", endpoint.trim_end_matches('/')))
        });
        Metadata {
            host_type,
            account_id,
            workspace_id: attributes.workspace_id.clone().or_else(|| own_workspace_id.clone()),
            own_workspace_id,
            cloud,
            audience,
            discovery_url,
            is_certain: false,
            date: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::Statements;
    use crate::env::Env;
    use crate::testing::{self, Clock, Server, start};

    /// What is made of a host that gives these answers, repeating the last; the count of its requests; and the clock.
    async fn ask(answers: Vec<testing::Answer>) -> (Metadata, usize, Clock) {
        let next = std::sync::Arc::new(AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&next);
        let server = Server::start(move |_, _| {
            answers[next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone()
        })
        .await;
        let stated = [("host".to_owned(), server.url.as_str().into())].into();
        let config = Config::resolve(&stated, &Env::default()).unwrap();
        let (http, clock) = (HttpClient::direct(&config).unwrap(), Clock::hasty());
        let host = config.host.as_ref().unwrap();
        let metadata = Metadata::fetch(&http, &config, host, &clock, PATIENCE).await;
        (metadata, count.load(Ordering::SeqCst), clock)
    }

    fn unified() -> testing::Answer {
        testing::Answer::json(r#"{"host_type":"unified"}"#)
    }

    #[tokio::test]
    async fn a_busy_host_is_asked_again() {
        for status in [0, 429, 500, 502, 503, 504] {
            let (metadata, calls, clock) = ask(vec![testing::Answer::status(status), unified()]).await;
            assert_eq!((metadata.host_type, metadata.is_certain), (HostType::Unified, true), "{status}");
            assert_eq!((calls, clock.slept().len()), (2, 1), "{status}");
        }
        let busy = testing::Answer::status(503).with_header("Retry-After", "3");
        let (_, calls, clock) = ask(vec![busy, unified()]).await;
        assert_eq!((calls, clock.slept()), (2, vec![Duration::from_secs(3)]));
    }

    #[tokio::test]
    async fn a_host_that_is_always_busy_is_guessed() {
        for status in [0, 429, 503] {
            let (metadata, calls, clock) = ask(vec![testing::Answer::status(status)]).await;
            assert_eq!((metadata.host_type, metadata.is_certain), (HostType::Workspace, false), "{status}");
            assert!((2..=6).contains(&calls), "{calls}");
            assert!(clock.slept().iter().sum::<Duration>() <= PATIENCE, "{:?}", clock.slept());
        }
    }

    #[tokio::test]
    async fn an_answer_is_certain_also_where_it_describes_nothing() {
        for answer in [
            testing::Answer::status(404),
            testing::Answer::status(401),
            testing::Answer::status(302),
            testing::Answer::json("<html>"),
            unified(),
        ] {
            let (metadata, calls, _) = ask(vec![answer.clone()]).await;
            assert!(metadata.is_certain, "{answer:?}");
            assert_eq!(calls, 1, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn the_host_says_what_time_it_is() {
        let date = httpdate::fmt_http_date(start());
        let (metadata, ..) = ask(vec![unified()]).await;
        assert_eq!(metadata.date, None);
        let (metadata, ..) = ask(vec![testing::Answer::status(404).with_header("Date", &date)]).await;
        assert_eq!(metadata.date, Some(start()));
        let kept = unified().with_header("Date", &date).with_header("Age", "70");
        let (metadata, ..) = ask(vec![kept]).await;
        assert_eq!(metadata.date, Some(start() + Duration::from_secs(70)));
    }

    #[test]
    fn the_cloud_is_configured_or_said_or_read_off_the_name() {
        let cloud = |stated: &[(&str, &str)], said: Option<&str>| {
            let stated: Statements =
                stated.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let config = Config::resolve(&stated, &Env::default()).unwrap();
            let document = said.map(|said| Document { cloud: Some(said.to_owned()), ..Document::default() });
            Metadata::new(&config, config.host.as_ref().unwrap(), document).cloud
        };
        let vanity = ("host", "https://databricks.example.com");
        let azure = ("host", "https://adb-1.2.azuredatabricks.net");
        assert_eq!(cloud(&[vanity], None), Cloud::Aws);
        assert_eq!(cloud(&[azure], None), Cloud::Azure);
        assert_eq!(cloud(&[vanity], Some("AZURE")), Cloud::Azure);
        assert_eq!(cloud(&[azure], Some("gcp")), Cloud::Gcp);
        assert_eq!(cloud(&[azure], Some("moon")), Cloud::Azure);
        assert_eq!(cloud(&[vanity, ("cloud", "GCP")], Some("AZURE")), Cloud::Gcp);
        assert_eq!(cloud(&[vanity, ("azureWorkspaceResourceId", "/x")], Some("GCP")), Cloud::Azure);
    }
}
