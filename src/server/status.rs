//! Errors as the engine reads them.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};

use super::proto::google::rpc;
use super::proto::pulumirpc::{ErrorResourceInitFailed, ReadRequest};
use super::wire;
use crate::client;
use crate::property::Map;
use crate::resource;

const BUG: &str =
    "the databricks plugin ran into a bug of its own; please report it, with the output of `pulumi up -d`";

/// A panic is a bug; the engine gets an error, and the process goes on.
pub(super) async fn guarded<T>(work: impl Future<Output = T>) -> Result<T, Status> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| Status::internal(BUG))
}

/// A failed operation, such as `cannot create token`.
pub(super) fn failed(action: &str, noun: &str, error: &resource::Error) -> Status {
    let code = match error {
        resource::Error::Inputs(_) => Code::InvalidArgument,
        resource::Error::Undecided(_) | resource::Error::Other(_) => Code::FailedPrecondition,
        resource::Error::Databricks(error) => code(error),
    };
    Status::new(code, format!("cannot {action} {noun}: {error}"))
}

fn code(error: &client::Error) -> Code {
    use client::Error::{
        Api, Auth, Cancelled, Config, GaveUp, Interrupted, NotAnApi, TimedOut, TooLate, Unreachable,
        Untrusted, Workspace,
    };
    match error {
        Config(_) | Workspace(_) => Code::FailedPrecondition,
        Auth(_) => Code::Unauthenticated,
        Unreachable { .. } | Untrusted { .. } | Interrupted { .. } => Code::Unavailable,
        Cancelled { .. } => Code::Cancelled,
        TimedOut { .. } | TooLate { .. } => Code::DeadlineExceeded,
        NotAnApi { .. } => Code::FailedPrecondition,
        GaveUp { last, .. } => code(last),
        Api(error) => match error.status {
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::NotFound,
            429 => Code::ResourceExhausted,
            400..=499 => Code::FailedPrecondition,
            _ => Code::Unavailable,
        },
    }
}

/// The resource exists but is not complete: the engine keeps its id and properties, and calls Update next time.
///
/// The code stands in the details too. If the two differ, the engine drops the details and prints them in the clear.
pub(super) fn init_failed(
    id: String,
    outputs: &Map,
    inputs: Option<&Map>,
    reasons: Vec<String>,
    refresh_before_update: bool,
) -> Status {
    let message = reasons.join("; ");
    let detail = ErrorResourceInitFailed {
        id,
        properties: wire::encode(outputs),
        reasons,
        inputs: inputs.and_then(wire::encode),
        refresh_before_update,
    };
    with_detail(Code::Unknown, message, "pulumirpc.ErrorResourceInitFailed", detail.encode_to_vec())
}

fn with_detail(code: Code, message: String, name: &str, value: Vec<u8>) -> Status {
    let details = rpc::Status {
        code: code as i32,
        message: message.clone(),
        details: vec![Any { type_url: format!("type.googleapis.com/{name}"), value }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// Whether a Read is for an import. Engines before 3.203 or so then send an empty struct of properties, and newer ones
/// none. A look-up by a program that states nothing differs in that it has a struct of inputs, if an empty one.
pub(super) fn is_import(request: &ReadRequest) -> bool {
    let knows_nothing = request.properties.as_ref().is_none_or(|properties| properties.fields.is_empty());
    request.inputs.is_none() && knows_nothing
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::ApiError;
    use crate::property::Value;

    #[test]
    fn a_code_says_what_kind_of_failure_it_was() {
        for (status, expected) in [
            (400, Code::FailedPrecondition),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::NotFound),
            (409, Code::FailedPrecondition),
            (429, Code::ResourceExhausted),
            (500, Code::Unavailable),
            (503, Code::Unavailable),
        ] {
            let last = client::Error::Api(ApiError {
                request: "GET /x".into(),
                status,
                code: String::new(),
                message: "m".to_owned(),
                request_id: None,
                structured: true,
                retry_after: None,
                advice: None,
            });
            assert_eq!(code(&last), expected, "{status}");
            let gave_up = client::Error::GaveUp { waited: Duration::ZERO, attempts: 2, last: Box::new(last) };
            assert_eq!(code(&gave_up), expected, "{status}");
        }
    }

    #[test]
    fn only_an_import_knows_nothing() {
        let nothing = prost_types::Struct::default();
        let name = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("c".into())) };
        let something = prost_types::Struct { fields: [("comment".to_owned(), name)].into() };
        let read = |properties: Option<&prost_types::Struct>, inputs: Option<&prost_types::Struct>| {
            is_import(&ReadRequest {
                properties: properties.cloned(),
                inputs: inputs.cloned(),
                ..Default::default()
            })
        };
        assert!(read(None, None));
        // From an older engine.
        assert!(read(Some(&nothing), None));
        assert!(!read(Some(&something), None));
        assert!(!read(None, Some(&nothing)) && !read(Some(&nothing), Some(&nothing)));
    }

    #[test]
    fn code_and_details_agree() {
        let outputs = Map::from([("tokenValue".into(), Value::secret("dapi-hidden".into()))]);
        let status = init_failed("id".into(), &outputs, None, vec!["why".into()], false);
        let details = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(details.code, status.code() as i32);
        assert_eq!(details.message, status.message());
        let detail = ErrorResourceInitFailed::decode(details.details[0].value.as_slice()).unwrap();
        assert_eq!(wire::decode(detail.properties), outputs);
        assert!(!status.message().contains("hidden"));
    }
}
