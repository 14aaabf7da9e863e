use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pulumi_resource_databricks::context::SystemClock;
use pulumi_resource_databricks::property::{Map, Value};
use serde_json::json;

use super::support::{Local, Told, context, token};

/// The resource's own time is up when the answer is lost; what may have been left behind is named all the same.
#[tokio::test]
async fn the_search_after_a_lost_create_has_time_of_its_own() {
    let workspace = Local::start().await;
    workspace
        .faults(
            json!({ "match": { "path": "/token/create" }, "action": { "drop": "after", "delay_ms": 2500 } }),
        )
        .await;
    let client = workspace.client(Arc::new(SystemClock));
    let mut ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    ctx.deadline = Some(SystemTime::now() + Duration::from_secs(2));
    let inputs = Map::from([("comment".to_owned(), Value::from("lost"))]);
    let error = token().create(&client, &ctx, inputs, false).await.unwrap_err().to_string();
    let created = workspace.tokens().await;
    let [orphan] = &created[..] else { panic!("{created:?}: {error}") };
    let id = orphan["id"].as_str().unwrap();
    assert!(error.contains(&format!("token id {id}, with the comment \"lost\"")), "{error}");
}
