use pulumi_resource_databricks::property::{Map, Value};

use super::support::token;

/// Most workspaces allow 730 days at most; the plugin leaves the limit to them.
#[test]
fn a_lifetime_that_most_workspaces_refuse_brings_a_warning() {
    const LONGEST: f64 = 730.0 * 24.0 * 3600.0;
    for (lifetime, warned) in [(LONGEST, false), (LONGEST + 1.0, true), (2.0 * LONGEST, true)] {
        let checked = token().check(Map::from([("lifetimeSeconds".into(), Value::Number(lifetime))]));
        assert!(checked.failures.is_empty(), "{:?}", checked.failures);
        assert_eq!(checked.warnings.iter().any(|warning| warning.contains("730 days")), warned, "{lifetime}");
    }
}

/// What is wrong inside a property is reported under the name that it has there.
#[test]
fn a_failure_inside_an_object_names_the_inner_property() {
    let config = Map::from([("workspaceId".into(), Value::Array(Vec::new()))]);
    let checked = token().check(Map::from([("providerConfig".into(), Value::Object(config))]));
    let [failure] = &checked.failures[..] else { panic!("{:?}", checked.failures) };
    assert_eq!(failure.property, "providerConfig");
    assert!(failure.reason.contains("workspaceId: ") && failure.reason.contains("a list"), "{failure:?}");
}
