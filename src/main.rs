//! The plugin: binds a port of this machine, tells the engine which, and serves until it is asked to end.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lexopt::{Arg, ValueExt as _};
use pulumi_resource_databricks::context::{self, SystemClock};
use pulumi_resource_databricks::env::Env;
use pulumi_resource_databricks::{adopt, doctor, server};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use zeroize::Zeroizing;

const HELP: &str = "\
A Pulumi native resource provider for Databricks credentials.

The Pulumi engine starts this program by itself; nobody needs to run it by hand.
To install it, run `pulumi plugin install resource databricks VERSION --file PATH`.

Usage: pulumi-resource-databricks [OPTIONS] [ENGINE]
       pulumi-resource-databricks doctor [--stack]
       pulumi-resource-databricks import-file [OPTIONS] [FILTERS]

`doctor` says how the provider is configured, how it signs in, and what is wrong. `import-file`
writes a file for `pulumi import --file`, with values. `--help` after either says more.

Without ENGINE (host:port), it waits for an engine to attach: set
PULUMI_DEBUG_PROVIDERS=databricks:PORT for the `pulumi` command.

Options:
  -v LEVEL         what to log on stderr: 0 warnings, 1 progress, 3 or more everything
  --version        print the version
  --help           print this text
  --logtostderr, --tracing ADDRESS, and any other flag of the engine are accepted

Resources that rotate are refreshed before each update:
  PULUMI_DATABRICKS_REFRESH_BEFORE_UPDATE   `off` turns this off

Everything but credentials is passed on to the official plugin (1.x):
  PULUMI_DATABRICKS_OFFICIAL_PLUGIN   its path, or `off`; without it, the installed one
  found now: OFFICIAL
";

fn help() -> String {
    HELP.replace("OFFICIAL\n", &format!("{}\n", server::official_plugin(&Env::of_process())))
}

/// The commands that people run themselves.
const DOCTOR: &str = "doctor";
const IMPORT_FILE: &str = "import-file";

/// What the command line asks for.
enum Task {
    Serve { engine: Option<String>, verbosity: u32 },
    Examine { reads_stack: bool },
    Adopt { options: adopt::Options, reads_stack: bool, values: Option<PathBuf> },
    Print(String),
    Misused { command: &'static str, reason: String },
}

fn main() -> ExitCode {
    forbid_core_dumps();
    if std::env::args_os().nth(1).is_some_and(|first| first == server::OFFICIAL) {
        return server::run_official(std::env::args_os().skip(2));
    }
    let mut args = std::env::args_os().skip(1).peekable();
    // The engine passes an address, never one of these names.
    let task = if args.next_if(|arg| arg == DOCTOR).is_some() {
        parse_doctor(args)
    } else if args.next_if(|arg| arg == IMPORT_FILE).is_some() {
        parse_import_file(args)
    } else {
        parse(args)
    };
    let (engine, verbosity) = match task {
        Task::Serve { engine, verbosity } => (engine, verbosity),
        Task::Examine { reads_stack } => return examine(reads_stack),
        Task::Print(text) => {
            let _ = write!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Task::Adopt { options, reads_stack, values } => return adopt(options, reads_stack, values),
        Task::Misused { command, reason } => {
            return misused(command, &format!("{reason}; see {command} --help"));
        }
    };
    let (collector, traces) = server::traces(&Env::of_process()).unzip();
    log_to_stderr(verbosity, collector);
    match serve(engine, traces) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pulumi-resource-databricks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A core dump would write every credential in memory to the disk.
fn forbid_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        // Where it fails, an even lower limit is in force.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

fn parse(args: impl Iterator<Item = OsString>) -> Task {
    let (mut engine, mut verbosity) = (None, 0);
    let mut parser = lexopt::Parser::from_args(args);
    // The engine may pass flags that are newer than this program; they must not keep it from starting.
    while let Ok(Some(arg)) = parser.next() {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Task::Print(help()),
            Arg::Long("version") => return Task::Print(concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned()),
            Arg::Long("tracing") => drop(parser.value()),
            Arg::Short('v') => {
                verbosity = parser.value().ok().and_then(|level| level.to_str()?.parse().ok()).unwrap_or(1);
            }
            Arg::Value(value) => engine = value.into_string().ok().or(engine),
            Arg::Long(_) | Arg::Short(_) => drop(parser.optional_value()),
        }
    }
    Task::Serve { engine, verbosity }
}

/// Parses the command line of a person, who is told about any argument that is not understood.
fn parse_doctor(args: impl Iterator<Item = OsString>) -> Task {
    let mut reads_stack = false;
    let mut parser = lexopt::Parser::from_args(args);
    loop {
        match parser.next() {
            Ok(None) => return Task::Examine { reads_stack },
            Ok(Some(Arg::Long("help") | Arg::Short('h'))) => return Task::Print(doctor::HELP.to_owned()),
            Ok(Some(Arg::Long("stack"))) => reads_stack = true,
            Ok(Some(arg)) => {
                return Task::Misused { command: DOCTOR, reason: arg.unexpected().to_string() };
            }
            Err(error) => return Task::Misused { command: DOCTOR, reason: error.to_string() },
        }
    }
}

fn parse_import_file(args: impl Iterator<Item = OsString>) -> Task {
    let mut options = adopt::Options {
        kind: "token".to_owned(),
        filters: Vec::new(),
        stack: None,
        values: None,
        out: "import.json".into(),
    };
    let (mut reads_stack, mut values) = (false, None);
    let mut parser = lexopt::Parser::from_args(args);
    let mut read = || -> Result<bool, lexopt::Error> {
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("help") | Arg::Short('h') => return Ok(true),
                Arg::Long("stack") => reads_stack = true,
                Arg::Long("type") => options.kind = parser.value()?.string()?,
                Arg::Long("values") => values = Some(PathBuf::from(parser.value()?)),
                Arg::Long("out") => options.out = parser.value()?.into(),
                // Any other option is a filter for the list of credentials.
                Arg::Long(filter) => {
                    let filter = filter.to_owned();
                    options.filters.push((filter, parser.value()?.string()?));
                }
                // The message does not repeat it: it may be the value of a credential.
                Arg::Value(_) => {
                    return Err("this command takes options only, and values are read from a file".into());
                }
                arg => return Err(arg.unexpected()),
            }
        }
        Ok(false)
    };
    match read() {
        Ok(true) => Task::Print(adopt::HELP.to_owned()),
        Ok(false) => Task::Adopt { options, reads_stack, values },
        Err(error) => Task::Misused { command: IMPORT_FILE, reason: error.to_string() },
    }
}

