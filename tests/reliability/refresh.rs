use std::sync::Arc;
use std::time::{Duration, SystemTime};

use databricks_auth::testing::Clock as Steered;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use pulumi_resource_databricks::client::Client;
use pulumi_resource_databricks::context::SystemClock;
use pulumi_resource_databricks::property::{Map, Value, same};
use pulumi_resource_databricks::resource::{Diff, Known, State};
use serde_json::json;

use super::support::{Local, Told, context, obo_token, token};

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Reads a token as a refresh does: (whether it is there, when it was asked for, when the answer arrived).
async fn read(client: &Client, id: &str) -> (bool, i64, i64) {
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
    // The state does not say whose tokens these are; one request answers that for all.
    assert_eq!(workspace.requests("/Me").await.len(), 1);
}

/// The engine asks for a few at a time, and for the next one as soon as one is answered.
#[tokio::test]
async fn it_takes_a_few_lists_also_sixteen_tokens_at_a_time() {
    let workspace = Local::start().await;
    let ids = join_all((0..600).map(|_| workspace.mint("token"))).await;
    // By this clock the refresh takes no time, however slow the machine is.
    let clock = Arc::new(Steered::still());
    let client = workspace.client(clock.clone());
    let ctx = context("urn", clock, Arc::new(Told::default()));
    let reads = ids.iter().map(|id| token().read(&client, &ctx, id, Known::Nothing));
    let found: Vec<_> = stream::iter(reads).buffer_unordered(16).collect().await;
    assert!(found.into_iter().all(|found| found.unwrap().is_some()));
    let lists = workspace.requests("/token/list").await;
    assert!((1..=4).contains(&lists.len()), "{} lists", lists.len());
}

#[tokio::test]
async fn only_what_a_list_has_is_known_without_another_one() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let ids = join_all((0..2).map(|_| workspace.mint("first"))).await;
    let lists = async || workspace.requests("/token/list").await.len();
    for id in &ids {
        assert!(read(&client, id).await.0);
        assert_eq!(lists().await, 1);
    }
    // Whoever asks again wants to know whether it is still there.
    assert!(read(&client, &ids[0]).await.0);
    assert_eq!(lists().await, 2);
    // The list is older than this token.
    let second = workspace.mint("second").await;
    assert!(read(&client, &second).await.0);
    assert_eq!(lists().await, 3);
    for number in 4..7 {
        assert!(!read(&client, "none").await.0);
        assert_eq!(lists().await, number);
    }
}

/// Several readers who find that a list lacks what they look for share the next list.
#[tokio::test]
async fn those_who_miss_something_ask_together() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let first = workspace.mint("first").await;
    workspace
        .faults(json!({ "match": { "path": "/token/list" }, "action": { "work": true, "delay_ms": 300 } }))
        .await;
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let ids = join_all((0..20).map(|_| workspace.mint("another"))).await;
        join_all(ids.iter().map(|id| read(&client, id))).await
    };
    let (_, found) = tokio::join!(read(&client, &first), others);
    assert!(found.into_iter().all(|read| read.0));
    assert_eq!(workspace.requests("/token/list").await.len(), 2);
}

#[tokio::test]
async fn what_others_change_is_seen_soon() {
    let workspace = Local::start().await;
    let clock = Arc::new(Steered::still());
    let client = workspace.client(clock.clone());
    let ctx = context("urn", clock.clone(), Arc::new(Told::default()));
    let ids = join_all((0..5).map(|_| workspace.mint("token"))).await;
    let mut lists = Vec::new();
    for (id, seconds) in ids.iter().zip([0, 9, 2, 9, 2]) {
        clock.advance(Duration::from_secs(seconds));
        assert!(token().read(&client, &ctx, id, Known::Nothing).await.unwrap().is_some());
        lists.push(workspace.requests("/token/list").await.len());
    }
    assert_eq!(lists, [1, 1, 2, 2, 3]);
}

