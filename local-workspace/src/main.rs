//! Runs a local Databricks workspace until it is told to stop.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use databricks_local_workspace::{Options, Running, ServicePrincipal, Workspace};
use tokio::io::AsyncReadExt;

const HELP: &str = "\
A local program that behaves like a Databricks workspace for the credentials of its clients: personal access tokens, and
OAuth with the secrets of service principals.

Usage: databricks-local-workspace [OPTIONS]

It listens on 127.0.0.1 and writes to stdout, in this form, what a client needs:

  DATABRICKS_HOST=http://127.0.0.1:PORT
  DATABRICKS_TOKEN=VALUE

and, with --service-principal, also DATABRICKS_CLIENT_ID= and DATABRICKS_CLIENT_SECRET= lines; with --tls, SSL_CERT_FILE=
and REQUESTS_CA_BUNDLE= lines. On a terminal, and with --export, the lines are commands to paste into another shell, for
one way to sign in, and stderr says what to try with them. It runs until SIGINT (Ctrl-C) or SIGTERM. The URL opened in a
browser shows what happens.

Options:
      --export                      write export lines even if stdout is not a terminal
      --port N                      port to listen on (default 0: a free one)
      --address IP                  address to listen on (default 127.0.0.1); 0.0.0.0 lets other machines in
      --host-name NAME              another host name of this workspace, for its page, its control API and its
                                    certificate (more than once for more)
      --tls                         speak TLS, with a certificate made at the start
      --tls-certificate FILE        write that certificate there; implies --tls (default: a file in a new folder of
                                    the system's folder for temporary files, removed at the end)
      --seed FILE                   start with what this JSON file says: a snapshot, or calls of the control API
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
      --clock-offset-ms N           start with the workspace's clock this far ahead (or behind, if negative)
      --exit-on-stdin-eof           stop when stdin ends, so that it never outlives the program that started it
      --verbose                     write a line to stderr for every request
  -h, --help
  -V, --version
";

/// What the arguments say besides the options of the workspace.
#[derive(Debug, Default)]
struct Run {
    export: bool,
    certificate: Option<PathBuf>,
    exit_on_stdin_eof: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let (options, how) = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error}; see --help"));
            return ExitCode::from(2);
        }
    };
    match run(options, how).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn complain(message: &str) {
    tell(&format!("databricks-local-workspace: {message}\n"));
}

/// The options and how to run, or `None` if the arguments only asked for what has been printed now.
fn arguments() -> Result<Option<(Options, Run)>, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options::default();
    let mut how = Run { export: io::stdout().is_terminal(), ..Run::default() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("export") => how.export = true,
            Long("address") => options.address = parser.value()?.parse()?,
            Long("host-name") => options.host_names.push(parser.value()?.string()?),
            Long("tls") => options.tls = true,
            Long("tls-certificate") => {
                how.certificate = Some(parser.value()?.into());
                options.tls = true;
            }
            Long("seed") => options.seed = Some(seed(Path::new(&parser.value()?))?),
            Long("port") => {
                let port = parser.value()?;
                options.port = port
                    .parse()
                    .map_err(|_| format!("--port {port:?}: expected a number from 0 to 65535"))?;
            }
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
            Long("exit-on-stdin-eof") => how.exit_on_stdin_eof = true,
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
    Ok(Some((options, how)))
}

fn seed(path: &Path) -> Result<serde_json::Value, lexopt::Error> {
    let text = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{} is not JSON: {error}", path.display()).into())
}

fn print(text: &str) -> Result<(), lexopt::Error> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| error.to_string().into())
}

async fn run(options: Options, how: Run) -> io::Result<()> {
    let (address, port) = (options.address, options.port);
    let workspace = Workspace::start(options).await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => error,
        _ => io::Error::other(format!("cannot listen on {address}:{port}: {error}")),
    })?;
    let certificate =
        workspace.certificate().map(|pem| Certificate::write(pem, how.certificate.as_deref())).transpose()?;
    let path = certificate.as_ref().map(|certificate| certificate.path.as_path());
    // Signals are caught before the lines are written, since whoever has read these may send one at once.
    let stop_signal = stop_signal()?;
    let mut stdout = io::stdout();
    let mut say = |lines: String| stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
    if how.export {
        tell(BEFORE_EXPORTS);
        say(export_lines(&workspace, path))?;
        tell(&after_exports(&workspace));
    } else {
        say(plain_lines(&workspace, path))?;
    }
    tokio::select! {
        () = stop_signal => {}
        () = end_of_stdin(), if how.exit_on_stdin_eof => {}
    }
    workspace.stop();
    drop(certificate);
    // A read of stdin that is still blocked must not hold up the end.
    std::process::exit(0)
}

