//! A local program that behaves like a Databricks workspace for what a client of the token APIs uses: personal
//! access tokens and their management, OAuth secrets of service principals, the current user, host metadata, OAuth,
//! and scripted faults.
//!
//! It keeps its state in memory, checks credentials, and listens on 127.0.0.1 only. The program
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
mod requests;
mod secrets;
mod server;
mod state;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::App;

/// How a workspace is started. The default has generated credentials and the limits of the real service.
#[derive(Clone)]
pub struct Options {
    /// Port on 127.0.0.1; 0 for a free one.
    pub port: u16,
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
            port: 0,
            token: format!("dapi{}", state::random_hex(16)),
            user_name: "admin@example.com".to_owned(),
            password: None,
            service_principal: None,
            max_token_lifetime_days: Some(730),
            quota: 600,
            workspace_id: "1234567890123456".to_owned(),
            account_id: "7a1b2c3d-0000-4000-8000-000000000001".to_owned(),
            clock_offset_ms: 0,
            verbose: false,
        }
    }
}

impl fmt::Debug for Options {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("port", &self.port)
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
    /// Fails if the port can't be listened on.
    pub async fn start(options: Options) -> io::Result<Running> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let app = Arc::new(App::new(options));
        let router = api::router(app.clone());
        tokio::spawn(server::run(app.clone(), router, listener, stop.clone()));
        Ok(Running { address, app, stop })
    }
}

/// A workspace that serves requests until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    app: Arc<App>,
    stop: CancellationToken,
}

impl Running {
    /// Where the workspace listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The workspace's URL, such as `http://127.0.0.1:4321`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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
