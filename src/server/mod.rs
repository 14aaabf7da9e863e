//! The gRPC server: Pulumi's ResourceProvider protocol. Each rpc turns the wire's structs into property values, calls
//! the resource, and turns the answer back. Nothing here knows a resource.

mod configurations;
mod connection;
mod delivery;
mod engine;
mod forward;
#[cfg(test)]
mod fuzz;
mod mapping;
mod provider;
mod status;
mod traces;
mod wire;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::context::Clock;
use crate::env::Env;
use connection::Connection;
use delivery::Delivered;
use forward::Forwarding;
pub use forward::{OFFICIAL, official_plugin, run_official};
use proto::pulumirpc::resource_provider_server::ResourceProviderServer;
use provider::Provider;
pub use traces::{Collector, Traces, traces};

/// Pulumi's protocol as compiled from `proto/`.
#[allow(missing_docs, unreachable_pub, missing_debug_implementations, dead_code, clippy::all)]
mod proto {
    pub mod pulumirpc {
        tonic::include_proto!("pulumirpc");
    }
    pub mod google {
        pub mod rpc {
            tonic::include_proto!("google.rpc");
        }
    }
}

/// The longest message, as the engine allows: 400 MiB.
const LONGEST_MESSAGE: usize = 400 << 20;

/// How long work in flight may take once the process is asked to end, besides its requests to Databricks: what a lost
/// create left is searched for, and what the engine did not take is deleted again.
const LAST_WORK: Duration = Duration::from_secs(6 * 60);

/// How long the last answers may take to be sent.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Serves engines on `listener` until `stop` resolves; then refuses new calls and waits for operations under way, since
/// a token that is created must reach the engine or be revoked.
pub async fn serve(
    listener: TcpListener,
    env: Env,
    clock: Arc<dyn Clock>,
    engine: Option<String>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let provider = Provider::new(env.clone(), Arc::clone(&clock), engine.clone());
    let in_flight = provider.in_flight();
    let configurations = provider.configurations();
    let longest_request = provider.longest_request();
    let last_work = move || LAST_WORK + 2 * longest_request.get();
    let service = ResourceProviderServer::new(provider)
        .max_decoding_message_size(LONGEST_MESSAGE)
        .max_encoding_message_size(LONGEST_MESSAGE);
    let process = CancellationToken::new();
    let (service, children) = Forwarding::new(service, env, clock, engine, configurations, process.clone());
    let connections =
        TcpListenerStream::new(listener).map(|stream| Ok::<_, io::Error>(Connection::new(stream?, &process)));
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Server::builder()
        .add_service(traces::Traced(Delivered(service)))
        .serve_with_incoming_shutdown(connections, async {
            stop.await;
            // From now on nobody waits for a busy workspace.
            process.cancel();
            let _ = stopping.send(());
        });
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => ended?,
        _ = stopped => {
            // The server waits for its connections to close, and an engine that hangs never closes its own. What
            // counts is the work.
            let work = async {
                in_flight.close();
                in_flight.wait().await;
                children.end().await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            let ended = async { tokio::select! { _ = &mut server => {}, () = work => {} } };
            let _ = tokio::time::timeout(last_work(), ended).await;
        }
    }
    in_flight.close();
    let _ = tokio::time::timeout(last_work(), in_flight.wait()).await;
    children.end().await;
    Ok(())
}

/// Reads the new inputs in a message of Check for a benchmark.
#[cfg(feature = "bench")]
#[doc(hidden)]
pub fn read_inputs(message: &[u8]) -> crate::property::Map {
    let request = <proto::pulumirpc::CheckRequest as prost::Message>::decode(message).ok();
    wire::decode(request.and_then(|request| request.news))
}