/// What every way to sign in needs, for programs: lines of the form `NAME=VALUE`.
fn plain_lines(workspace: &Running, certificate: Option<&Path>) -> String {
    let started = workspace.options();
    let mut lines = format!("DATABRICKS_HOST={}\nDATABRICKS_TOKEN={}\n", workspace.url(), started.token);
    if let Some(ServicePrincipal { client_id, client_secret }) = &started.service_principal {
        lines.push_str(&format!(
            "DATABRICKS_CLIENT_ID={client_id}\nDATABRICKS_CLIENT_SECRET={client_secret}\n"
        ));
    }
    for name in certificate_variables(certificate.is_some()) {
        lines.push_str(&format!("{name}={}\n", certificate.unwrap_or(Path::new("")).display()));
    }
    lines
}

/// Commands for a shell, for one way to sign in: clients refuse to choose between two.
fn export_lines(workspace: &Running, certificate: Option<&Path>) -> String {
    let started = workspace.options();
    let mut lines = String::new();
    let mut export = |name: &str, value: &str| lines.push_str(&format!("export {name}={}\n", quoted(value)));
    export("DATABRICKS_HOST", &workspace.url());
    match &started.service_principal {
        Some(ServicePrincipal { client_id, client_secret }) => {
            export("DATABRICKS_CLIENT_ID", client_id);
            export("DATABRICKS_CLIENT_SECRET", client_secret);
        }
        None => export("DATABRICKS_TOKEN", &started.token),
    }
    for name in certificate_variables(certificate.is_some()) {
        export(name, &certificate.unwrap_or(Path::new("")).to_string_lossy());
    }
    lines
}

/// The text beside the commands does not stand among them as comments: not every shell that people paste into knows
/// comments.
const BEFORE_EXPORTS: &str = "A local Databricks workspace, until Ctrl-C. Paste this into another shell:\n\n";

const WALK: &str = r#"Then this, with Pulumi and this project's plugin (`make install`). It makes a token for 90 days,
lets 80 days pass, and sees the token replaced:

cd "$(mktemp -d)"
cat >Pulumi.yaml <<'END'
name: walk
runtime: yaml
resources:
  token:
    type: databricks:Token
    properties: { comment: walk, lifetimeSeconds: 7776000, rotateBeforeSeconds: 1209600 }
END
export PULUMI_BACKEND_URL="file://$PWD" PULUMI_CONFIG_PASSPHRASE=local
pulumi stack init dev
pulumi up --yes
curl -s "$DATABRICKS_HOST/local/control/clock" -d '{"advance_ms": 6912000000}'
pulumi up --yes
"#;

fn after_exports(workspace: &Running) -> String {
    let started = workspace.options();
    let admin = match started.service_principal {
        Some(_) => {
            format!(
                "To sign in as the admin instead of with the id and secret: DATABRICKS_TOKEN={}\n",
                started.token
            )
        }
        None => String::new(),
    };
    format!("\n{admin}In a browser: {}/\n\n{WALK}\n", workspace.url())
}

/// Writes to stderr. A failure is ignored, since nobody may be left to read it.
fn tell(text: &str) {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// The variables by which the clients of several languages find the certificates that they trust.
fn certificate_variables(tls: bool) -> &'static [&'static str] {
    if tls { &["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] } else { &[] }
}

/// A value, quoted for a shell where it has to be.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// A file with the certificate that clients are to trust. Unless the user names a path, it is in a new folder of its
/// own, which is removed when this value is dropped.
struct Certificate {
    path: PathBuf,
    folder: Option<PathBuf>,
}

impl Certificate {
    fn write(pem: &str, path: Option<&Path>) -> io::Result<Self> {
        let explain = |path: &Path, error: io::Error| {
            io::Error::other(format!("cannot write the certificate to {}: {error}", path.display()))
        };
        let folder = match path {
            Some(_) => None,
            None => {
                // The name is random, so nobody can have made the folder before; if somebody did, creating it fails.
                let name = format!("databricks-local-workspace-{:016x}", rand::random::<u64>());
                let folder = std::env::temp_dir().join(name);
                fs::create_dir(&folder).map_err(|error| explain(&folder, error))?;
                Some(folder)
            }
        };
        let path = match (&folder, path) {
            (Some(folder), _) => folder.join("certificate.pem"),
            (None, path) => std::path::absolute(path.unwrap_or(Path::new("")))?,
        };
        let certificate = Self { path, folder };
        fs::write(&certificate.path, pem).map_err(|error| explain(&certificate.path, error))?;
        Ok(certificate)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // The system removes what is left in its folder for temporary files.
            let _ = fs::remove_dir_all(folder);
        }
    }
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