/// A change outdates the list, also one that is under way while the list is made.
#[tokio::test]
async fn after_a_change_of_ours_another_list_is_asked_for() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    let inputs = |comment: &str, scope: &str| {
        let scopes = Value::Array(vec![scope.into()]);
        Map::from([("comment".into(), comment.into()), ("scopes".into(), scopes)])
    };
    let created = token().create(&client, &ctx, inputs("token", "sql"), false).await.unwrap();
    assert!(read(&client, &created.id).await.0);

    // Another token is created meanwhile, and the answer to that is late.
    workspace.faults(json!({ "match": { "path": "/token/create" }, "action": { "delay_ms": 300 } })).await;
    let look = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        read(&client, &created.id).await.0
    };
    let (late, found) = tokio::join!(token().create(&client, &ctx, inputs("late", "sql"), false), look);
    assert!(found);
    let late = late.unwrap();
    assert!(read(&client, &late.id).await.0);

    let known = || State { inputs: inputs("token", "sql"), outputs: created.outputs.clone() };
    let (State { inputs: old_inputs, outputs }, news) = (&known(), inputs("token", "jobs"));
    let update = Diff { id: &created.id, old_inputs, outputs, news: &news, ignore: &[], refresh: false };
    token().update(&client, &ctx, update).await.unwrap();
    let known = Known::State(known());
    let state = token().read(&client, &ctx, &created.id, known).await.unwrap().unwrap().state;
    assert_eq!(state.outputs["scopes"], Value::Array(vec!["jobs".into()]));

    token().delete(&client, &ctx, &late.id, &late.outputs).await.unwrap();
    assert!(!read(&client, &late.id).await.0);
}

/// An answer that was under way when a reader asked may miss what the reader knows to exist; such an answer would
/// drop a live token from the state.
#[tokio::test]
async fn only_a_list_that_started_after_a_reader_asked_says_that_something_is_gone() {
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
            // A list is under way that cannot have this token.
            let id = workspace.mint(&format!("token {number}")).await;
            (read(&client, &id).await.0, read(&client, "none").await)
        })
    });
    let reads: Vec<_> = join_all(readers).await.into_iter().map(Result::unwrap).collect();
    let lists = workspace.requests("/token/list").await;
    for (found, (none, asked, answered)) in reads {
        assert!(found, "a live token was called gone");
        assert!(!none);
        let started_between =
            |list: &&serde_json::Value| (asked..=answered).contains(&list["time_ms"].as_i64().unwrap());
        assert!(lists.iter().any(|list| started_between(&list)), "no list between {asked} and {answered}");
    }
    // Lists are made one after the other, and shared: the next begins when the last has arrived, after its delay.
    let began: Vec<_> = lists.iter().map(|list| list["time_ms"].as_i64().unwrap()).collect();
    assert!(began.windows(2).all(|pair| pair[1] - pair[0] >= 39), "{began:?}");
    assert!(lists.len() < 60, "{} lists for 60 readers", lists.len());
}

/// Readers share a listing, but each has a time limit of its own, also the one who began it.
#[tokio::test]
async fn the_limit_of_one_reader_is_not_that_of_others() {
    let workspace = Local::start().await;
    let ids = join_all((0..2).map(|_| workspace.mint("token"))).await;
    workspace
        .faults(json!({ "match": { "path": "/token/list" }, "action": { "work": true, "delay_ms": 500 } }))
        .await;
    let client = workspace.client(Arc::new(SystemClock));
    let hurried = async {
        let mut ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
        ctx.deadline = Some(SystemTime::now() + Duration::from_millis(300));
        token().read(&client, &ctx, &ids[0], Known::Nothing).await.unwrap_err().to_string()
    };
    let patient = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        read(&client, &ids[1]).await.0
    };
    let (error, found) = tokio::join!(hurried, patient);
    assert!(error.contains("did not finish within the resource's timeout"), "{error}");
    assert!(found);
    assert_eq!(workspace.requests("/token/list").await.len(), 1);
}

