//! One connection of an engine is one provider instance, with a configuration and a cancellation of its own: an
//! attached process serves many, and a Cancel of one command must not reach the next.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::engine::EngineLog;
use super::forward::Session;
use crate::client::Client;
use crate::property::Map;
use crate::resource::Resource;

/// What a connection has been told so far.
#[derive(Default)]
pub(super) struct Instance {
    client: Mutex<Option<Client>>,
    pub(super) engine: Arc<EngineLog>,
    pub(super) official: Session,
    cancel: Mutex<CancellationToken>,
    /// Resources, by URN, that the engine has read and not checked since.
    read: Mutex<HashSet<String>>,
    /// Resources, by URN, that the engine has a state of.
    with_state: Mutex<HashSet<String>>,
    /// Whether the engine can be asked to refresh a resource before it updates it.
    refreshes_before_updates: AtomicBool,
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

    /// Notes that the engine reads a resource.
    pub(super) fn reads(&self, urn: &str) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(urn.to_owned());
    }

    /// Notes that the engine checks what a program states for a resource, against its state if it has one.
    pub(super) fn checks(&self, urn: &str, has_state: bool) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).remove(urn);
        if has_state {
            self.with_state.lock().unwrap_or_else(PoisonError::into_inner).insert(urn.to_owned());
        }
    }

    /// Whether the engine has a state of the resource, so that a create replaces it.
    pub(super) fn has_state_of(&self, urn: &str) -> bool {
        self.with_state.lock().unwrap_or_else(PoisonError::into_inner).contains(urn)
    }

    /// Sets whether resources that want it can be refreshed before they are updated.
    pub(super) fn refreshes_before_updates(&self, can: bool) {
        self.refreshes_before_updates.store(can, Ordering::Relaxed);
    }

    /// Whether the engine is to refresh a resource with these inputs before it updates it.
    pub(super) fn wants_refresh(&self, resource: &dyn Resource, inputs: &Map) -> bool {
        self.can_refresh_before_updates() && resource.wants_refresh(inputs)
    }

    /// Whether resources can be refreshed before they are updated, if they want that.
    pub(super) fn can_refresh_before_updates(&self) -> bool {
        self.refreshes_before_updates.load(Ordering::Relaxed)
    }

    /// Whether a Diff that comes now belongs to a refresh. The only sign is that it follows a Read: before a change is
    /// planned, the program's inputs are checked.
    pub(super) fn is_refreshing(&self, urn: &str) -> bool {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).contains(urn)
    }

    /// Cancelled when the command that runs now is.
    pub(super) fn cancellation(&self) -> CancellationToken {
        self.cancel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a command begins. A proxy between engine and plugin keeps one connection over many commands, and the
    /// Cancel that ends each of them must not reach the next.
    pub(super) fn begin(&self) {
        let mut cancel = self.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        self.with_state.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
            with_state: Mutex::default(),
            refreshes_before_updates: AtomicBool::default(),
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
