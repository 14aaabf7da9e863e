//! Several workspaces behind one host, and the account APIs.

use databricks_local_workspace::{Options, ServicePrincipal};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{CREATE, LIST, Local, ME, answer, assert_error, ids, text};

/// A workspace with a service principal, and an access token of that principal.
async fn with_access_token() -> (Local, String) {
    let client = ServicePrincipal { client_id: "cid".into(), client_secret: "s".into() };
    let local = Local::start_with(Options { service_principal: Some(client), ..Options::default() }).await;
    let request = local
        .request(Method::POST, "/oidc/v1/token")
        .basic_auth("cid", Some("s"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials");
    let token = text(&answer(request).await.1["access_token"]);
    (local, token)
}

#[tokio::test]
async fn a_header_chooses_the_workspace() {
    let (local, token) = with_access_token().await;
    local.control("/host-metadata", json!({"host_type": "unified"})).await;
    local.control("/workspaces", json!({"workspace_id": "42", "token": "dapi-of-42"})).await;
    local.control("/workspaces", json!({"workspace_id": "connection-1"})).await;
    let list = async |token: &str, workspace: &str| {
        let request = local.request(Method::GET, LIST).bearer_auth(token);
        answer(request.header("X-Databricks-Workspace-Id", workspace)).await
    };
    let create = local
        .request(Method::POST, CREATE)
        .bearer_auth(&token)
        .header("X-Databricks-Workspace-Id", "42")
        .send()
        .await
        .unwrap();
    assert_eq!(create.headers()["x-databricks-org-id"], "42");
    let minted: Value = serde_json::from_str(&create.text().await.unwrap()).unwrap();
    let minted_id = text(&minted["token_info"]["token_id"]);
    assert_eq!(ids(&list(&token, "42").await.1), [minted_id]);
    assert_eq!(list(&token, "1234567890123456").await.1, json!({}));
    assert_eq!(list(&token, "connection-1").await.1, json!({}));
    assert_error(list(&token, "43").await, 404, "RESOURCE_DOES_NOT_EXIST");
    // A personal access token belongs to one workspace.
    let value = text(&minted["token_value"]);
    assert_eq!(list(&value, "42").await.0, 200);
    assert_eq!(list("dapi-of-42", "42").await.0, 200);
    assert_error(list(&value, "1234567890123456").await, 403, 403);
    assert_error(list(local.token(), "42").await, 403, 403);
    // The older name of the header.
    let request = local.request(Method::GET, ME).bearer_auth(&token).header("X-Databricks-Org-Id", "42");
    assert_eq!(request.send().await.unwrap().headers()["x-databricks-org-id"], "42");
}

#[tokio::test]
async fn account_apis_name_the_workspaces() {
    let (local, token) = with_access_token().await;
    let account = &local.running.options().account_id;
    let path = format!("/api/2.0/accounts/{account}/workspaces");
    let new = json!({"workspace_id": "42", "deployment_name": "dep", "workspace_url": "http://127.0.0.1:9"});
    local.control("/workspaces", new).await;
    let (_, body) = local.get_as(&token, &format!("{path}/42")).await;
    assert_eq!(body["workspace_id"], 42);
    assert_eq!(body["deployment_name"], "dep");
    assert_eq!(body["workspace_url"], "http://127.0.0.1:9");
    assert_eq!(local.get_as(&token, &path).await.1.as_array().unwrap().len(), 2);
    assert_error(local.get_as(&token, &format!("{path}/43")).await, 404, "RESOURCE_DOES_NOT_EXIST");
    let elsewhere = "/api/2.0/accounts/other/workspaces/42";
    assert_error(local.get_as(&token, elsewhere).await, 404, "RESOURCE_DOES_NOT_EXIST");
    assert_error(local.get(&path).await, 401, 401);
}

#[tokio::test]
async fn an_account_host_sends_workspace_calls_to_its_login_page() {
    let (local, token) = with_access_token().await;
    local.control("/host-metadata", json!({"host_type": "account", "login_redirect": true})).await;
    let response = local.request(Method::POST, CREATE).bearer_auth(&token).send().await.unwrap();
    assert_eq!(response.status(), 302);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, "/login?next_url=/api/2.0/token/create");
    let page = local.request(Method::GET, &location).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let request = local.request(Method::GET, LIST).bearer_auth(&token);
    assert_eq!(answer(request.header("X-Databricks-Workspace-Id", "1234567890123456")).await.0, 200);
}