/// A list that nobody waits for any more is no answer, and keeps nobody waiting.
#[tokio::test]
async fn a_list_that_was_given_up_is_asked_for_again() {
    let workspace = Local::start().await;
    let id = workspace.mint("token").await;
    workspace.faults(json!({ "match": { "path": "/token/list" }, "action": { "hang": true } })).await;
    let client = workspace.client(Arc::new(SystemClock));
    let mut ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    ctx.deadline = Some(SystemTime::now() + Duration::from_millis(300));
    assert!(token().read(&client, &ctx, &id, Known::Nothing).await.is_err());
    assert!(read(&client, &id).await.0);
}

/// Scopes are a set. A refresh takes over different ones, and leaves the same ones in the order of the program.
#[tokio::test]
async fn a_refresh_compares_scopes_as_sets() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    let scopes = |scopes: &[&str]| Value::Array(scopes.iter().map(|scope| Value::from(*scope)).collect());
    let inputs = Map::from([("scopes".into(), scopes(&["sql", "jobs"]))]);
    let created = token().create(&client, &ctx, inputs, false).await.unwrap();
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
        // As for another engine: the same client would know the first list for a while.
        let client = workspace.client(Arc::new(SystemClock));
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
    let first = token().create(&client, &ctx, Map::new(), false).await.unwrap();
    let Value::Object(config) = &first.outputs["providerConfig"] else { panic!("{:?}", first.outputs) };
    let secret = Value::secret(config["workspaceId"].clone());
    let inputs =
        Map::from([("providerConfig".into(), Value::Object(Map::from([("workspaceId".into(), secret)])))]);

    let created = token().create(&client, &ctx, inputs.clone(), false).await.unwrap();
    assert!(created.outputs["providerConfig"].has_secret());
    assert!(same(&created.outputs["providerConfig"], &first.outputs["providerConfig"]));

    let state = State { inputs: Map::new(), outputs: created.outputs };
    let read = token().read(&client, &ctx, &created.id, Known::State(state)).await.unwrap().unwrap().state;
    assert!(read.outputs["providerConfig"].has_secret());
}

/// OBO tokens are looked up by id. For many of them there is one list, and what it lacks is looked up.
#[tokio::test]
async fn many_obo_tokens_are_found_in_one_list() {
    let workspace = Local::start().await;
    let ids = join_all((0..100).map(|_| workspace.mint("token"))).await;
    let clock = Arc::new(Steered::still());
    let client = workspace.client(clock.clone());
    let ctx = context("urn", clock, Arc::new(Told::default()));
    let find = async |id: &str| obo_token().read(&client, &ctx, id, Known::Nothing).await.unwrap().is_some();
    let (lists, look_ups) = ("/token-management/tokens", "/token-management/tokens/");
    let asked = async || {
        let all = workspace.requests("").await;
        let path = |entry: &serde_json::Value| entry["path"].as_str().unwrap().to_owned();
        let paths: Vec<_> = all.iter().map(path).collect();
        let of = |part: &str| paths.iter().filter(|path| path.contains(part)).count();
        (of(lists) - of(look_ups), of(look_ups))
    };
    for id in &ids[..3] {
        assert!(find(id).await);
    }
    assert_eq!(asked().await, (0, 3));
    let found: Vec<_> = stream::iter(ids[3..].iter().map(|id| find(id))).buffer_unordered(16).collect().await;
    assert!(found.into_iter().all(|found| found));
    assert_eq!(asked().await, (1, 3));
    // The list is older than this token, and says nothing of what does not exist; whoever asks again wants to know
    // anew.
    let second = workspace.mint("second").await;
    assert!(find(&second).await);
    assert!(!find("none").await);
    assert!(find(&ids[50]).await);
    assert_eq!(asked().await, (1, 6));
}
