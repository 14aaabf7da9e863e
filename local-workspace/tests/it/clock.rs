//! The workspace's own clock, as clients see it.

use reqwest::Method;
use serde_json::json;

use crate::{CREATE, DAY_MS, Local, ME, ids, text};

/// Seconds since the epoch in the Date header of an answer to the admin.
async fn date_of(local: &Local, method: Method, path: &str) -> i64 {
    let request = local.request(method, path).bearer_auth(local.token()).json(&json!({}));
    let response = request.send().await.unwrap();
    let date = response.headers()["date"].to_str().unwrap().to_owned();
    let since = httpdate::parse_http_date(&date).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn every_answer_is_dated_by_the_clock_of_the_workspace() {
    let local = Local::start().await;
    for days in [400, -900] {
        local.advance_clock(days * DAY_MS).await;
        for (method, path) in [
            (Method::GET, "/.well-known/databricks-config"),
            (Method::POST, CREATE),
            (Method::GET, "/oidc/.well-known/oauth-authorization-server"),
            (Method::POST, "/oidc/v1/token"),
            (Method::GET, "/local/control/state"),
            (Method::GET, "/nowhere"),
        ] {
            let before = local.state().await["now_ms"].as_i64().unwrap() / 1000;
            let date = date_of(&local, method, path).await;
            let after = local.state().await["now_ms"].as_i64().unwrap() / 1000;
            assert!((before..=after).contains(&date), "{path}: {before} <= {date} <= {after}");
        }
    }
}

#[tokio::test]
async fn a_time_that_no_header_can_hold_ends_no_connection() {
    let local = Local::start().await;
    local.control("/clock", json!({"set_ms": -DAY_MS})).await;
    assert_eq!(date_of(&local, Method::GET, "/nowhere").await, 0);
    local.control("/clock", json!({"set_ms": i64::MAX})).await;
    assert_eq!(date_of(&local, Method::GET, "/nowhere").await, 253_402_300_799);
}

#[tokio::test]
async fn a_fault_may_date_its_answer_otherwise() {
    let local = Local::start().await;
    let fault = json!({"action": {"status": 500, "headers": {"date": "Thu, 01 Jan 1970 00:00:09 GMT"}}});
    local.control("/faults", fault).await;
    assert_eq!(date_of(&local, Method::GET, "/nowhere").await, 9);
}

#[tokio::test]
async fn lists_may_lag_behind() {
    let local = Local::start().await;
    let robot = local.control("/service-principals", json!({"application_id": "robot"})).await;
    let secrets = format!("/api/2.0/accounts/servicePrincipals/{}/credentials/secrets", robot["id"]);
    let listed = async || {
        let managed = ids(&local.get("/api/2.0/token-management/tokens").await.1);
        assert_eq!(local.listed().await, managed);
        let secrets = local.get(&secrets).await.1["secrets"].as_array().map_or(0, Vec::len);
        (managed, secrets)
    };
    local.control("/settings", json!({"list_lag_ms": 60_000})).await;
    local.control("/quota", json!({"quota": 1})).await;
    let (value, id) = local.mint(json!({})).await;
    assert_eq!(local.post(&secrets, json!({})).await.0, 200);
    assert_eq!(listed().await, (vec![], 0));
    // The token works, is found by its id, and counts.
    assert_eq!(local.get_as(&value, ME).await.0, 200);
    let found = local.get(&format!("/api/2.0/token-management/tokens/{id}")).await.1;
    assert_eq!(text(&found["token_info"]["token_id"]), id);
    assert_eq!(local.post(CREATE, json!({})).await.0, 400);

    local.advance_clock(60_000).await;
    assert_eq!(listed().await, (vec![id], 1));
    assert_eq!(local.state().await["list_lag_ms"], 60_000);
}
