//! What no plugin can be faster than: a provider that answers every call at once with what it was sent, and a bare loop
//! of HTTP requests. `benches/plugin.py` measures both beside the plugin.

use std::error::Error;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
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
    // Also a client of plain HTTP wants to know who would do the cryptography.
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
    Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await?;
    Ok(())
}

/// A provider that does nothing. What it creates has the next number for its id.
#[derive(Default)]
struct AtOnce {
    created: AtomicU64,
}

type Answer<T> = Result<Response<T>, Status>;

fn no_changes() -> Response<pb::DiffResponse> {
    let changes = pb::diff_response::DiffChanges::DiffNone as i32;
    Response::new(pb::DiffResponse { changes, ..Default::default() })
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
        let id = self.created.fetch_add(1, Ordering::Relaxed).to_string();
        let properties = request.into_inner().properties;
        Ok(Response::new(pb::CreateResponse { id, properties, ..Default::default() }))
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
