//! Benchmarks of single steps inside the plugin, with Criterion: `make bench-inside`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use futures_util::FutureExt as _;
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value as Wire};
use pulumi_resource_databricks::client::Client;
use pulumi_resource_databricks::context::{BoxFuture, Context, Reporter, Severity, SystemClock};
use pulumi_resource_databricks::env::Env;
use pulumi_resource_databricks::property::{Map, Value};
use pulumi_resource_databricks::resource::{self, Diff};
use pulumi_resource_databricks::{api, config, server};

struct Silent;

impl Reporter for Silent {
    fn report<'a>(&'a self, _: Severity, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

fn inputs(comment: &str) -> Map {
    Map::from([("comment".into(), comment.into()), ("lifetimeSeconds".into(), Value::Number(3600.0))])
}

/// The message of a Check of a token with this many labels that say when to rotate.
fn message(labels: usize) -> Vec<u8> {
    let text = |text: &str| Wire { kind: Some(Kind::StringValue(text.to_owned())) };
    let labels = (0..labels).map(|label| (format!("label {label}"), text("2026-01-01"))).collect();
    let labels = Wire { kind: Some(Kind::StructValue(Struct { fields: labels })) };
    let fields = [("comment".to_owned(), text("bench")), ("rotateWhenChanged".to_owned(), labels)];
    let news = Struct { fields: fields.into() };
    // The tag of the message's third field, whose content is prefixed with its length.
    [vec![(3 << 3) | 2], news.encode_length_delimited_to_vec()].concat()
}

fn list(tokens: usize) -> String {
    let token = |id: usize| {
        format!(
            r#"{{"token_id":"{id:064x}","creation_time":1700000000000,"expiry_time":1800000000000,"comment":"token {id}"}}"#
        )
    };
    format!(r#"{{"token_infos":[{}]}}"#, (0..tokens).map(token).collect::<Vec<_>>().join(","))
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for labels in [1, 100] {
        let message = message(labels);
        assert_eq!(server::read_inputs(&message).len(), 2);
        criterion.bench_function(&format!("wire: decode a Check with {labels} labels"), |bencher| {
            bencher.iter(|| server::read_inputs(black_box(&message)));
        });
    }
    for tokens in [1, 600] {
        let list = list(tokens);
        assert_eq!(api::tokens::read_list(list.as_bytes()), tokens);
        criterion.bench_function(&format!("list: read {tokens} tokens"), |bencher| {
            bencher.iter(|| api::tokens::read_list(black_box(list.as_bytes())));
        });
    }

    let token = resource::ALL[0];
    let (old, new) = (inputs("bench"), inputs("other"));
    criterion.bench_function("check a token", |bencher| {
        bencher.iter(|| token.check(black_box(old.clone())));
    });

    let clock = Arc::new(SystemClock);
    let stated = Map::from([("host".into(), "http://localhost".into()), ("token".into(), "bench".into())]);
    let config = config::resolve(&stated, &Env::default()).expect("it is complete");
    let client = Client::new(config, Env::default(), clock.clone());
    let ctx = Context {
        urn: String::new(),
        resource: "token",
        clock,
        reporter: Arc::new(Silent),
        cancel: Default::default(),
        deadline: None,
    };
    let mut outputs = old.clone();
    outputs.extend([
        ("creationTime".into(), Value::Number(1_700_000_000_000.0)),
        ("expiryTime".into(), Value::Number(-1.0)),
        ("tokenId".into(), "id".into()),
        ("tokenValue".into(), Value::secret("bench".into())),
    ]);
    criterion.bench_function("compare a token", |bencher| {
        bencher.iter(|| {
            let request = Diff {
                id: "id",
                old_inputs: &old,
                outputs: &outputs,
                news: &new,
                ignore: &[],
                refresh: false,
            };
            let verdict = token.diff(&client, &ctx, black_box(request)).now_or_never();
            let verdict = verdict.expect("it asks nobody").expect("both can be compared");
            assert!(!verdict.changes.is_empty());
        });
    });
    criterion.final_summary();
}
