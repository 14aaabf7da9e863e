//! One connection of an engine is one provider instance, with a configuration and a cancellation of its own: an
//! attached process serves many, and a Cancel of one command must not reach the next.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::engine::EngineLog;
use super::forward::Session;
use crate::client::Client;

/// What a connection has been told so far.
#[derive(Default)]
pub(super) struct Instance {
    client: Mutex<Option<Client>>,
    pub(super) engine: Arc<EngineLog>,
    pub(super) official: Session,
    cancel: Mutex<CancellationToken>,
    /// Resources, by URN, that the engine has read and not checked since.
    read: Mutex<HashSet<String>>,
    /// Cancelled when the process is asked to end, and every command with it.
    process: CancellationToken,
}

impl Instance {
    pub(super) fn configure(&self, client: Client) {
        self.official.hide_credentials_of(client.clone());
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
    }

    pub(super) fn client(&self) -> Option<Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The engine reads a resource.
    pub(super) fn reads(&self, urn: &str) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(urn.to_owned());
    }

    /// The engine checks what a program states of a resource.
    pub(super) fn checks(&self, urn: &str) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).remove(urn);
    }

    /// Whether a Diff that comes now is a refresh's, which nothing else tells: it follows a Read. Before a change is
    /// planned, the program's inputs are checked.
    pub(super) fn is_refreshing(&self, urn: &str) -> bool {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).contains(urn)
    }

    /// Cancelled when the command that runs now is.
    pub(super) fn cancellation(&self) -> CancellationToken {
        self.cancel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A command begins. A proxy between engine and plugin keeps one connection over many commands, and the Cancel
    /// that ends each of them must not reach the next.
    pub(super) fn begin(&self) {
        let mut cancel = self.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        if cancel.is_cancelled() {
            *cancel = self.process.child_token();
        }
    }
}

/// A connection and its instance, which requests find among their extensions.
pub(super) struct Connection {
    stream: TcpStream,
    instance: Arc<Instance>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, process: &CancellationToken) -> Self {
        // Replies are small and awaited one by one.
        let _ = stream.set_nodelay(true);
        let instance = Instance {
            client: Mutex::default(),
            engine: Arc::default(),
            official: Session::default(),
            cancel: Mutex::new(process.child_token()),
            read: Mutex::default(),
            process: process.clone(),
        };
        Connection { stream, instance: Arc::new(instance) }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Instance>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.instance)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
