//! A local program that behaves like a Databricks workspace for what a client of the token APIs uses: personal
//! access tokens and their management, OAuth secrets of service principals, the current user, host metadata, OAuth,
//! and scripted faults.
//!
//! It keeps its state in memory, checks credentials, and listens on 127.0.0.1 unless told otherwise. The program
//! `databricks-local-workspace` runs it by itself; Rust tests may start it in their own process:
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use databricks_local_workspace::{Options, Workspace};
//!
//! let workspace = Workspace::start(Options { quota: 5, ..Options::default() }).await?;
//! println!("{} {}", workspace.url(), workspace.address());
//! workspace.stop();
//! # Ok(())
//! # }
//! ```

mod api;
mod control;
mod error;
mod faults;
mod federation;
mod page;
mod requests;
mod secrets;
mod server;
mod signing;
mod snapshot;
mod state;
mod tls;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::App;

/// How a workspace is started. The default has generated credentials and the limits of the real service.
#[derive(Clone)]
pub struct Options {
    /// Where to listen. Anything but 127.0.0.1 lets other machines in.
    pub address: IpAddr,
    /// Port to listen on; 0 for a free one.
    pub port: u16,
    /// Speak TLS, with a certificate that is made at the start.
    pub tls: bool,
    /// Host names, besides `localhost`, under which the control API and the page answer, and for the certificate.
    pub host_names: Vec<String>,
    /// Value of the personal access token that is accepted from the start. It belongs to an admin.
    pub token: String,
    /// User name of that admin.
    pub user_name: String,
    /// Password of that admin, which switches Basic authentication on.
    pub password: Option<String>,
    /// A service principal that can get OAuth access tokens from the start.
    pub service_principal: Option<ServicePrincipal>,
    /// Longest lifetime of a token, in days, which is also what a token without a lifetime gets. `None`: no
    /// limit, and a token without a lifetime never expires.
    pub max_token_lifetime_days: Option<u32>,
    /// How many live tokens a user may have.
    pub quota: usize,
    /// Id of the workspace.
    pub workspace_id: String,
    /// Id of the account.
    pub account_id: String,
    /// How far the workspace's clock is ahead of the system's, in milliseconds.
    pub clock_offset_ms: i64,
    /// What else is there from the start: a snapshot, or bodies of calls of the control API.
    pub seed: Option<serde_json::Value>,
    /// Write a line to stderr for every request.
    pub verbose: bool,
}

/// Credentials of a service principal.
#[derive(Clone)]
pub struct ServicePrincipal {
    /// Application id, which is also the OAuth client id.
    pub client_id: String,
    /// OAuth client secret.
    pub client_secret: String,
}

/// Client id of [`ServicePrincipal::default`].
pub const DEFAULT_CLIENT_ID: &str = "5e3a1c0f-0000-4000-8000-000000000001";

impl Default for ServicePrincipal {
    /// The client id is [`DEFAULT_CLIENT_ID`], the secret is generated.
    fn default() -> Self {
        let client_secret = secrets::new_secret_value();
        Self { client_id: DEFAULT_CLIENT_ID.to_owned(), client_secret }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            tls: false,
            host_names: Vec::new(),
            token: format!("dapi{}", state::random_hex(16)),
            user_name: "admin@example.com".to_owned(),
            password: None,
            service_principal: None,
            max_token_lifetime_days: Some(730),
            quota: 600,
            workspace_id: "1234567890123456".to_owned(),
            account_id: "7a1b2c3d-0000-4000-8000-000000000001".to_owned(),
            clock_offset_ms: 0,
            seed: None,
            verbose: false,
        }
    }
}

impl fmt::Debug for Options {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("host_names", &self.host_names)
            .field("user_name", &self.user_name)
            .field("service_principal", &self.service_principal)
            .field("max_token_lifetime_days", &self.max_token_lifetime_days)
            .field("quota", &self.quota)
            .field("workspace_id", &self.workspace_id)
            .field("account_id", &self.account_id)
            .field("clock_offset_ms", &self.clock_offset_ms)
            .field("verbose", &self.verbose)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServicePrincipal {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServicePrincipal").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Starts local workspaces.
#[derive(Debug)]
pub struct Workspace;

impl Workspace {
    /// Starts a workspace on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails if the port can't be listened on, if the seed is wrong, or if the certificate can't be made.
    pub async fn start(options: Options) -> io::Result<Running> {
        let app = Arc::new(App::new(options)?);
        let options = &app.options;
        let listener = TcpListener::bind((options.address, options.port)).await?;
        let address = listener.local_addr()?;
        let (acceptor, certificate) = match options.tls {
            true => {
                let own = ["127.0.0.1".to_owned(), "::1".to_owned(), "localhost".to_owned()];
                let names = own.into_iter().chain(options.host_names.iter().cloned()).collect();
                let (acceptor, certificate) = tls::acceptor(names)?;
                (Some(acceptor), Some(certificate))
            }
            false => (None, None),
        };
        let stop = CancellationToken::new();
        let router = api::router(app.clone());
        tokio::spawn(server::run(app.clone(), router, listener, acceptor, stop.clone()));
        Ok(Running { address, certificate, app, stop })
    }
}

/// A workspace that serves requests until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    certificate: Option<String>,
    app: Arc<App>,
    stop: CancellationToken,
}

impl Running {
    /// Where the workspace listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The workspace's URL on this machine, such as `http://127.0.0.1:4321`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        // Nobody can connect to the address that stands for all addresses.
        match self.address.ip().is_unspecified() {
            true => format!("{scheme}://127.0.0.1:{}", self.address.port()),
            false => format!("{scheme}://{}", self.address),
        }
    }

    /// The certificate that a client of a workspace with TLS must trust, in PEM.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// What the workspace was started with, generated credentials included.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.app.options
    }

    /// Stops listening and closes every connection, without waiting for answers under way.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
