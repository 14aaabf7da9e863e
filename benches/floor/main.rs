//! What no plugin can be faster than: a provider that answers every call at once, with what it was sent and with
//! made-up outputs, and a bare loop of HTTP requests. `benches/plugin.py` measures both beside the plugin.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use reqwest::Method;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Pulumi's protocol as compiled from `proto/`.
#[allow(missing_docs, unreachable_pub, missing_debug_implementations, dead_code, clippy::all)]
mod pb {
    tonic::include_proto!("pulumirpc");
}

use pb::resource_provider_server::{ResourceProvider, ResourceProviderServer};

const USAGE: &str = "usage: bench-floor [ENGINE], or bench-floor requests COUNT METHOD URL TOKEN [BODY]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["requests", count, method, url, token, body @ ..] => {
            requests(count.parse()?, method.parse()?, url, token, body.first().copied()).await
        }
        ["requests", ..] => Err(USAGE.into()),
        _ => provide().await,
    }
}

/// Sends requests one after the other, and reads every answer to its end.
async fn requests(
    count: usize,
    method: Method,
    url: &str,
    token: &str,
    body: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    // Even a client of plain HTTP needs a provider of cryptography.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    for _ in 0..count {
        let mut request = client.request(method.clone(), url).bearer_auth(token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        request.send().await?.error_for_status()?.bytes().await?;
    }
    Ok(())
}

/// Serves the engine.
async fn provide() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
    let service = ResourceProviderServer::new(AtOnce::default());
    // Without nodelay, each small answer waits for the acknowledgement of the one before, up to 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().add_service(service).serve_with_incoming(incoming).await?;
    Ok(())
}

/// A provider that does nothing. The ids of what it creates are consecutive numbers.
#[derive(Default)]
struct AtOnce {
    created: AtomicU64,
}

/// The key that marks a map on the wire as a special value, and the value of that key for a secret.
const SIGNATURE: &str = "4dabf18193072939515e22adb298388d";
const SECRET: &str = "1b47061264138c4ac30d75fd1eb44270";

type Answer<T> = Result<Response<T>, Status>;

fn no_changes() -> Response<pb::DiffResponse> {
    let changes = pb::diff_response::DiffChanges::DiffNone as i32;
    Response::new(pb::DiffResponse { changes, ..Default::default() })
}

/// Made-up outputs of a token. The engine encrypts the value and writes all outputs after each step, which takes part
/// of the time of the same commands with any provider.
fn of_a_token(id: &str) -> BTreeMap<String, Value> {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let number = |number| Value { kind: Some(Kind::NumberValue(number)) };
    let map = |fields| Value { kind: Some(Kind::StructValue(Struct { fields })) };
    let workspace = map(BTreeMap::from([("workspaceId".to_owned(), text("1234567890123456"))]));
    let secret = map(BTreeMap::from([
        (SIGNATURE.to_owned(), text(SECRET)),
        ("value".to_owned(), text("dapi00000000000000000000000000000000")),
    ]));
    let outputs = [
        ("__createdById", text("7000000000000001")),
        ("__createdByUsername", text("admin@example.com")),
        ("autoscopeState", text("AUTOSCOPE_STATE_DISABLED")),
        ("creationTime", number(1_795_734_166_356.0)),
        ("expiresAt", text("2026-11-27T00:02:46.356Z")),
        ("expiryTime", number(1_795_737_766_356.0)),
        ("providerConfig", workspace),
        ("tokenId", text(id)),
        ("tokenValue", secret),
    ];
    outputs.map(|(name, value)| (name.to_owned(), value)).into()
}

#[tonic::async_trait]
impl ResourceProvider for AtOnce {
    async fn handshake(
        &self,
        _: Request<pb::ProviderHandshakeRequest>,
    ) -> Answer<pb::ProviderHandshakeResponse> {
        Ok(Response::new(pb::ProviderHandshakeResponse {
            accept_secrets: true,
            accept_resources: true,
            accept_outputs: true,
            ..Default::default()
        }))
    }

    async fn get_plugin_info(&self, _: Request<()>) -> Answer<pb::PluginInfo> {
        Ok(Response::new(pb::PluginInfo { version: env!("CARGO_PKG_VERSION").to_owned() }))
    }

    async fn get_schema(&self, _: Request<pb::GetSchemaRequest>) -> Answer<pb::GetSchemaResponse> {
        let schema = include_str!("../../schema.json").to_owned();
        Ok(Response::new(pb::GetSchemaResponse { schema }))
    }

    async fn check_config(&self, request: Request<pb::CheckRequest>) -> Answer<pb::CheckResponse> {
        self.check(request).await
    }

    async fn diff_config(&self, _: Request<pb::DiffRequest>) -> Answer<pb::DiffResponse> {
        Ok(no_changes())
    }

    async fn configure(&self, _: Request<pb::ConfigureRequest>) -> Answer<pb::ConfigureResponse> {
        Ok(Response::new(pb::ConfigureResponse {
            accept_secrets: true,
            accept_resources: true,
            accept_outputs: true,
            supports_preview: true,
            ..Default::default()
        }))
    }

    async fn check(&self, request: Request<pb::CheckRequest>) -> Answer<pb::CheckResponse> {
        let inputs = request.into_inner().news;
        Ok(Response::new(pb::CheckResponse { inputs, ..Default::default() }))
    }

    async fn diff(&self, _: Request<pb::DiffRequest>) -> Answer<pb::DiffResponse> {
        Ok(no_changes())
    }

    async fn create(&self, request: Request<pb::CreateRequest>) -> Answer<pb::CreateResponse> {
        let id = format!("{:064x}", self.created.fetch_add(1, Ordering::Relaxed));
        let mut properties = request.into_inner().properties.unwrap_or_default();
        properties.fields.extend(of_a_token(&id));
        Ok(Response::new(pb::CreateResponse { id, properties: Some(properties), ..Default::default() }))
    }

    async fn read(&self, request: Request<pb::ReadRequest>) -> Answer<pb::ReadResponse> {
        let pb::ReadRequest { id, properties, inputs, .. } = request.into_inner();
        Ok(Response::new(pb::ReadResponse { id, properties, inputs, ..Default::default() }))
    }

    async fn delete(&self, _: Request<pb::DeleteRequest>) -> Answer<()> {
        Ok(Response::new(()))
    }

    async fn cancel(&self, _: Request<()>) -> Answer<()> {
        Ok(Response::new(()))
    }

    async fn attach(&self, _: Request<pb::PluginAttach>) -> Answer<()> {
        Ok(Response::new(()))
    }
}
