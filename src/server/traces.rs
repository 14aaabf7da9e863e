//! Traces: how long each rpc took, and each request to Databricks within it, for the OTLP endpoint that the engine
//! names. Spans are those of `tracing` with the target [`SPANS`]; without an endpoint nobody collects them.
//!
//! The messages are few and do not change, so they are written out here, and go out over the gRPC client that is there
//! anyway: the exporter's own crates would add a dozen dependencies.

use std::fmt::Debug;
use std::task::{Context as Task, Poll};
use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::transport::Endpoint;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument as _, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::context::SPANS;
use crate::env::Env;
use messages::{
    AnyValue, ExportReply, ExportRequest, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span, Value,
};

/// The variable in which the engine says where it wants traces.
const ENDPOINT: &str = "PULUMI_OTEL_EXPORTER_OTLP_ENDPOINT";
/// How many spans may wait to be sent; more are dropped.
const MOST_WAITING: usize = 4096;
/// How many are sent at once.
const MOST_AT_ONCE: usize = 512;
/// How long spans wait for others.
const PAUSE: Duration = Duration::from_millis(200);
/// How long sending may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// After so many failures in a row nothing is sent any more.
const MOST_FAILURES: usize = 3;
/// Longest text of an attribute, in characters.
const LONGEST: usize = 500;

/// The fields of a span that are no attributes: how it is shown, and what it is a part of.
const NAME: &str = "otel.name";
const PARENT: &str = "traceparent";
/// The field that says that something failed.
const FAILURE: &str = "error.type";
/// The field that spans of answered calls have; those without it are of calls that a client makes.
const RPC: &str = "rpc.method";

/// Sends the spans of this process to the engine.
#[derive(Debug)]
pub struct Traces {
    endpoint: Endpoint,
    spans: mpsc::Receiver<Span>,
}

/// Collects spans as they end.
#[derive(Debug)]
pub struct Collector {
    ended: mpsc::Sender<Span>,
    random: SystemRandom,
}

/// Traces, if the engine names a usable address for them.
pub fn traces(env: &Env) -> Option<(Collector, Traces)> {
    let endpoint = endpoint(env.var(ENDPOINT)?)?;
    let (ended, spans) = mpsc::channel(MOST_WAITING);
    Some((Collector { ended, random: SystemRandom::new() }, Traces { endpoint, spans }))
}

fn endpoint(address: &str) -> Option<Endpoint> {
    let address = address.strip_prefix("http://").unwrap_or(address);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    Some(endpoint.connect_timeout(PATIENCE).timeout(PATIENCE))
}

impl Traces {
    /// Sends spans until `end`, and then those that are left. Nothing waits for it but its caller, who waits for a second
    /// at most.
    pub async fn send(mut self, end: CancellationToken) {
        let mut client = tonic::client::Grpc::new(self.endpoint.connect_lazy());
        let mut failures = 0;
        let mut batch = Vec::new();
        while failures < MOST_FAILURES {
            let count = tokio::select! {
                count = self.spans.recv_many(&mut batch, MOST_AT_ONCE) => count,
                () = end.cancelled() => 0,
            };
            if count > 0 {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = end.cancelled() => {}
                }
            }
            while batch.len() < MOST_AT_ONCE
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            let sent = async {
                client.ready().await.map_err(|_| ())?;
                let path = http::uri::PathAndQuery::from_static(
                    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                );
                let codec = tonic_prost::ProstCodec::<ExportRequest, ExportReply>::default();
                let request = tonic::Request::new(request(std::mem::take(&mut batch)));
                client.unary(request, path, codec).await.map(drop).map_err(|_| ())
            };
            match tokio::time::timeout(PATIENCE, sent).await {
                Ok(Ok(())) => failures = 0,
                _ => failures += 1,
            }
            batch.clear();
        }
        tracing::debug!("the engine's endpoint takes no traces");
    }
}

fn request(spans: Vec<Span>) -> ExportRequest {
    let name = "pulumi-resource-databricks";
    let version = env!("CARGO_PKG_VERSION");
    ExportRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    attribute("service.name", Value::String(name.to_owned())),
                    attribute("service.version", Value::String(version.to_owned())),
                ],
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(Scope { name: name.to_owned(), version: version.to_owned() }),
                spans,
            }],
        }],
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// What is known about a span while it lasts; nothing about one that the engine does not want.
struct Open(Option<Span>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(it) = ctx.span(id) else { return };
        let mut fields = Fields { span: Span { start: now(), ..Span::default() }, parent: None };
        attributes.record(&mut fields);
        let Fields { mut span, parent } = fields;
        span.span_id = self.random_bytes(8);
        span.kind = if span.attributes.iter().any(|it| it.key == RPC) { 2 } else { 3 };
        if let Some((trace, within, is_wanted)) = parent.as_deref().and_then(parent_of) {
            if !is_wanted {
                it.extensions_mut().insert(Open(None));
                return;
            }
            (span.trace_id, span.parent_span_id) = (trace, within);
        } else if let Some(above) = it.parent() {
            match above.extensions().get::<Open>() {
                Some(Open(Some(above))) => {
                    (span.trace_id, span.parent_span_id) = (above.trace_id.clone(), above.span_id.clone());
                }
                Some(Open(None)) => {
                    it.extensions_mut().insert(Open(None));
                    return;
                }
                None => span.trace_id = self.random_bytes(16),
            }
        } else {
            span.trace_id = self.random_bytes(16);
        }
        it.extensions_mut().insert(Open(Some(span)));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(it) = ctx.span(id) else { return };
        if let Some(Open(Some(span))) = it.extensions_mut().get_mut::<Open>() {
            let mut fields = Fields { span: std::mem::take(span), parent: None };
            values.record(&mut fields);
            *span = fields.span;
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let Some(it) = ctx.span(&id) else { return };
        if let Some(Open(Some(mut span))) = it.extensions_mut().remove::<Open>() {
            span.end = now();
            // If whoever takes the spans is too slow or gone, this one is dropped rather than waited for.
            let _ = self.ended.try_send(span);
        }
    }
}

