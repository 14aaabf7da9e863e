use std::sync::Arc;
use std::time::SystemTime;

use pulumi_resource_databricks::context::{Severity, SystemClock};
use pulumi_resource_databricks::property::{Change, Kind, Map, Value};
use pulumi_resource_databricks::resource::Diff;

use super::support::{Local, Told, context, token};

const HOUR: i64 = 3600;

/// An ordinary `up` replaces a token in the last seconds of its life, and not before.
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
        // A window as long as the life, or longer, would rotate in every run: half of the life is what is meant.
        (Some(HOUR), 1900, false),
        (Some(HOUR), 1700, true),
        (Some(90 * HOUR), 1900, false),
        (Some(90 * HOUR), 1700, true),
    ] {
        let told = Arc::new(Told::default());
        let ctx = context("urn", Arc::new(SystemClock), told.clone());
        let inputs: Map = before
            .map(|before| ("rotateBeforeSeconds".into(), Value::Number(before as f64)))
            .into_iter()
            .collect();
        let time = |ms: i64| Value::Number(ms as f64);
        let outputs = Map::from([
            ("creationTime".into(), time(now + (left - HOUR) * 1000)),
            ("expiryTime".into(), time(now + left * 1000)),
            ("tokenValue".into(), Value::secret("dapi".into())),
        ]);
        let diff =
            Diff { old_inputs: &inputs, outputs: &outputs, news: &inputs, ignore: &[], refresh: false };
        let changes = token().diff(&client, &ctx, diff).await.unwrap();
        let expected = due.then(|| ("expiryTime".to_owned(), (Kind::Changed, Change::Replace)));
        assert_eq!(changes.into_iter().next(), expected, "{before:?} {left}");
        assert_eq!(told.all().iter().any(|(severity, ..)| *severity == Severity::Info), due);
    }
}

/// Most workspaces allow 730 days; the plugin leaves it to them.
#[test]
fn a_lifetime_that_most_workspaces_refuse_brings_a_warning() {
    const LONGEST: f64 = 730.0 * 24.0 * 3600.0;
    for (lifetime, warned) in [(LONGEST, false), (LONGEST + 1.0, true), (2.0 * LONGEST, true)] {
        let checked = token().check(Map::from([("lifetimeSeconds".into(), Value::Number(lifetime))]));
        assert!(checked.failures.is_empty(), "{:?}", checked.failures);
        assert_eq!(checked.warnings.iter().any(|warning| warning.contains("730 days")), warned, "{lifetime}");
    }
}
