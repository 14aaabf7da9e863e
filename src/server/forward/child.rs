//! The official plugin as a child of this process: how it is started, called and ended.

use std::collections::VecDeque;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child as Process, Command};
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use super::body::Raw;
use super::find::{Plugin, VARIABLE};
use super::secrets::Accepts;
use super::{Mask, Settings, message, process, relay};
use crate::context::Clock;
use crate::server::LONGEST_MESSAGE;
use crate::server::proto::pulumirpc as pb;

/// How long the plugin may take until it answers the first call. The engine itself waits without end.
const START: Duration = Duration::from_secs(60);

/// How long it may take to end once it is asked to.
const END: Duration = Duration::from_secs(5);

/// How long to wait for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many lines of its output are kept, to say why it ended.
const LINES: usize = 20;

/// The longest first line of its output that is read.
const LONGEST_LINE: u64 = 64 << 10;

/// What every child needs from the process that it belongs to.
pub(super) struct Household {
    pub(super) clock: Arc<dyn Clock>,
    /// The tasks that see to it that children end.
    pub(super) children: TaskTracker,
    /// Cancelled when this process is asked to end: calls under way may still finish.
    pub(super) stop: CancellationToken,
    /// Cancelled when children must end.
    pub(super) end: CancellationToken,
}

/// A running plugin. It is asked to end when this is dropped.
pub(super) struct Child {
    plugin: Plugin,
    channel: Channel,
    /// What it answered to Handshake, if it knows that method.
    handshake: Option<Accepts>,
    configured: OnceCell<Accepts>,
    fate: Arc<Fate>,
    _end: DropGuard,
}

/// What has become of a child.
#[derive(Default)]
struct Fate {
    /// Cancelled when the process has ended.
    gone: CancellationToken,
    exit: OnceLock<String>,
    words: Mutex<VecDeque<String>>,
}

impl Fate {
    fn exit(&self) -> &str {
        self.exit.get().map_or("the connection broke", String::as_str)
    }

    /// The last lines that it printed.
    fn words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.is_empty() {
            return String::new();
        }
        let words: Vec<_> = words.iter().map(|line| format!("\n  {line}")).collect();
        format!(" Its last words:{}", words.concat())
    }
}

impl Child {
    /// Starts the plugin and greets it. It is not configured yet.
    pub(super) async fn start(
        plugin: Plugin,
        engine: Option<&str>,
        settings: &Settings,
        mask: &Mask,
        household: &Household,
    ) -> Result<Child, Status> {
        let fate = Arc::new(Fate::default());
        let failed = |why: String| Status::unavailable(format!("cannot start {plugin}: {why}"));
        let engine = match engine {
            Some(engine) => {
                let relay = relay::serve(engine, mask, &fate.gone).await;
                Some(relay.map_err(|error| failed(error.to_string()))?)
            }
            None => None,
        };
        let engine = engine.as_deref();
        // Linux ends the child with the thread that started it; the threads of the runtime last as long as the process.
        let mut process = std::env::current_exe()
            .and_then(|own| {
                Command::new(own)
                    .arg(process::OFFICIAL)
                    .arg(std::process::id().to_string())
                    .arg(&plugin.path)
                    .args(engine)
                    // If the child is this plugin once more, it must not start a third.
                    .env(VARIABLE, "off")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .kill_on_drop(true)
                    .spawn()
            })
            .map_err(|error| {
                fate.gone.cancel();
                failed(error.to_string())
            })?;
        let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(failed("it has no output".into()));
        };
        let mut stdout = BufReader::new(stdout);
        let end = household.end.child_token();
        let guard = end.clone().drop_guard();
        let (tell_channel, channel) = tokio::sync::oneshot::channel();
        let errors = tokio::spawn(listen(BufReader::new(stderr), Arc::clone(&fate), mask.clone()));
        let watched = watch(process, errors, channel, household.stop.clone(), end, Arc::clone(&fate));
        household.children.spawn(watched);

