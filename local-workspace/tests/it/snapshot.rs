//! Snapshots of the whole state, taken and restored, and seeds.

use databricks_local_workspace::{Options, Workspace};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{DAY_MS, Local, ME, answer, assert_error, ids, text};

const SNAPSHOT: &str = "/local/control/snapshot";

async fn take(local: &Local) -> Value {
    answer(local.request(Method::GET, SNAPSHOT)).await.1
}

async fn put(local: &Local, snapshot: &Value) -> (u16, Value) {
    answer(local.request(Method::PUT, SNAPSHOT).json(snapshot)).await
}

#[tokio::test]
async fn a_snapshot_brings_everything_back_also_elsewhere() {
    let local = Local::start().await;
    let robot = json!({"application_id": "robot", "client_secret": "s"});
    let robot = local.control("/service-principals", robot).await["id"].to_string();
    let secrets = format!("/api/2.0/accounts/servicePrincipals/{robot}/credentials/secrets");
    let (_, secret) = local.post(&secrets, json!({})).await;
    let (value, id) = local.mint(json!({"comment": "kept", "lifetime_seconds": 3600})).await;
    local.control("/settings", json!({"max_token_lifetime_days": 9})).await;
    local.advance_clock(100 * DAY_MS).await;
    let (late, _) = local.mint(json!({"comment": "late"})).await;
    let before = local.state().await;
    let snapshot = take(&local).await;
    let held = snapshot.to_string();
    for hidden in [value.as_str(), &late, secret["secret"].as_str().unwrap(), local.token()] {
        assert!(!held.contains(hidden));
    }

    local
        .post("/api/2.0/token/delete", json!({"token_id": ids(&local.get("/api/2.0/token/list").await.1)[0]}))
        .await;
    local.control("/clock", json!({"advance_ms": -DAY_MS})).await;
    local.mint(json!({})).await;
    assert_eq!(put(&local, &snapshot).await, (200, json!({})));
    let same = |state: &Value| {
        let mut state = state.clone();
        state["now_ms"] = json!(0);
        state
    };
    let after = local.state().await;
    assert_eq!(same(&after), same(&before));
    assert!((after["now_ms"].as_i64().unwrap() - before["now_ms"].as_i64().unwrap()).abs() < DAY_MS / 2);

    // Another workspace accepts it as well, and its own credentials go on working.
    let other = Local::start().await;
    assert_eq!(put(&other, &snapshot).await.0, 200);
    assert_eq!(other.get(ME).await.0, 200);
    assert_eq!(other.get_as(local.token(), ME).await.0, 200);
    assert_eq!(other.get_as(&late, ME).await.0, 200);
    assert_error(other.get_as(&value, ME).await, 403, 403);
    let found = other.get(&format!("/api/2.0/token-management/tokens/{id}")).await.1;
    assert_eq!(found["token_info"]["comment"], "kept");
}

#[tokio::test]
async fn what_is_no_snapshot_changes_nothing() {
    let local = Local::start().await;
    local.mint(json!({"comment": "here"})).await;
    let good = take(&local).await;
    let changed = |field: &str, value: Value| {
        let mut snapshot = good.clone();
        snapshot[field] = value;
        snapshot
    };
    for bad in [
        json!({}),
        changed("format", json!(2)),
        changed("principals", json!([])),
        changed("default_workspace", json!("7")),
        changed("now", json!(1)),
    ] {
        let (status, body) = put(&local, &bad).await;
        assert_eq!(status, 400, "{body}");
    }
    assert_eq!(local.state().await["tokens"][0]["comment"], "here");
}

#[tokio::test]
async fn a_seed_is_there_from_the_start_and_after_a_reset() {
    let seed = json!({
        "clock": {"set_ms": 1_800_000_000_000_i64},
        "settings": {"max_token_lifetime_days": 30},
        "quota": {"quota": 7},
        "permissions": {"on_behalf_of_enabled": false},
        "secret_limit": {"limit": 2},
        "users": [{"user_name": "second@example.com", "token": "dapi-second"}],
        "service_principals": [{"application_id": "robot", "client_secret": "s"}],
        "faults": [{"match": {"path": "/token/list"}, "action": {"status": 503}}],
    });
    let local = Local::start_with(Options { seed: Some(seed), ..Options::default() }).await;
    for _ in 0..2 {
        let state = local.state().await;
        assert!((0..60_000).contains(&(state["now_ms"].as_i64().unwrap() - 1_800_000_000_000)));
        assert_eq!((&state["max_token_lifetime_days"], &state["quota"]), (&json!(30), &json!(7)));
        assert_eq!((&state["on_behalf_of_enabled"], &state["secret_limit"]), (&json!(false), &json!(2)));
        assert_eq!(local.get_as("dapi-second", ME).await.1["userName"], "second@example.com");
        assert_eq!(local.get("/api/2.0/token/list").await.0, 503);
        local.control("/quota", json!({"quota": 1})).await;
        local.control("/reset", json!({})).await;
    }
    // A snapshot is a seed as well.
    let snapshot = take(&local).await;
    let other = Local::start_with(Options { seed: Some(snapshot), ..Options::default() }).await;
    assert_eq!(other.get_as("dapi-second", ME).await.0, 200);
    assert_eq!(text(&other.get(ME).await.1["userName"]), "admin@example.com");
}

#[tokio::test]
async fn a_wrong_seed_stops_the_start_and_says_why() {
    for (seed, why) in [
        (json!({"user": []}), "unknown field `user`"),
        (json!({"quota": {"quota": 1, "status": 7}}), "7 is not an HTTP status"),
        (json!({"faults": [{"action": {}}]}), "a fault needs"),
        (json!({"format": 1}), "missing field"),
    ] {
        let options = Options { seed: Some(seed), ..Options::default() };
        let error = Workspace::start(options).await.unwrap_err().to_string();
        assert!(error.contains("seed") && error.contains(why), "{error}");
    }
}
