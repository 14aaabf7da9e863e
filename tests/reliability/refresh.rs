use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use pulumi_resource_databricks::context::SystemClock;
use pulumi_resource_databricks::property::{Map, Value, same};
use pulumi_resource_databricks::resource::{Known, State};
use serde_json::json;

use super::support::{Local, Told, context, token};

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Reads a token as a refresh does: (whether it is there, when it was asked for, when the answer was there).
async fn read(client: &pulumi_resource_databricks::client::Client, id: &str) -> (bool, i64, i64) {
    let ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    let outputs = Map::from([
        ("tokenId".into(), id.into()),
        ("tokenValue".into(), Value::secret("dapi-of-before".into())),
    ]);
    let known = Known::State(State { inputs: Map::new(), outputs });
    let asked = now_ms();
    let state = token().read(client, &ctx, id, known).await.unwrap();
    (state.is_some(), asked, now_ms())
}

#[tokio::test]
async fn a_refresh_of_six_hundred_tokens_takes_a_few_lists() {
    let workspace = Local::start().await;
    let ids = join_all((0..600).map(|number| {
        let workspace = &workspace;
        async move { workspace.mint(&format!("token {number}")).await }
    }))
    .await;
    let client = workspace.client(Arc::new(SystemClock));
    let reads = ids.into_iter().map(|id| {
        let client = client.clone();
        tokio::spawn(async move { read(&client, &id).await })
    });
    for found in join_all(reads).await {
        assert!(found.unwrap().0);
    }
    let lists = workspace.requests("/token/list").await;
    assert!((1..=4).contains(&lists.len()), "{} lists", lists.len());
    // The workspace has described itself, and is not asked which one it is.
    assert!(workspace.requests("/Me").await.is_empty());
}

/// An answer that was under way when a reader asked may miss what the reader knows to exist; such an answer would
/// drop a live token from the state.
#[tokio::test]
async fn no_reader_gets_a_list_that_started_before_it_asked() {
    let workspace = Arc::new(Local::start().await);
    // Every answer is old when it arrives.
    workspace
        .faults(json!({
            "match": { "path": "/token/list", "times": 0 },
            "action": { "work": true, "delay_ms": 40 }
        }))
        .await;
    let client = workspace.client(Arc::new(SystemClock));
    let readers = (0..60).map(|number| {
        let (workspace, client) = (Arc::clone(&workspace), client.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 7)).await;
            // A list is under way that cannot know this one.
            let id = workspace.mint(&format!("token {number}")).await;
            read(&client, &id).await
        })
    });
    let reads: Vec<_> = join_all(readers).await.into_iter().map(Result::unwrap).collect();
    let lists = workspace.requests("/token/list").await;
    for (found, asked, answered) in reads {
        assert!(found, "a live token was called gone");
        let started_between =
            |list: &&serde_json::Value| (asked..=answered).contains(&list["time_ms"].as_i64().unwrap());
        assert!(lists.iter().any(|list| started_between(&list)), "no list between {asked} and {answered}");
    }
    // One after the other, and each shared: the next one begins when the last one is there, after its delay.
    let began: Vec<_> = lists.iter().map(|list| list["time_ms"].as_i64().unwrap()).collect();
    assert!(began.windows(2).all(|pair| pair[1] - pair[0] >= 39), "{began:?}");
    assert!(lists.len() < 60, "{} lists for 60 readers", lists.len());
}

/// A listing is shared; the time that each reader has is its own.
#[tokio::test]
async fn the_limit_of_one_reader_is_not_that_of_others() {
    let workspace = Local::start().await;
    let id = workspace.mint("token").await;
    workspace
        .faults(json!({ "match": { "path": "/token/list" }, "action": { "work": true, "delay_ms": 500 } }))
        .await;
    let client = workspace.client(Arc::new(SystemClock));
    // While the first one's listing is under way, the second one asks for the next, which the third one shares.
    let second = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let mut hurried = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
        hurried.deadline = Some(SystemTime::now() + Duration::from_millis(100));
        token().read(&client, &hurried, &id, Known::Nothing).await.unwrap_err().to_string()
    };
    let third = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        read(&client, &id).await.0
    };
    let (_, error, found) = tokio::join!(read(&client, &id), second, third);
    assert!(error.contains("did not finish within the resource's timeout"), "{error}");
    assert!(found);
    assert_eq!(workspace.requests("/token/list").await.len(), 2);
}

