use std::sync::Arc;
use std::time::SystemTime;

use pulumi_resource_databricks::client::Client;
use pulumi_resource_databricks::context::{Context, Severity, SystemClock};
use pulumi_resource_databricks::property::{Change, Changes, Kind, Map, Value};
use pulumi_resource_databricks::resource::Diff;

use super::support::{Local, Told, context, token};

const HOUR: i64 = 3600;

async fn diff(client: &Client, ctx: &Context, old_inputs: &Map, news: &Map, outputs: &Map) -> Changes {
    let diff = Diff { id: "t", old_inputs, outputs, news, ignore: &[], refresh: false };
    token().diff(client, ctx, diff).await.unwrap().changes
}

fn number(number: i64) -> Value {
    Value::Number(number as f64)
}

/// An ordinary `up` replaces a token in the last `rotateBeforeSeconds` of its life, and not before.
#[tokio::test]
async fn a_token_is_replaced_in_its_window_alone() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    // (rotateBeforeSeconds, seconds that are left of an hour, whether it is due)
    for (before, left, due) in [
        (None, 30, false),
        (None, -1, true),
        (Some(60), 1700, false),
        (Some(60), 90, false),
        (Some(60), 30, true),
        (Some(3000), 2900, true),
        (Some(3000), 3100, false),
        // A window as long as the life, or longer, would rotate in every run: it counts as half of the life.
        (Some(HOUR), 1900, false),
        (Some(HOUR), 1700, true),
        (Some(90 * HOUR), 1900, false),
        (Some(90 * HOUR), 1700, true),
    ] {
        let told = Arc::new(Told::default());
        let ctx = context("urn", Arc::new(SystemClock), told.clone());
        let inputs: Map =
            before.map(|before| ("rotateBeforeSeconds".into(), number(before))).into_iter().collect();
        let outputs = Map::from([
            ("creationTime".into(), number(now + (left - HOUR) * 1000)),
            ("expiryTime".into(), number(now + left * 1000)),
            ("tokenValue".into(), Value::secret("dapi".into())),
        ]);
        let diff = Diff {
            id: "t",
            old_inputs: &inputs,
            outputs: &outputs,
            news: &inputs,
            ignore: &[],
            refresh: false,
        };
        let changes = token().diff(&client, &ctx, diff).await.unwrap();
        let expected = due.then(|| ("expiryTime".to_owned(), (Kind::Changed, Change::Replace)));
        assert_eq!(changes.changes.into_iter().next(), expected, "{before:?} {left}");
        assert_eq!(told.all().iter().any(|(severity, ..)| *severity == Severity::Info), due);
    }
}

/// A lifetime that is stated for the first time is no change where it is the one that the token has, whether the token
/// was imported (its value is unknown) or created without a lifetime.
#[tokio::test]
async fn a_lifetime_that_is_stated_as_it_is_replaces_nothing() {
    let workspace = Local::start().await;
    let client = workspace.client(Arc::new(SystemClock));
    let ctx = context("urn", Arc::new(SystemClock), Arc::new(Told::default()));
    let created = 4_000_000_000_000;
    for (value, lifetime, replaced) in
        [("", HOUR, false), ("", HOUR + 1, true), ("dapi", HOUR, false), ("dapi", HOUR + 1, true)]
    {
        let news = Map::from([("lifetimeSeconds".into(), number(lifetime))]);
        let outputs = Map::from([
            ("creationTime".into(), number(created)),
            ("expiryTime".into(), number(created + HOUR * 1000)),
            ("tokenValue".into(), Value::secret(value.into())),
        ]);
        let changes = diff(&client, &ctx, &Map::new(), &news, &outputs).await;
        assert_eq!(changes.contains_key("lifetimeSeconds"), replaced, "{value} {lifetime}");
    }
}
