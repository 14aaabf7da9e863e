//! The request log and the control API around it.

use reqwest::Method;
use serde_json::json;

use crate::{CREATE, LIST, Local, answer, assert_error};

#[tokio::test]
async fn the_log_tells_all_but_secrets() {
    let local = Local::start().await;
    let (value, id) = local.mint(json!({"comment": "c"})).await;
    local.get_as(&value, &format!("{LIST}?a=b&access_token=query-secret")).await;
    let form = "grant_type=client_credentials&client_secret=form-secret&scope=x";
    let request = local
        .request(Method::POST, "/oidc/v1/token")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("X-Databricks-GCP-SA-Access-Token", "header-secret")
        .body(form);
    answer(request).await;
    let patch = json!({"token": {"comment": "kept"}, "token_value": "json-secret", "update_mask": "comment"});
    local.send(Method::PATCH, &format!("/api/2.0/token/{id}"), patch).await;
    local.request(Method::POST, CREATE).body("unparsable-secret").send().await.unwrap();

    let log = local.requests().await;
    assert_eq!(log.len(), 5);
    assert_eq!((&log[0]["method"], &log[0]["path"]), (&json!("POST"), &json!(CREATE)));
    assert_eq!(log[0]["body"], json!({"comment": "c"}));
    assert_eq!((&log[0]["status"], &log[0]["work_done"]), (&json!(200), &json!(true)));
    assert_eq!((&log[0]["http_version"], &log[0]["fault"]), (&json!("1.1"), &json!(null)));
    assert!(log[0]["remote_port"].is_u64() && log[0]["connection"].is_u64());
    // The fingerprint of a personal access token is the start of its id.
    assert_eq!(log[1]["auth"], json!({"kind": "bearer", "fingerprint": id[..12]}));
    assert_eq!(log[1]["query"], "a=b&access_token=REDACTED");
    assert_ne!(log[0]["auth"], log[1]["auth"]);
    assert_eq!(log[2]["body"]["grant_type"], "client_credentials");
    assert_eq!((&log[2]["auth"]["kind"], &log[2]["status"]), (&json!("none"), &json!(401)));
    assert_eq!(log[3]["body"]["token"]["comment"], "kept");
    assert_eq!(log[4]["work_done"], false);
    let seen = format!("{log:?}{}", local.state().await);
    for secret in [
        &value,
        local.token(),
        "query-secret",
        "form-secret",
        "header-secret",
        "json-secret",
        "unparsable-secret",
    ] {
        assert!(!seen.contains(secret), "{secret}");
    }
    assert_eq!(answer(local.request(Method::DELETE, "/local/control/requests")).await.0, 200);
    assert!(local.requests().await.is_empty());
}

#[tokio::test]
async fn the_state_shows_revoked_tokens_too() {
    let local = Local::start().await;
    let (value, id) = local.mint(json!({"comment": "c", "scopes": ["all-apis"]})).await;
    local.control(&format!("/tokens/{id}/revoke"), json!({})).await;
    assert_error(local.get_as(&value, LIST).await, 403, 403);
    let token = local.state().await["tokens"][0].clone();
    assert_eq!((&token["id"], &token["revoked"]), (&json!(id), &json!(true)));
    assert_eq!((&token["comment"], &token["scopes"]), (&json!("c"), &json!(["all-apis"])));
    assert_eq!(token["created_by"], "admin@example.com");
    let unknown = local.request(Method::POST, "/local/control/tokens/x/revoke");
    assert_error(answer(unknown).await, 404, "RESOURCE_DOES_NOT_EXIST");
}

#[tokio::test]
async fn a_reset_keeps_only_the_credentials() {
    let local = Local::start().await;
    let (value, _) = local.mint(json!({})).await;
    local.control("/quota", json!({"quota": 1})).await;
    local.control("/faults", json!({"match": {"times": 0}, "action": {"status": 500}})).await;
    local.control("/clock", json!({"set_ms": 5})).await;
    local.control("/reset", json!({})).await;
    assert_eq!(local.get(LIST).await, (200, json!({})));
    assert_error(local.get_as(&value, LIST).await, 403, 403);
    let state = local.state().await;
    assert_eq!(state["quota"], 600);
    assert!(state["now_ms"].as_i64().unwrap() > 1_700_000_000_000);
    let (_, log) = answer(local.request(Method::GET, "/local/control/requests")).await;
    // `oldest` shows a client that follows the log which entries are gone.
    assert_eq!((log["requests"].as_array().unwrap().len(), &log["oldest"]), (2, &json!(2)));
    local.control("/reset", json!({})).await;
    let (_, log) = answer(local.request(Method::GET, "/local/control/requests")).await;
    assert_eq!(log, json!({"requests": [], "oldest": 4}));
}

#[tokio::test]
async fn web_pages_cannot_drive_the_control_api() {
    let local = Local::start().await;
    let request = local.request(Method::POST, "/local/control/reset").header("Origin", "http://example.com");
    assert_error(answer(request).await, 403, "PERMISSION_DENIED");
}

#[tokio::test]
async fn a_stopped_workspace_is_gone() {
    let local = Local::start().await;
    assert_eq!(local.get(LIST).await.0, 200);
    let Local { running, client } = local;
    let url = running.url();
    running.stop();
    for _ in 0..100 {
        if client.get(&url).send().await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("still answers");
}