/// Ends a command that cannot do what it was told to do.
fn misused(command: &str, reason: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "pulumi-resource-databricks {command}: {reason}");
    ExitCode::from(2)
}

#[tokio::main]
async fn adopt(mut options: adopt::Options, reads_stack: bool, values: Option<PathBuf>) -> ExitCode {
    let from_stdin = values.as_deref() == Some(Path::new("-"));
    if reads_stack && from_stdin {
        return misused(
            IMPORT_FILE,
            "--stack and --values - both read standard input: put the values into a file",
        );
    }
    let inputs = || -> Result<(), String> {
        if reads_stack {
            options.stack = Some(read_stack(IMPORT_FILE)?);
        }
        options.values = match values {
            Some(_) if from_stdin => {
                Some(read_stdin("--values -", "… | pulumi-resource-databricks import-file --values -")?)
            }
            Some(path) => {
                let text =
                    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                Some(Zeroizing::new(text))
            }
            None => None,
        };
        Ok(())
    };
    if let Err(reason) = inputs() {
        return misused(IMPORT_FILE, &reason);
    }
    match adopt::write(options, Env::of_process(), Arc::new(SystemClock)).await {
        Ok(text) => {
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(adopt::Failure::Misused(reason)) => misused(IMPORT_FILE, &reason),
        Err(adopt::Failure::Failed(reason)) => {
            let _ = writeln!(std::io::stderr(), "pulumi-resource-databricks {IMPORT_FILE}: {reason}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn examine(reads_stack: bool) -> ExitCode {
    let mut stdout = std::io::stdout();
    let colours = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let stack = match reads_stack.then(|| read_stack(DOCTOR)).transpose() {
        Ok(stack) => stack,
        Err(reason) => return misused(DOCTOR, &reason),
    };
    let stack = stack.as_ref().map(|stack| stack.as_str());
    match doctor::examine(stack, Env::of_process(), Arc::new(SystemClock), &mut stdout, colours).await {
        Ok(doctor::Verdict::Healthy) => ExitCode::SUCCESS,
        Ok(doctor::Verdict::Broken) => ExitCode::FAILURE,
        Ok(doctor::Verdict::Misused(reason)) => misused(DOCTOR, &reason),
        Err(error) => misused(DOCTOR, &error.to_string()),
    }
}

/// How long standard input may take to end: `pulumi config` may have to fetch the stack's key from a cloud.
const STDIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the configuration of a stack, which holds credentials, from standard input.
fn read_stack(command: &str) -> Result<Zeroizing<String>, String> {
    let pipe = format!("pulumi config --json --show-secrets | pulumi-resource-databricks {command} --stack");
    read_stdin("--stack", &pipe)
}

/// Reads standard input to its end, for an option. A terminal is refused: it would show what a person types.
fn read_stdin(option: &str, command: &str) -> Result<Zeroizing<String>, String> {
    if std::io::stdin().is_terminal() {
        return Err(format!("{option} reads from standard input: `{command}`"));
    }
    let (read, wait) = std::sync::mpsc::channel();
    // `pulumi plugin run` keeps standard input open and never writes anything to it.
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let _ = read.send(std::io::stdin().read_to_string(&mut text).map(|_| text));
    });
    match wait.recv_timeout(STDIN_TIMEOUT) {
        Ok(text) => text.map_err(|error| format!("standard input: {error}")),
        Err(_) => Err(format!(
            "standard input has not ended within {} s. `pulumi plugin run` passes nothing on: run `{command}`",
            STDIN_TIMEOUT.as_secs()
        )),
    }
}

/// Logs go to stderr, where the engine collects them: stdout is for the port alone.
fn log_to_stderr(verbosity: u32, collector: Option<server::Collector>) {
    let level = match verbosity {
        0 => tracing::Level::WARN,
        1 | 2 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    // Our own events only: what the HTTP libraries log is not known to be free of credentials.
    let own = tracing_subscriber::filter::Targets::new().with_target("pulumi_resource_databricks", level);
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let spans = tracing_subscriber::filter::Targets::new().with_target(context::SPANS, tracing::Level::INFO);
    let collector = collector.map(|collector| collector.with_filter(spans));
    tracing_subscriber::registry().with(format.with_filter(own)).with(collector).init();
    // A panic's text may quote what it stumbled over; the place in the code is enough to find the bug.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a bug of this plugin");
    }));
}