/// Scopes are a set. A refresh takes over others, and leaves the same in another order as the program states them.
#[tokio::test]
async fn a_refresh_compares_scopes_as_sets() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    let scopes = |scopes: &[&str]| Value::Array(scopes.iter().map(|scope| Value::from(*scope)).collect());
    let inputs = Map::from([("scopes".into(), scopes(&["sql", "jobs"]))]);
    let created = token().create(&client, &ctx, inputs).await.unwrap();
    for (stated, refreshed) in [
        (scopes(&["jobs", "sql"]), scopes(&["jobs", "sql"])),
        (scopes(&["sql", "clusters"]), scopes(&["sql", "jobs"])),
        (Value::secret(scopes(&["sql"])), Value::secret(scopes(&["sql", "jobs"]))),
    ] {
        let inputs = Map::from([("scopes".into(), stated)]);
        let known = Known::State(State { inputs, outputs: created.outputs.clone() });
        let state = token().read(&client, &ctx, &created.id, known).await.unwrap().unwrap().state;
        assert_eq!(state.inputs["scopes"], refreshed);
        assert_eq!(state.outputs["scopes"], refreshed);
    }
}

/// Scopes that Databricks chose are nobody's input: an import must not make a program state them.
#[tokio::test]
async fn an_import_states_only_scopes_that_somebody_chose() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    let sql = json!(["sql"]);
    for (state, scopes, stated) in [
        (json!(null), &sql, true),
        (json!("AUTOSCOPE_STATE_USER_SELECTED"), &sql, true),
        (json!("AUTOSCOPE_STATE_DISABLED"), &sql, true),
        (json!("AUTOSCOPE_STATE_DISABLED"), &json!([]), false),
        (json!("AUTOSCOPE_STATE_RUNNING"), &sql, false),
        (json!("AUTOSCOPE_STATE_COMPLETED"), &sql, false),
    ] {
        let info = json!({
            "token_id": "t", "creation_time": 1, "expiry_time": -1, "scopes": scopes, "autoscope_state": state
        });
        let list = json!({ "status": 200, "body": { "token_infos": [info] } });
        workspace.faults(json!({ "match": { "path": "/token/list" }, "action": list })).await;
        let imported = token().read(&client, &ctx, "t", Known::Nothing).await.unwrap().unwrap().state;
        assert_eq!(imported.inputs.contains_key("scopes"), stated, "{state} {scopes}");
    }
}

/// What a program marks as secret stays so, also where the plugin writes the property itself.
#[tokio::test]
async fn a_secret_workspace_stays_secret() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    let first = token().create(&client, &ctx, Map::new()).await.unwrap();
    let Value::Object(config) = &first.outputs["providerConfig"] else { panic!("{:?}", first.outputs) };
    let secret = Value::secret(config["workspaceId"].clone());
    let inputs =
        Map::from([("providerConfig".into(), Value::Object(Map::from([("workspaceId".into(), secret)])))]);

    let created = token().create(&client, &ctx, inputs.clone()).await.unwrap();
    assert!(created.outputs["providerConfig"].has_secret());
    assert!(same(&created.outputs["providerConfig"], &first.outputs["providerConfig"]));

    let state = State { inputs: Map::new(), outputs: created.outputs };
    let read = token().read(&client, &ctx, &created.id, Known::State(state)).await.unwrap().unwrap().state;
    assert!(read.outputs["providerConfig"].has_secret());
}
