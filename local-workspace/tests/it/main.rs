//! Behaviour of the local workspace, seen through HTTP.

mod clock;
mod faults;
mod federation;
mod identities;
mod log;
mod oauth;
mod page;
mod program;
mod scim;
mod secrets;
mod snapshot;
mod tokens;
mod workspaces;

use databricks_local_workspace::{Options, Running, Workspace};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

const CREATE: &str = "/api/2.0/token/create";
const LIST: &str = "/api/2.0/token/list";
const DELETE: &str = "/api/2.0/token/delete";
const ME: &str = "/api/2.0/preview/scim/v2/Me";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A workspace, one for each test, and an HTTP client for it.
struct Local {
    running: Running,
    client: Client,
}

/// Status and JSON body of an answer.
type Answer = (u16, Value);

impl Local {
    async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    async fn start_with(options: Options) -> Self {
        let client = client_builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { running: Workspace::start(options).await.unwrap(), client }
    }

    fn token(&self) -> &str {
        &self.running.options().token
    }

    fn url(&self, path: &str) -> String {
        self.running.url() + path
    }

    /// A request without credentials.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_as(self.token(), path).await
    }

    async fn get_as(&self, token: &str, path: &str) -> Answer {
        answer(self.request(Method::GET, path).bearer_auth(token)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, body).await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        answer(self.request(method, path).bearer_auth(self.token()).json(&body)).await
    }

    /// Changes something through the control API.
    async fn control(&self, path: &str, body: Value) -> Value {
        let (status, body) =
            answer(self.request(Method::POST, &format!("/local/control{path}")).json(&body)).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn state(&self) -> Value {
        answer(self.request(Method::GET, "/local/control/state")).await.1
    }

    async fn requests(&self) -> Vec<Value> {
        let (_, body) = answer(self.request(Method::GET, "/local/control/requests")).await;
        body["requests"].as_array().unwrap().clone()
    }

    async fn advance_clock(&self, by_ms: i64) {
        self.control("/clock", json!({"advance_ms": by_ms})).await;
    }

    /// Creates a token and returns its value and id.
    async fn mint(&self, body: Value) -> (String, String) {
        let (status, body) = self.post(CREATE, body).await;
        assert_eq!(status, 200, "{body}");
        (text(&body["token_value"]), text(&body["token_info"]["token_id"]))
    }

    /// Ids that the caller's list holds.
    async fn listed(&self) -> Vec<String> {
        let (status, body) = self.get(LIST).await;
        assert_eq!(status, 200, "{body}");
        ids(&body)
    }
}

fn ids(list: &Value) -> Vec<String> {
    list["token_infos"].as_array().into_iter().flatten().map(|info| text(&info["token_id"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text")).to_owned()
}

/// Sends a request and reads a JSON answer.
async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

/// Asserts an error's status and code, and returns its message.
fn assert_error((status, body): Answer, expected: u16, code: impl Into<Value>) -> String {
    assert_eq!((status, &body["error_code"]), (expected, &code.into()), "{body}");
    text(&body["message"])
}

/// Builds the tests' HTTP clients. They speak no TLS, but cannot be built without a provider of it.
fn client_builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}
