use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use pulumi_resource_databricks::context::{Clock as _, Severity};
use pulumi_resource_databricks::property::{Map, Value};
use serde_json::json;

use super::support::{Jumping, Local, Told, context, token};

/// As many tokens as a user may have in a workspace.
const TOKENS: usize = 600;

/// A workspace that turns 600 creates away for a quarter of an hour, in four bursts and every form of "later".
#[tokio::test]
async fn six_hundred_creates_get_through_a_quarter_of_an_hour_of_refusals() {
    let workspace = Local::start().await;
    let clock = Jumping::start(TOKENS);
    let start = clock.now();
    let date = httpdate::fmt_http_date(start + Duration::from_secs(560));
    let burst = |action: serde_json::Value| json!({ "match": { "path": "/token/create", "times": TOKENS }, "action": action });
    workspace
        .faults(json!([
            burst(json!({ "status": 429, "retry_after": "240" })),
            burst(json!({ "status": 503, "error_code": "TEMPORARILY_UNAVAILABLE", "retry_after": date })),
            burst(json!({ "status": 429, "error_code": "REQUEST_LIMIT_EXCEEDED" })),
            burst(json!({ "status": 503, "retry_after": "330" })),
        ]))
        .await;

    let client = workspace.client(clock.clone());
    let told = Arc::new(Told::default());
    let creates = (0..TOKENS).map(|number| {
        let (client, clock) = (client.clone(), Arc::clone(&clock));
        let ctx = context(&format!("urn-{number}"), clock.clone(), told.clone());
        tokio::spawn(async move {
            let inputs = Map::from([("comment".into(), Value::String(format!("storm {number}")))]);
            let created = token().create(&client, &ctx, inputs, false).await;
            clock.done();
            created.map(|created| created.id)
        })
    });
    let ids: BTreeSet<String> =
        join_all(creates).await.into_iter().map(|id| id.unwrap().expect("every token is created")).collect();

    // Exactly these, and none twice.
    assert_eq!(ids.len(), TOKENS);
    let made = workspace.tokens().await;
    assert_eq!(made.len(), TOKENS);
    assert!(made.iter().all(|token| token["live"] == true && ids.contains(token["id"].as_str().unwrap())));
    let comments: BTreeSet<_> = made.iter().map(|token| token["comment"].as_str().unwrap()).collect();
    assert_eq!(comments.len(), TOKENS);

    // Each was sent five times, carried out once, and waited as long as it was asked to.
    let sent = workspace.requests("/token/create").await;
    assert_eq!(sent.len(), 5 * TOKENS);
    assert_eq!(sent.iter().filter(|request| request["work_done"] == true).count(), TOKENS);
    let waited = clock.now().duration_since(start).unwrap_or_default();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert!(waited > minutes(14) && waited < minutes(20), "{waited:?}");

    // Nobody was left in the dark: every resource said why it waits, and for how long.
    let told = told.all();
    for number in [0, TOKENS / 2, TOKENS - 1] {
        let urn = format!("urn-{number}");
        let statuses: Vec<_> = told
            .iter()
            .filter(|(severity, about, _)| *severity == Severity::Status && *about == urn)
            .map(|(_, _, message)| message.as_str())
            .collect();
        for part in ["240 s", "330 s", "429", "503", "REQUEST_LIMIT_EXCEEDED", "TEMPORARILY_UNAVAILABLE"] {
            assert!(statuses.iter().any(|status| status.contains(part)), "{part}: {statuses:?}");
        }
    }
}

/// A wait that the limit has no room for is not begun, and the error says what was asked for.
#[tokio::test]
async fn a_wait_beyond_the_limit_is_not_begun() {
    for retry_after in [format!("{}", 21 * 60), u64::MAX.to_string(), "Fri, 31 Dec 9999 23:59:59 GMT".into()]
    {
        let workspace = Local::start().await;
        let clock = Jumping::start(1);
        workspace
            .faults(json!({
                "match": { "path": "/token/create" },
                "action": { "status": 429, "retry_after": retry_after }
            }))
            .await;
        let client = workspace.client(clock.clone());
        let ctx = context("urn", clock.clone(), Arc::new(Told::default()));
        let before: SystemTime = clock.now();
        let error = token().create(&client, &ctx, Map::new(), false).await.unwrap_err().to_string();
        assert!(error.contains("429"), "{error}");
        assert_eq!(clock.now(), before, "{retry_after}");
        assert!(workspace.tokens().await.is_empty());
    }
}

/// The error says how often and how long it was tried, and what the last answer was.
#[tokio::test]
async fn giving_up_says_what_was_tried() {
    let workspace = Local::start().await;
    let clock = Jumping::start(1);
    workspace
        .faults(json!({ "match": { "path": "/token/create", "times": 0 }, "action": { "status": 429 } }))
        .await;
    let client = workspace.client(clock.clone());
    let ctx = context("urn", clock.clone(), Arc::new(Told::default()));
    let error = token().create(&client, &ctx, Map::new(), false).await.unwrap_err().to_string();
    let sent = workspace.requests("/token/create").await.len();
    assert!(sent > 3, "{sent}");
    assert!(error.starts_with("gave up after "), "{error}");
    assert!(error.contains(&format!(" s and {sent} attempts: ")) && error.contains("429"), "{error}");
}