        let greet = async {
            let port = read_port(&mut stdout, mask).await?;
            let channel = connect(port).await;
            let handshake = greet(&channel, &plugin, engine, settings)
                .await
                .map_err(|status| status.message().to_owned());
            Ok::<_, Option<String>>((channel, handshake.map_err(|text| Some(mask.hide(&text)))?))
        };
        let (channel, handshake) = tokio::select! {
            greeted = greet => match greeted {
                Ok(greeted) => greeted,
                Err(Some(why)) => return Err(failed(why)),
                // The child's output has ended, so the child is about to end.
                Err(None) => {
                    let _ = tokio::time::timeout(LAST_WORDS, fate.gone.cancelled()).await;
                    return Err(failed(format!("it ended before it answered ({}).{}", fate.exit(), fate.words())));
                }
            },
            () = fate.gone.cancelled() => {
                return Err(failed(format!("it ended before it answered ({}).{}", fate.exit(), fate.words())));
            }
            () = household.clock.sleep(START) => {
                return Err(failed(format!("it did not answer within {} s, and was ended", START.as_secs())));
            }
        };
        let _ = tell_channel.send(channel.clone());
        tokio::spawn(listen(stdout, Arc::clone(&fate), mask.clone()));
        tracing::info!(path = %plugin.path.display(), "started {plugin}");
        Ok(Child { plugin, channel, handshake, configured: OnceCell::new(), fate, _end: guard })
    }

    pub(super) fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    pub(super) fn is_gone(&self) -> bool {
        self.fate.gone.is_cancelled()
    }

    /// Configures it with the engine's own words, once, and says which marks it takes.
    pub(super) async fn configure(&self, settings: &Settings, mask: &Mask) -> Result<Accepts, Status> {
        let configure = || async {
            let Some(configure) = &settings.configure else {
                return Err(Status::failed_precondition(
                    "the provider has not been configured: Configure was not called",
                ));
            };
            let answer = match self.call("Configure", MetadataMap::new(), configure.clone()).await {
                Ok(answer) => answer,
                Err(status) if self.is_lost(&status) => {
                    return Err(self.lost("while it was configured", "").await);
                }
                Err(status) => {
                    let why = mask.hide(status.message());
                    return Err(Status::new(
                        status.code(),
                        format!("cannot configure {}: {why}", self.plugin),
                    ));
                }
            };
            let answer = pb::ConfigureResponse::decode(answer).map_err(|error| {
                Status::internal(format!("{} answered Configure with {error}", self.plugin))
            })?;
            let configured = Accepts {
                secrets: answer.accept_secrets,
                resources: answer.accept_resources,
                outputs: answer.accept_outputs,
            };
            Ok(self.handshake.unwrap_or(configured))
        };
        self.configured.get_or_try_init(configure).await.copied()
    }

    /// Makes a call with one answer.
    pub(super) async fn call(
        &self,
        method: &str,
        metadata: MetadataMap,
        message: Bytes,
    ) -> Result<Bytes, Status> {
        call(&self.channel, method, metadata, message).await
    }

    /// Makes a call whose answers are a stream.
    pub(super) async fn stream(
        &self,
        method: &str,
        metadata: MetadataMap,
        message: Bytes,
    ) -> Result<Streaming<Bytes>, Status> {
        let mut grpc = ready(&self.channel).await?;
        let request = request(metadata, message);
        grpc.server_streaming(request, path(method)?, Raw).await.map(Response::into_inner)
    }

    /// Asks it to give up. Nobody waits for its answer.
    pub(super) fn cancel(&self) {
        tokio::spawn(cancel(self.channel.clone()));
    }

    /// Whether an error means that the plugin or its connection is gone; everything else is its answer.
    pub(super) fn is_lost(&self, status: &Status) -> bool {
        self.is_gone() || std::error::Error::source(status).is_some()
    }

    /// The error of a call that was under way when the plugin ended. `so` is what follows from that.
    pub(super) async fn lost(&self, when: &str, so: &str) -> Status {
        let _ = tokio::time::timeout(LAST_WORDS, self.fate.gone.cancelled()).await;
        let (exit, words) = (self.fate.exit(), self.fate.words());
        Status::unavailable(format!("{} ended {when} ({exit}).{so}{words}", self.plugin))
    }
}

/// Watches a process until it ends, and makes it end when it has to.
async fn watch(
    mut process: Process,
    errors: tokio::task::JoinHandle<()>,
    mut channel: tokio::sync::oneshot::Receiver<Channel>,
    stop: CancellationToken,
    end: CancellationToken,
    fate: Arc<Fate>,
) {
    let mut stdin = process.stdin.take();
    let mut cancelled = None;
    let mut cancel = move || Some(tokio::spawn(cancel(channel.try_recv().ok()?)));
    let status = loop {
        tokio::select! {
            status = process.wait() => break status,
            () = stop.cancelled(), if cancelled.is_none() => cancelled = Some(cancel()),
            () = end.cancelled() => {
                if let Some(cancelled) = cancelled.unwrap_or_else(cancel) {
                    let _ = tokio::time::timeout(LAST_WORDS, cancelled).await;
                }
                ask_to_end(&process, &mut stdin);
                break match tokio::time::timeout(END, process.wait()).await {
                    Ok(status) => status,
                    Err(_) => {
                        let _ = process.start_kill();
                        process.wait().await
                    }
                };
            }
        }
    };
    if let Ok(status) = status {
        let _ = fate.exit.set(status.to_string());
    }
    // A process that it started may hold its output open.
    let _ = tokio::time::timeout(LAST_WORDS, errors).await;
    fate.gone.cancel();
}

