//! Runs a local Databricks workspace until it is told to stop.

use std::io::{self, Write};
use std::process::ExitCode;

use databricks_local_workspace::{Options, ServicePrincipal, Workspace};
use tokio::io::AsyncReadExt;

const HELP: &str = "\
A local program that behaves like a Databricks workspace for personal access tokens.

Usage: databricks-local-workspace [OPTIONS]

It listens on 127.0.0.1 and writes to stdout, in this form, what a client needs:

  DATABRICKS_HOST=http://127.0.0.1:PORT
  DATABRICKS_TOKEN=VALUE

and, with --service-principal, also DATABRICKS_CLIENT_ID= and DATABRICKS_CLIENT_SECRET= lines. It runs until
SIGINT or SIGTERM.

Options:
      --port N                      port to listen on (default 0: a free one)
      --token VALUE                 the personal access token accepted from the start (default: generated)
      --user NAME                   user name of that token's user, an admin (default admin@example.com)
      --password VALUE              password of that user; switches Basic authentication on
      --service-principal           have a service principal that can use OAuth (client credentials)
      --client-id ID                its client id; implies --service-principal
                                    (default 5e3a1c0f-0000-4000-8000-000000000001)
      --client-secret VALUE         its client secret; implies --service-principal (default: generated)
      --quota N                     live tokens that a user may have (default 600)
      --max-token-lifetime-days N   longest lifetime of a token, also what a token without a lifetime gets
                                    (default 730); 0: no limit, and no lifetime means that it never expires
      --workspace-id ID             (default 1234567890123456)
      --account-id ID               (default 7a1b2c3d-0000-4000-8000-000000000001)
      --clock-offset-ms N           start with the workspace's clock so far ahead (or behind, if negative)
      --exit-on-stdin-eof           stop when stdin ends, so that it never outlives the program that started it
      --verbose                     write a line to stderr for every request
  -h, --help
  -V, --version
";

#[tokio::main]
async fn main() -> ExitCode {
    let (options, exit_on_stdin_eof) = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error}; see --help"));
            return ExitCode::from(2);
        }
    };
    match run(options, exit_on_stdin_eof).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn complain(message: &str) {
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(io::stderr(), "databricks-local-workspace: {message}");
}

/// The options and whether the end of stdin stops the program, or `None` if everything asked for was printed.
fn arguments() -> Result<Option<(Options, bool)>, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options::default();
    let mut exit_on_stdin_eof = false;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => options.port = parser.value()?.parse()?,
            Long("token") => options.token = parser.value()?.string()?,
            Long("user") => options.user_name = parser.value()?.string()?,
            Long("password") => options.password = Some(parser.value()?.string()?),
            Long("service-principal") => {
                options.service_principal.get_or_insert_default();
            }
            Long("client-id") => {
                let client_id = parser.value()?.string()?;
                options.service_principal.get_or_insert_default().client_id = client_id;
            }
            Long("client-secret") => {
                let client_secret = parser.value()?.string()?;
                options.service_principal.get_or_insert_default().client_secret = client_secret;
            }
            Long("quota") => options.quota = parser.value()?.parse()?,
            Long("max-token-lifetime-days") => {
                options.max_token_lifetime_days = Some(parser.value()?.parse()?).filter(|days| *days > 0);
            }
            Long("workspace-id") => options.workspace_id = parser.value()?.string()?,
            Long("account-id") => options.account_id = parser.value()?.string()?,
            Long("clock-offset-ms") => options.clock_offset_ms = parser.value()?.parse()?,
            Long("exit-on-stdin-eof") => exit_on_stdin_eof = true,
            Long("verbose") => options.verbose = true,
            Short('h') | Long("help") => {
                print(HELP)?;
                return Ok(None);
            }
            Short('V') | Long("version") => {
                print(concat!("databricks-local-workspace ", env!("CARGO_PKG_VERSION"), "\n"))?;
                return Ok(None);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some((options, exit_on_stdin_eof)))
}

fn print(text: &str) -> Result<(), lexopt::Error> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| error.to_string().into())
}

async fn run(options: Options, exit_on_stdin_eof: bool) -> io::Result<()> {
    let port = options.port;
    let workspace = Workspace::start(options)
        .await
        .map_err(|error| io::Error::other(format!("cannot listen on 127.0.0.1:{port}: {error}")))?;
    let started = workspace.options();
    let mut lines = format!("DATABRICKS_HOST={}\nDATABRICKS_TOKEN={}\n", workspace.url(), started.token);
    if let Some(ServicePrincipal { client_id, client_secret }) = &started.service_principal {
        lines.push_str(&format!(
            "DATABRICKS_CLIENT_ID={client_id}\nDATABRICKS_CLIENT_SECRET={client_secret}\n"
        ));
    }
    // Whoever has read the lines may send a signal at once.
    let stop_signal = stop_signal()?;
    let mut stdout = io::stdout();
    stdout.write_all(lines.as_bytes())?;
    stdout.flush()?;
    tokio::select! {
        () = stop_signal => {}
        () = end_of_stdin(), if exit_on_stdin_eof => {}
    }
    workspace.stop();
    // A read of stdin that is still blocked must not hold up the end.
    std::process::exit(0)
}

/// Ends at SIGINT or SIGTERM, which are caught from this call on and not only once the result is awaited.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends at Ctrl-C, which is caught from this call on.
#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

async fn end_of_stdin() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 1024];
    while matches!(stdin.read(&mut buffer).await, Ok(length) if length > 0) {}
}
