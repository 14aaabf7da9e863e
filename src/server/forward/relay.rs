//! The engine as the child knows it: what the child says to the user passes through here, without credentials. The rest
//! of the engine's own service is passed on as it comes, including what nobody here knows.

use std::convert::Infallible;
use std::io;
use std::task::{Context as Task, Poll};

use prost::bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};

use super::body::{self, Raw};
use super::{Mask, child, message};

/// The text of a message to the user, in the request of `Log`.
const TEXT: u64 = 2;

/// Stands between a child and the engine at `engine` until `gone`; returns the address for the child.
pub(super) async fn serve(engine: &str, mask: &Mask, gone: &CancellationToken) -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?.to_string();
    let engine = Endpoint::from_shared(format!("http://{engine}")).map_err(io::Error::other)?.connect_lazy();
    let server = Server::builder()
        .add_service(Relay { engine, mask: mask.clone() })
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), gone.clone().cancelled_owned());
    tokio::spawn(server);
    Ok(address)
}

#[derive(Clone)]
struct Relay {
    engine: Channel,
    mask: Mask,
}

impl NamedService for Relay {
    const NAME: &'static str = "pulumirpc.Engine";
}

impl Service<http::Request<Body>> for Relay {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let relay = self.clone();
        Box::pin(async move {
            Ok(match relay.pass_on(request).await {
                Ok(answer) => body::reply(tokio_stream::once(Ok(answer))),
                Err(status) => status.into_http(),
            })
        })
    }
}

impl Relay {
    async fn pass_on(&self, request: http::Request<Body>) -> Result<Bytes, Status> {
        let (head, body) = request.into_parts();
        let (_, message) = body::read(body).await?;
        let message =
            message.ok_or_else(|| Status::unimplemented("the message is compressed or incomplete"))?;
        let path = head.uri.path_and_query().cloned();
        let path = path.ok_or_else(|| Status::unimplemented("the call names no method"))?;
        let message = match path.path() {
            "/pulumirpc.Engine/Log" => message::replace(&message, |number, text| {
                (number == TEXT).then(|| self.mask.hide(&String::from_utf8_lossy(text)).into_bytes())
            })
            .into(),
            _ => message,
        };
        let request = child::request(MetadataMap::from_headers(head.headers), message);
        let mut engine = child::ready(&self.engine).await?;
        Ok(engine.unary(request, path, Raw).await?.into_inner())
    }
}