/// The plugin ends at SIGTERM.
#[cfg(target_os = "linux")]
fn ask_to_end(process: &Process, _: &mut Option<tokio::process::ChildStdin>) {
    use rustix::process::{Pid, Signal, kill_process};
    if let Some(id) = process.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        let _ = kill_process(id, Signal::TERM);
    }
}

/// The process that watches over the plugin ends it when stdin ends.
#[cfg(not(target_os = "linux"))]
fn ask_to_end(_: &Process, stdin: &mut Option<tokio::process::ChildStdin>) {
    drop(stdin.take());
}

/// Passes on what the plugin prints, without credentials, to stderr, where the engine collects it.
async fn listen(mut output: BufReader<impl AsyncRead + Unpin>, fate: Arc<Fate>, mask: Mask) {
    let mut line = Vec::new();
    while let Ok(length) = output.read_until(b'\n', &mut line).await {
        if length == 0 {
            break;
        }
        let text = mask.hide(String::from_utf8_lossy(&line).trim_end());
        line.clear();
        let _ = writeln!(std::io::stderr(), "{text}");
        let mut words = fate.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == LINES {
            words.pop_front();
        }
        words.push_back(text);
    }
}

/// The port, which is the first line of the output. An error without an explanation means that the output has ended.
async fn read_port(
    stdout: &mut BufReader<impl AsyncRead + Unpin>,
    mask: &Mask,
) -> Result<u16, Option<String>> {
    let mut line = Vec::new();
    let read = stdout.take(LONGEST_LINE).read_until(b'\n', &mut line).await;
    let line = String::from_utf8_lossy(&line);
    match line.trim().parse() {
        Ok(port) => Ok(port),
        Err(_) if line.is_empty() || read.is_err() => Err(None),
        Err(_) => {
            let said: String = mask.hide(line.trim()).chars().take(200).collect();
            Err(Some(format!("it is not a Pulumi plugin: its first line should be a port, and is `{said}`")))
        }
    }
}

/// Connects, with as many attempts as that takes.
async fn connect(port: u16) -> Channel {
    loop {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"));
        if let Ok(endpoint) = endpoint
            && let Ok(channel) = endpoint.tcp_nodelay(true).initial_stream_window_size(WINDOW).connect().await
        {
            return channel;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How much of an answer may be on its way: schemas are long.
const WINDOW: u32 = 4 << 20;

/// Tells the child what the engine told this plugin. Its answer says which marks it takes; older ones know no
/// Handshake.
async fn greet(
    channel: &Channel,
    plugin: &Plugin,
    engine: Option<&str>,
    settings: &Settings,
) -> Result<Option<Accepts>, Status> {
    let engine = || Some(engine?.as_bytes().to_vec());
    let mut accepts = None;
    if let Some(handshake) = &settings.handshake {
        // Root and program are the folder of the plugin itself.
        let folder = plugin.path.parent().and_then(|folder| folder.to_str());
        let handshake = message::replace(handshake, |number, _| match number {
            1 => engine(),
            2 | 3 => Some(folder?.as_bytes().to_vec()),
            _ => None,
        });
        accepts = match call(channel, "Handshake", MetadataMap::new(), handshake.into()).await {
            Ok(answer) => {
                let answer = pb::ProviderHandshakeResponse::decode(answer)
                    .map_err(|error| Status::internal(error.to_string()))?;
                Some(Accepts {
                    secrets: answer.accept_secrets,
                    resources: answer.accept_resources,
                    outputs: answer.accept_outputs,
                })
            }
            Err(status) if status.code() == Code::Unimplemented => None,
            Err(status) => return Err(status),
        };
    }
    if let Some(attach) = &settings.attach {
        let attach = message::replace(attach, |number, _| if number == 1 { engine() } else { None });
        call(channel, "Attach", MetadataMap::new(), attach.into()).await?;
    }
    Ok(accepts)
}

async fn cancel(channel: Channel) {
    let _ = call(&channel, "Cancel", MetadataMap::new(), Bytes::new()).await;
}

async fn call(
    channel: &Channel,
    method: &str,
    metadata: MetadataMap,
    message: Bytes,
) -> Result<Bytes, Status> {
    let mut grpc = ready(channel).await?;
    grpc.unary(request(metadata, message), path(method)?, Raw).await.map(Response::into_inner)
}

pub(super) async fn ready(channel: &Channel) -> Result<Grpc<Channel>, Status> {
    let mut grpc = Grpc::new(channel.clone())
        .max_decoding_message_size(LONGEST_MESSAGE)
        .max_encoding_message_size(LONGEST_MESSAGE);
    grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    Ok(grpc)
}

pub(super) fn request(metadata: MetadataMap, message: Bytes) -> Request<Bytes> {
    let mut request = Request::new(message);
    *request.metadata_mut() = metadata;
    request
}

fn path(method: &str) -> Result<PathAndQuery, Status> {
    PathAndQuery::try_from(format!("{}{method}", super::PREFIX))
        .map_err(|error| Status::internal(error.to_string()))
}