impl Collector {
    fn random_bytes(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        // A machine without random numbers could not have set up TLS before.
        let _ = self.random.fill(&mut bytes);
        bytes
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The trace and the span of a `traceparent`, and whether anybody wants to see what is in it.
fn parent_of(text: &str) -> Option<(Vec<u8>, Vec<u8>, bool)> {
    let mut parts = text.split('-').skip(1);
    let mut bytes = |length: usize| {
        let digits = parts.next().filter(|digits| digits.len() == 2 * length && digits.is_ascii())?;
        let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
        (0..length).map(byte).collect::<Option<Vec<u8>>>()
    };
    let (trace, span, flags) = (bytes(16)?, bytes(8)?, bytes(1)?);
    Some((trace, span, flags[0] & 1 == 1))
}

/// Collects the fields of a span.
struct Fields {
    span: Span,
    parent: Option<String>,
}

impl Fields {
    fn take(&mut self, field: &Field, value: Value) {
        if field.name() == FAILURE {
            self.span.status = Some(messages::Status { message: String::new(), code: 2 });
        }
        self.span.attributes.push(attribute(field.name(), value));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, text: &str) {
        match field.name() {
            NAME => self.span.name = text.to_owned(),
            PARENT => self.parent = Some(text.to_owned()),
            _ => self.take(field, Value::String(text.chars().take(LONGEST).collect())),
        }
    }

    fn record_i64(&mut self, field: &Field, number: i64) {
        self.take(field, Value::Int(number));
    }

    fn record_u64(&mut self, field: &Field, number: u64) {
        self.take(field, Value::Int(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The service, with a span around each call.
#[derive(Clone)]
pub(super) struct Traced<S>(pub(super) S);

impl<S: NamedService> NamedService for Traced<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Traced<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<http::Response<Body>, S::Error>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let name = request.uri().path().trim_start_matches('/').to_owned();
        let parent = request.headers().get(PARENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let span = tracing::info_span!(
            target: SPANS,
            parent: None,
            "rpc",
            otel.name = name,
            traceparent = parent,
            rpc.system = "grpc",
            rpc.method = name.rsplit('/').next().unwrap_or_default(),
            pulumi.urn = tracing::field::Empty,
            rpc.grpc.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        let reply = span.in_scope(|| self.0.call(request));
        let ending = span.clone();
        let reply = async move {
            let reply = reply.await;
            if let Ok(reply) = &reply {
                // The code of an error is in the headers, or an extension if the reply is watched. The text may say more
                // than a trace should.
                let code = match reply.headers().get(tonic::Status::GRPC_STATUS) {
                    Some(code) => tonic::Code::from_bytes(code.as_bytes()),
                    None => reply.extensions().get().copied().unwrap_or(tonic::Code::Ok),
                };
                ending.record("rpc.grpc.status_code", i64::from(i32::from(code)));
                if code != tonic::Code::Ok {
                    ending.record("error.type", code.description());
                }
            }
            reply
        };
        Box::pin(reply.instrument(span))
    }
}

/// The messages of OTLP, as far as they are sent. Numbers are those of fields.
mod messages {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExportRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) resource_spans: Vec<ResourceSpans>,
    }

    /// What it says does not matter.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExportReply {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        pub(super) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(super) scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ScopeSpans {
        #[prost(message, optional, tag = "1")]
        pub(super) scope: Option<Scope>,
        #[prost(message, repeated, tag = "2")]
        pub(super) spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Scope {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) version: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) span_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        pub(super) name: String,
        /// 2 is a call that is answered, 3 one that is made.
        #[prost(int32, tag = "6")]
        pub(super) kind: i32,
        #[prost(fixed64, tag = "7")]
        pub(super) start: u64,
        #[prost(fixed64, tag = "8")]
        pub(super) end: u64,
        #[prost(message, repeated, tag = "9")]
        pub(super) attributes: Vec<KeyValue>,
        #[prost(message, optional, tag = "15")]
        pub(super) status: Option<Status>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Status {
        #[prost(string, tag = "2")]
        pub(super) message: String,
        /// 2 is an error.
        #[prost(int32, tag = "3")]
        pub(super) code: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct AnyValue {
        #[prost(oneof = "Value", tags = "1, 3")]
        pub(super) value: Option<Value>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Value {
        #[prost(string, tag = "1")]
        String(String),
        #[prost(int64, tag = "3")]
        Int(i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_or_left_out() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (trace, span, is_wanted) = parent_of(text).unwrap();
        assert_eq!((trace.len(), trace[0], span.len(), span[7], is_wanted), (16, 0x0a, 8, 0x31, true));
        assert!(!parent_of(&text.replace("-01", "-00")).unwrap().2);
        for wrong in [
            "",
            "00-0af7-b7ad-01",
            "00-0af7651916cd43dd8448eb211c80319c",
            &text.replace('a', "é"),
            &text.replace('a', "+"),
        ] {
            assert!(parent_of(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn only_an_address_is_an_endpoint() {
        assert!(traces(&Env::default()).is_none());
        assert!(endpoint("not an address").is_none());
        assert!(endpoint("127.0.0.1:4317").is_some() && endpoint("http://localhost:4317").is_some());
    }
}
