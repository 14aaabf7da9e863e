//! What the tests of the client share.

use std::sync::Arc;

pub(super) use databricks_auth::testing::{Answer, Clock, Seen, Server};
use tokio_util::sync::CancellationToken;

use crate::context::{self, BoxFuture, Context, Reporter, Severity};

struct Silent;

impl Reporter for Silent {
    fn report<'a>(&'a self, _: Severity, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// An operation without a time limit, whose messages go nowhere.
pub(super) fn context(clock: Arc<dyn context::Clock>) -> Context {
    Context {
        urn: String::new(),
        resource: "token",
        clock,
        reporter: Arc::new(Silent),
        cancel: CancellationToken::new(),
        deadline: None,
    }
}
