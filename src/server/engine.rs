//! Messages to the user, through the engine's own service.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::proto::pulumirpc::LogRequest;
use super::proto::pulumirpc::engine_client::EngineClient;
use crate::context::{BoxFuture, Reporter, Severity};

/// How long the engine may take for a message; nothing waits longer for it.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// The engine's log. Silent until the engine has said where it is, and once it is gone.
#[derive(Default)]
pub(super) struct EngineLog(Mutex<Option<EngineClient<Channel>>>);

impl EngineLog {
    /// Sends messages to the engine at `address` (host:port) from now on. Connects with the first one.
    pub(super) fn connect(&self, address: &str) {
        let Ok(endpoint) = Endpoint::from_shared(format!("http://{address}")) else { return };
        let channel = endpoint.connect_timeout(LOG_TIMEOUT).timeout(LOG_TIMEOUT).connect_lazy();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(EngineClient::new(channel));
    }
}

impl Reporter for EngineLog {
    fn report<'a>(&'a self, severity: Severity, urn: &'a str, message: &'a str) -> BoxFuture<'a, ()> {
        use super::proto::pulumirpc::LogSeverity;
        Box::pin(async move {
            let client = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(mut client) = client else { return };
            let request = LogRequest {
                severity: match severity {
                    Severity::Debug => LogSeverity::Debug,
                    Severity::Info | Severity::Status => LogSeverity::Info,
                    Severity::Warning => LogSeverity::Warning,
                } as i32,
                message: message.to_owned(),
                urn: urn.to_owned(),
                stream_id: 0,
                ephemeral: severity == Severity::Status,
            };
            // The engine may be gone, and no operation depends on its log.
            let _ = tokio::time::timeout(LOG_TIMEOUT, client.log(request)).await;
        })
    }
}