/// When an engine dies, how long after the end of standard input its connection may still seem to be there. The loss of
/// the connection has to be noticed before waits end: otherwise a call would answer to nobody, and what that answer
/// reports as created would not be undone.
const LOSS: Duration = Duration::from_millis(500);

/// How long sending the last traces may take.
const LAST_TRACES: Duration = Duration::from_secs(1);

#[tokio::main]
async fn serve(
    engine: Option<String>,
    traces: Option<server::Traces>,
) -> Result<(), Box<dyn std::error::Error>> {
    // The engine dials 127.0.0.1; from elsewhere nobody should be able to connect.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    // Whoever has read the port may send a signal at once.
    let asked_to_end = asked_to_end()?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{port}")?;
    stdout.flush()?;
    let started_by_engine = engine.is_some();
    let end_of_traces = CancellationToken::new();
    let traces = traces.map(|traces| tokio::spawn(traces.send(end_of_traces.clone())));
    server::serve(listener, Env::of_process(), Arc::new(SystemClock), engine, async move {
        tokio::select! {
            () = asked_to_end => {}
            () = engine_is_gone(), if started_by_engine => tokio::time::sleep(LOSS).await,
        }
    })
    .await?;
    end_of_traces.cancel();
    if let Some(traces) = traces {
        let _ = tokio::time::timeout(LAST_TRACES, traces).await;
    }
    Ok(())
}

/// Resolves at SIGTERM, or at SIGINT, which the engine sends at the end of every command. Both are caught from this
/// call on.
#[cfg(unix)]
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
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

/// Resolves at Ctrl-C, or at Ctrl-Break, which the engine sends at the end of every command. Both are caught from this
/// call on.
#[cfg(windows)]
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    let mut ctrl_c = tokio::signal::windows::ctrl_c()?;
    let mut ctrl_break = tokio::signal::windows::ctrl_break()?;
    Ok(async move {
        tokio::select! {
            _ = ctrl_c.recv() => {}
            _ = ctrl_break.recv() => {}
        }
    })
}

/// Resolves at the end of standard input, which comes when the engine that holds the other end dies, in whatever way.
/// No engine holds the standard input of an attached plugin.
///
/// A separate thread reads it: at the end of the process the runtime would wait for a read that it had begun itself.
async fn engine_is_gone() {
    let (gone, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = gone.send(());
    });
    let _ = wait.await;
}
