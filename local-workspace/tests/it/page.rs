//! The page at the root, and who may use the control API.

use databricks_local_workspace::Options;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{Local, answer, assert_error};

const STATE: &str = "/local/control/state";

/// The page as a browser gets it, and the key that it holds.
async fn page(local: &Local) -> (String, String) {
    let text = local.request(Method::GET, "/").send().await.unwrap().text().await.unwrap();
    let key = text.split("const key = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (text, key)
}

async fn refused(request: RequestBuilder) {
    let message = assert_error(answer(request).await, 403, "PERMISSION_DENIED");
    assert!(message.contains("web pages") || message.contains("not a name of this workspace"), "{message}");
}

#[tokio::test]
async fn the_page_holds_no_credential_and_is_neither_logged_nor_hit_by_faults() {
    let local = Local::start().await;
    local.mint(json!({})).await;
    local.control("/faults", json!({"match": {"times": 0}, "action": {"status": 500}})).await;
    let response = local.request(Method::GET, "/").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let (text, key) = page(&local).await;
    assert!(key.len() == 32 && !text.contains("{{") && !text.contains("dapi"));
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    assert!(!text.contains(&nonce), "a nonce must not be used again");
    assert_eq!(local.requests().await.len(), 1);
}

#[tokio::test]
async fn only_its_own_page_may_use_the_control_api() {
    let local = Local::start().await;
    let url = local.running.url();
    let (_, key) = page(&local).await;
    let get = || local.request(Method::GET, STATE);
    let own = |request: RequestBuilder| request.header("X-Local-Workspace-Page", &key);

    // What a browser sends for the page itself.
    let clock = local.request(Method::POST, "/local/control/clock").json(&json!({"advance_ms": 1}));
    let clock = own(clock).header("Origin", &url).header("Sec-Fetch-Site", "same-origin");
    assert_eq!(answer(clock).await.0, 200);
    assert_eq!(answer(own(get()).header("Sec-Fetch-Site", "same-origin")).await.0, 200);
    // A browser in which somebody typed the address.
    assert_eq!(answer(get().header("Sec-Fetch-Site", "none")).await.0, 200);

    // Other pages do not know the key, and would not be let in with it.
    refused(get().header("Sec-Fetch-Site", "same-origin")).await;
    refused(get().header("Sec-Fetch-Site", "cross-site")).await;
    refused(get().header("Origin", &url)).await;
    refused(own(get()).header("Origin", "http://example.com")).await;
    refused(own(get()).header("Origin", "null")).await;
    refused(own(get()).header("Sec-Fetch-Site", "same-site")).await;
    let other_port = format!("http://127.0.0.1:{}", local.running.address().port() ^ 1);
    refused(own(get()).header("Origin", other_port)).await;
    refused(local.request(Method::POST, "/local/control/reset").header("Sec-Fetch-Site", "none")).await;
    // No answer invites other origins.
    let preflight = local.request(Method::OPTIONS, STATE).header("Origin", "http://example.com");
    let preflight = preflight.header("Access-Control-Request-Headers", "x-local-workspace-page");
    let response = preflight.send().await.unwrap();
    assert!(!response.headers().keys().any(|name| name.as_str().starts_with("access-control")));
}

#[tokio::test]
async fn a_name_that_was_made_to_resolve_to_this_machine_leads_nowhere() {
    let local =
        Local::start_with(Options { host_names: vec!["workspace".into()], ..Options::default() }).await;
    let port = local.running.address().port();
    for (name, answered) in [
        ("127.0.0.1", true),
        ("[::1]", true),
        ("LOCALHOST", true),
        ("workspace", true),
        ("evil.example.com", false),
        ("127.0.0.1.example.com", false),
        ("localhost.example.com", false),
    ] {
        for path in ["/", STATE] {
            let request = local.request(Method::GET, path).header("Host", format!("{name}:{port}"));
            if answered {
                assert_eq!(request.send().await.unwrap().status(), 200, "{name}{path}");
            } else {
                refused(request).await;
            }
        }
    }
}
