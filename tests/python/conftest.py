"""What the tests share: the programs under test, a workspace, a raw client of the plugin, and an engine of their own.

The programs come from these variables, which scripts/test.sh sets; the defaults are what `cargo build --workspace` and
scripts/engine.sh make:

    PLUGIN_BIN            pulumi-resource-databricks
    LOCAL_WORKSPACE_BIN   databricks-local-workspace
    ENGINE_BIN_DIR        folder of pulumi and pulumi-language-yaml

Fixtures: `workspace` (a LocalWorkspace as new), `plugin` (starts Plugins), `provider` (a configured Provider of one
Plugin), `pulumi` (an isolated Pulumi with projects of its own). What a test starts is stopped after it.
"""

import collections
import contextlib
import dataclasses
import errno
import functools
import hashlib
import http.server
import json
import os
import pathlib
import queue
import re
import shlex
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
import warnings
from concurrent import futures

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2, struct_pb2
from google.rpc import status_pb2
from pulumi import automation
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKEN_TYPE = "databricks:index/token:Token"
OBO_TOKEN_TYPE = "databricks:index/oboToken:OboToken"
SECRET_TYPE = "databricks:index/servicePrincipalSecret:ServicePrincipalSecret"
CREDENTIAL_TYPES = (TOKEN_TYPE, OBO_TOKEN_TYPE, SECRET_TYPE)

# Errors with status 404 that say nothing of the credential that was asked for.
about_something_else = pytest.mark.parametrize(
    ("code", "message"),
    [("RESOURCE_DOES_NOT_EXIST", "Workspace 111 does not exist"), ("ENDPOINT_NOT_FOUND", "No API found")],
    ids=["another thing", "no such API"],
)

# Bookkeeping in the state of a Token: who created it.
CREATED_BY = ["__createdById", "__createdByUsername"]

# Every value that the local workspace mints looks so.
TOKEN_VALUE = re.compile(r"dapi[0-9a-f]{32}")
SECRET_VALUE = re.compile(r"dose[0-9a-f]{32}")
ANY_VALUE = re.compile(f"{TOKEN_VALUE.pattern}|{SECRET_VALUE.pattern}")

# At -v=9 the engine itself logs every value that it sends or receives, for any plugin.
ENGINE_TRACE = re.compile(r'^\{"time":[^{]*"msg":"(Unm|M)arshaling property for RPC\[.*$', re.MULTILINE)


# Tests change the environment of this process.
_ENVIRONMENT = dict(os.environ)


def _program(variable, default):
    """The absolute path of a program or folder that the tests need; its absence is an error and skips nothing."""
    path = pathlib.Path(_ENVIRONMENT.get(variable, ROOT / default)).absolute()
    if not path.exists():
        raise pytest.UsageError(f"{path} does not exist: build it (scripts/test.sh does), or set {variable}")
    return path


def plugin_bin():
    return _program("PLUGIN_BIN", "target/debug/pulumi-resource-databricks")


def local_workspace_bin():
    return _program("LOCAL_WORKSPACE_BIN", "target/debug/databricks-local-workspace")


def engine_bin_dir():
    return _program("ENGINE_BIN_DIR", "target/engine/bin")


class _Popen(subprocess.Popen):
    """Starts a program once more if a machine under load could not.

    Virtual machines were seen to refuse one of ten thousand starts with EFAULT. That the program has not begun makes
    this safe, and the warning makes it visible.
    """

    _refusals = (errno.EAGAIN, errno.EFAULT, errno.ENOMEM)

    def __init__(self, args, *rest, **options):
        try:
            super().__init__(args, *rest, **options)
        except OSError as error:
            if error.errno not in self._refusals:
                raise
            warnings.warn(f"this machine could not start {args}: {error}; starting it once more", stacklevel=2)
            time.sleep(1)
            super().__init__(args, *rest, **options)


# So that it holds for subprocess.run, and for the libraries that start programs, too.
subprocess.Popen = _Popen


def clean_environment(home):
    """What a program under test sees of this environment: nothing that could lead it to another workspace or stack."""
    keep = ("LANG", "TZ", "TMPDIR", "SSL_CERT_FILE")
    variables = {name: _ENVIRONMENT[name] for name in keep if name in _ENVIRONMENT}
    return variables | {"HOME": str(home), "PATH": "/usr/bin:/bin", "NO_PROXY": "127.0.0.1,localhost"}


def wait_for(condition, seconds=60.0, what="the condition"):
    """Waits until `condition()` is true and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)
    return value


# --- The local workspace ---


class LocalWorkspace:
    """A running local workspace: its REST API with any credential, and its control API."""

    # A proxy of this environment cannot reach it.
    _opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [local_workspace_bin(), "--service-principal", "--exit-on-stdin-eof", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [self.process.stdout.readline().strip() for _ in range(4)]
        if not all("=" in line for line in lines):
            self.stop()
            raise AssertionError(f"the local workspace did not print its address, but {lines}")
        self.variables = dict(line.split("=", 1) for line in lines)
        self.host = self.variables["DATABRICKS_HOST"]
        self.token = self.variables["DATABRICKS_TOKEN"]
        self.workspace_id = self.control("/state")["workspace_id"]

    def stop(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def call(self, method, path, body=None, token=None):
        """Status and JSON of an answer. `token` is sent as Bearer if given."""
        request = urllib.request.Request(
            self.host + path, data=None if body is None else json.dumps(body).encode(), method=method
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with self._opener.open(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def control(self, path, body=None, method=None):
        method = method or ("GET" if body is None else "POST")
        status, answer = self.call(method, "/local/control" + path, body)
        assert status == 200, f"{method} /local/control{path}: {status} {answer}"
        return answer

    def reset(self):
        self.control("/reset", {})

    def tokens(self):
        """Every token ever made, oldest first; see `GET /local/control/state`."""
        return self.control("/state")["tokens"]

    def live(self):
        """Ids of the tokens that work."""
        return [token["id"] for token in self.tokens() if token["live"]]

    def accepts(self, value):
        """Whether a token value opens the workspace's API."""
        return self.call("GET", "/api/2.0/preview/scim/v2/Me", token=value)[0] == 200

    def mint(self, **fields):
        """Creates a token past the plugin; (id, value)."""
        status, answer = self.call("POST", "/api/2.0/token/create", fields, token=self.token)
        assert status == 200, answer
        return answer["token_info"]["token_id"], answer["token_value"]

    def revoke(self, token_id):
        self.control(f"/tokens/{token_id}/revoke", {})

    def revoke_later(self, token_id):
        """Revokes a token a minute from now: a new one would be looked for a while, since lists may lag behind a create."""
        self.advance(60)
        self.revoke(token_id)

    def advance(self, seconds):
        """Moves the workspace's clock, which is not that of the plugin."""
        self.control("/clock", {"advance_ms": int(seconds * 1000)})

    def fault(self, path, action, **match):
        """Scripts a fault for requests whose path contains `path`."""
        self.control("/faults", {"match": {"path": path, **match}, "action": action})

    def requests(self, path="", method=None):
        """The logged requests whose path contains `path`, in order of arrival."""
        return [
            entry
            for entry in self.control("/requests")["requests"]
            if path in entry["path"] and method in (None, entry["method"])
        ]

    def operations(self):
        """The token calls so far, such as ["create", "delete"]; lists are left out, since any call may list."""
        names = []
        for entry in self.requests("/api/2.0/token/"):
            last = entry["path"].rsplit("/", 1)[1]
            if last != "list":
                names.append("update" if entry["method"] == "PATCH" else last)
        return names

    def forget_requests(self):
        self.control("/requests", method="DELETE")


@pytest.fixture(scope="session")
def _workspace_process():
    process = LocalWorkspace()
    yield process
    process.stop()


@pytest.fixture
def workspace(_workspace_process):
    """A local workspace without tokens, faults or requests."""
    _workspace_process.reset()
    return _workspace_process


# --- The plugin over gRPC ---

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def secret(value):
    """A value marked as secret, as it is on the wire."""
    return {SIGNATURE: SECRET_SIGNATURE, "value": value}


def is_secret(value):
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET_SIGNATURE


def struct(values):
    """A protobuf struct of a dict; None stays absent."""
    if values is None:
        return None
    message = struct_pb2.Struct()
    message.update(values)
    return message


def plain(message):
    """The dict of a protobuf struct. A value without a kind, which crashes the engine, fails the test."""

    def value(wire):
        kind = wire.WhichOneof("kind")
        assert kind, "a value without a kind"
        if kind == "struct_value":
            return plain(wire.struct_value)
        if kind == "list_value":
            return [value(item) for item in wire.list_value.values]
        return None if kind == "null_value" else getattr(wire, kind)

    return {name: value(wire) for name, wire in message.fields.items()}


class FakeEngine(engine_pb2_grpc.EngineServicer):
    """Serves pulumirpc.Engine and keeps what the plugin logs: (severity name, urn, message, ephemeral)."""

    def __init__(self):
        self.messages = []
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        engine_pb2_grpc.add_EngineServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def Log(self, request, context):
        severity = engine_pb2.LogSeverity.Name(request.severity)
        self.messages.append((severity, request.urn, request.message, request.ephemeral))
        return empty_pb2.Empty()

    def stop(self):
        self.server.stop(grace=None)


class Plugin:
    """A running plugin process. `engine` is the address that it gets on its command line; None: attach mode."""

    def __init__(self, home, *arguments, engine=None, env=None, stdin=subprocess.PIPE):
        arguments = [*arguments, *([engine] if engine else [])]
        self.process = subprocess.Popen(
            [plugin_bin(), *arguments],
            env=clean_environment(home) | (env or {}),
            cwd=home,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.channels = []
        self.output = {"stdout": [], "stderr": []}
        lines = queue.Queue()
        self.readers = []
        for name in self.output:
            reader = threading.Thread(target=self._read, args=(name, lines), daemon=True)
            reader.start()
            self.readers.append(reader)
        try:
            first = lines.get(timeout=60)
            self.port = int(first)
        except (queue.Empty, ValueError) as error:
            self.stop()
            pytest.fail(f"the plugin did not print its port ({error!r}); stderr: {self.stderr}")

    def _read(self, name, lines):
        for line in getattr(self.process, name):
            self.output[name].append(line)
            if name == "stdout":
                lines.put(line)

    @property
    def stdout(self):
        return "".join(self.output["stdout"])

    @property
    def stderr(self):
        return "".join(self.output["stderr"])

    def connect(self):
        """A client with a connection of its own: one provider instance, as far as the plugin is concerned."""
        channel = grpc.insecure_channel(
            f"127.0.0.1:{self.port}",
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ],
        )
        self.channels.append(channel)
        return Provider(channel)

    def stop(self):
        for channel in self.channels:
            channel.close()
        self.process.kill()
        self.process.wait(timeout=60)
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        for reader in self.readers:
            reader.join(timeout=60)
        self.process.stdout.close()
        self.process.stderr.close()


class Provider:
    """A client of pulumirpc.ResourceProvider that speaks dicts; `stub` is the raw one. Errors are grpc.RpcError."""

    URN = f"urn:pulumi:test::test::{TOKEN_TYPE}::t"
    TIMEOUT = 60

    def __init__(self, channel):
        self.stub = provider_pb2_grpc.ResourceProviderStub(channel)

    def handshake(self, engine_address="", **fields):
        return self.stub.Handshake(
            provider_pb2.ProviderHandshakeRequest(engine_address=engine_address, **fields), timeout=self.TIMEOUT
        )

    def attach(self, address):
        self.stub.Attach(plugin_pb2.PluginAttach(address=address), timeout=self.TIMEOUT)

    def check_config(self, news, olds=None):
        """(inputs, [(property, reason)])"""
        return self._checked(
            self.stub.CheckConfig(
                provider_pb2.CheckRequest(news=struct(news), olds=struct(olds or {})), timeout=self.TIMEOUT
            )
        )

    def configure(self, **arguments):
        """Configures with these properties, such as host and token."""
        return self.stub.Configure(
            provider_pb2.ConfigureRequest(args=struct(arguments), acceptSecrets=True, acceptResources=True),
            timeout=self.TIMEOUT,
        )

    def check(self, news, olds=None, urn=URN):
        """(inputs, [(property, reason)])"""
        return self._checked(
            self.stub.Check(
                provider_pb2.CheckRequest(urn=urn, news=struct(news), olds=struct(olds or {})), timeout=self.TIMEOUT
            )
        )

    @staticmethod
    def _checked(response):
        failures = [(failure.property, failure.reason) for failure in response.failures]
        assert response.HasField("inputs") or failures, "a reply without inputs crashes the engine"
        return plain(response.inputs), failures

    def diff(self, token_id, news, old_inputs, outputs, urn=URN, ignore=()):
        return self.stub.Diff(
            provider_pb2.DiffRequest(
                id=token_id,
                urn=urn,
                olds=struct(outputs),
                news=struct(news),
                old_inputs=struct(old_inputs),
                ignoreChanges=ignore,
            ),
            timeout=self.TIMEOUT,
        )

    def create(self, inputs, preview=False, timeout=0, urn=URN):
        """(id, outputs)"""
        response = self.stub.Create(
            provider_pb2.CreateRequest(urn=urn, properties=struct(inputs), preview=preview, timeout=timeout),
            timeout=self.TIMEOUT,
        )
        return response.id, plain(response.properties)

    def read(self, token_id, inputs=None, outputs=None, urn=URN):
        """The raw response. Without inputs and outputs it is an import."""
        return self.stub.Read(
            provider_pb2.ReadRequest(id=token_id, urn=urn, inputs=struct(inputs), properties=struct(outputs)),
            timeout=self.TIMEOUT,
        )

    def update(self, token_id, news, old_inputs, outputs, preview=False, urn=URN):
        response = self.stub.Update(
            provider_pb2.UpdateRequest(
                id=token_id,
                urn=urn,
                olds=struct(outputs),
                news=struct(news),
                old_inputs=struct(old_inputs),
                preview=preview,
            ),
            timeout=self.TIMEOUT,
        )
        return plain(response.properties)

    def delete(self, token_id, inputs, outputs, urn=URN):
        self.stub.Delete(
            provider_pb2.DeleteRequest(id=token_id, urn=urn, properties=struct(outputs), old_inputs=struct(inputs)),
            timeout=self.TIMEOUT,
        )

    def list(self, token=TOKEN_TYPE, **fields):
        """[(id, name)]"""
        replies = self.stub.List(provider_pb2.ListRequest(token=token, **fields), timeout=self.TIMEOUT)
        return [(reply.result.id, reply.result.name) for reply in replies if reply.HasField("result")]

    def invoke(self, function, arguments=None, preview=False):
        """What a function answers."""
        response = self.stub.Invoke(
            provider_pb2.InvokeRequest(tok=function, args=struct(arguments or {}), preview=preview), timeout=self.TIMEOUT
        )
        assert not response.failures
        return plain(getattr(response, "return"))

    def cancel(self):
        self.stub.Cancel(empty_pb2.Empty(), timeout=self.TIMEOUT)


def init_failed(error):
    """(google.rpc.Status, ErrorResourceInitFailed) of an error that came with the resource it left incomplete."""
    (raw,) = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    status = status_pb2.Status.FromString(raw)
    (detail,) = status.details
    assert detail.type_url == "type.googleapis.com/pulumirpc.ErrorResourceInitFailed"
    return status, provider_pb2.ErrorResourceInitFailed.FromString(detail.value)


@pytest.fixture
def fake_engine():
    engine = FakeEngine()
    yield engine
    engine.stop()


@pytest.fixture
def plugin(tmp_path):
    """Starts plugins: plugin(*arguments, engine=None, env=None, stdin=PIPE). Each is killed after the test."""
    with contextlib.ExitStack() as started:

        def start(*arguments, **options):
            process = Plugin(tmp_path, *arguments, **options)
            started.callback(process.stop)
            return process

        yield start


@pytest.fixture
def provider(plugin, workspace, fake_engine):
    """A Provider that signs in to `workspace`; what it logs is in `fake_engine.messages`."""
    client = plugin(engine=fake_engine.address).connect()
    client.handshake(engine_address=fake_engine.address)
    client.configure(host=workspace.host, token=secret(workspace.token))
    return client


# --- The real engine ---


class _Vault(http.server.BaseHTTPRequestHandler):
    """As much of Vault as keeps the key of a stack, and hands it out as it came."""

    def do_PUT(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        way = {"encrypt": ("plaintext", "ciphertext"), "decrypt": ("ciphertext", "plaintext")}
        given, wanted = way[self.path.split("/")[3]]
        answer = json.dumps({"data": {wanted: sent[given]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Nobody reads it."""


@functools.cache
def _vault():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Vault)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


# Who encrypts the secrets of a state. With a passphrase, every command takes a quarter of a second to make a key of it.
SECRETS_PROVIDER = "hashivault://tests"


def engine_environment():
    """What every engine of the tests is told: to use nothing but what it is given, and to be quick about it."""
    return {
        "PULUMI_CONFIG_PASSPHRASE": "passphrase",
        "VAULT_SERVER_URL": _vault(),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # A command ends before collecting garbage would pay.
        "GOGC": "off",
        "GOMEMLIMIT": "1GiB",
    }


def state_of(state_dir, project_dir, stack):
    """The deployment in the file of a stack."""
    project = yaml.safe_load((project_dir / "Pulumi.yaml").read_text(encoding="utf-8"))["name"]
    file = state_dir / ".pulumi" / "stacks" / project / f"{stack}.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {"version": kept["version"], "deployment": kept["checkpoint"]["latest"] or {}}


@dataclasses.dataclass
class Result:
    """What a `pulumi` command did."""

    command: str
    code: int
    stdout: str
    stderr: str
    events: list

    @property
    def text(self):
        return self.stdout + self.stderr

    def __str__(self):
        return f"$ {self.command}\n{self.stdout}{self.stderr}(exit status {self.code})"

    def _steps(self, kind):
        """What happened to credentials; the refresh before an update of what rotates is no step of its own."""
        steps = [event[kind]["metadata"] for event in self.events if kind in event]
        is_refresh = self.command.startswith("pulumi refresh ")
        return [
            step for step in steps if step["type"] in CREDENTIAL_TYPES and (is_refresh or step["op"] != "refresh")
        ]

    @property
    def changes(self):
        """What happened to how many credentials, such as {"create": 1}; stacks and providers don't count."""
        counts = {}
        for step in self._steps("resourcePreEvent"):
            counts[step["op"]] = counts.get(step["op"], 0) + 1
        return counts

    def step(self, op=None):
        """The one step of the one token, or the one of that operation."""
        found = [step for step in self._steps("resourcePreEvent") if op in (None, step["op"])]
        assert len(found) == 1, f"not one step: {[step['op'] for step in found]}"
        return found[0]

    def planned(self):
        """The outputs of the one token as the engine knew them in the end. Unknown ones are UNKNOWN; secrets are there
        as secrets, without their value."""
        (step,) = self._steps("resOutputsEvent")
        return step["new"]["outputs"]

    @property
    def diagnostics(self):
        """(severity, message) of what the engine told the user, without colours."""
        return [
            (event["diagnosticEvent"]["severity"], re.sub(r"<\{%[^%]*%\}>", "", event["diagnosticEvent"]["message"]))
            for event in self.events
            if "diagnosticEvent" in event and not event["diagnosticEvent"].get("ephemeral")
        ]


class Pulumi:
    """The real `pulumi` with a home, a state and a project of its own. Sees no environment but this one's."""

    def __init__(self, scratch, env):
        self.project_dir = scratch / "project"
        self.state_dir = scratch / "state"
        self.event_log = scratch / "events.json"
        self.results = []
        for folder in (self.project_dir, self.state_dir):
            folder.mkdir(parents=True)
        self.env = clean_environment(scratch) | {
            "PATH": f"{engine_bin_dir()}:/usr/bin:/bin",
            "PULUMI_HOME": str(scratch / "pulumi-home"),
            "PULUMI_BACKEND_URL": f"file://{self.state_dir}",
            # Only the plugin under test may answer, and none from PATH.
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            # Makes --event-log known.
            "PULUMI_DEBUG_COMMANDS": "true",
            # The stack of commands that are not told one.
            "PULUMI_STACK": "test",
            **engine_environment(),
            **env,
        }

    def write(self, resources=None, outputs=None, runtime="yaml", config=None):
        """Writes the project: a YAML program, or the frame of a program in another language."""
        project = {
            "name": "test",
            "runtime": runtime,
            "plugins": {"providers": [{"name": "databricks", "path": str(plugin_bin().parent)}]},
        }
        if resources is not None:
            project["resources"] = resources
        if outputs is not None:
            project["outputs"] = outputs
        if config is not None:
            project["config"] = config
        (self.project_dir / "Pulumi.yaml").write_text(yaml.safe_dump(project), encoding="utf-8")

    def token(self, properties=None, options=None, **write):
        """Writes a YAML program with one token named `t`, and its id and value as outputs."""
        resource = {"type": "databricks:Token", "properties": properties or {}}
        if options:
            resource["options"] = options
        self.write({"t": resource}, {"id": "${t.id}", "value": "${t.tokenValue}"}, **write)

    def credential(self, type, properties=None, options=None, **write):
        """Writes a YAML program with one credential of another type named `t`, and its id and value as outputs."""
        resource = {"type": type, "properties": properties or {}}
        if options:
            resource["options"] = options
        value = "secret" if type == SECRET_TYPE else "tokenValue"
        self.write({"t": resource}, {"id": "${t.id}", "value": f"${{t.{value}}}"}, **write)

    # What `stack init` makes of a project named `test`, for the next one: it is the same each time.
    _made = None

    def init(self):
        """Makes the stack."""
        settings, state = self.project_dir / "Pulumi.test.yaml", self.state_dir / ".pulumi"
        named_test = yaml.safe_load((self.project_dir / "Pulumi.yaml").read_text(encoding="utf-8"))["name"] == "test"
        if not named_test or not Pulumi._made:
            self.run("stack", "init", "test", "--secrets-provider", SECRETS_PROVIDER)
            if named_test:
                files = [settings, *(path for path in state.rglob("*") if path.is_file())]
                Pulumi._made = [(path.relative_to(self.project_dir.parent), path.read_bytes()) for path in files]
            return
        for path, content in Pulumi._made:
            path = self.project_dir.parent / path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(self, *arguments, ok=True, env=None, timeout=120):
        """Runs a command. `ok` says whether it must succeed (True), must fail (False), or may do either (None)."""
        command = ["pulumi", *map(str, arguments), "--non-interactive", "--color", "never"]
        process = subprocess.Popen(
            command,
            executable=engine_bin_dir() / "pulumi",
            env=self.env | (env or {}),
            cwd=self.project_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            pytest.fail(f"no end after {timeout} s: {shlex.join(command)}\n{stdout}{stderr}", pytrace=False)
        events = []
        if self.event_log.exists():
            events = [json.loads(line) for line in self.event_log.read_text(encoding="utf-8").splitlines()]
            self.event_log.unlink()
        result = Result(shlex.join(command), process.returncode, stdout, stderr, events)
        self.results.append(result)
        if ok is not None and (process.returncode == 0) != ok:
            pytest.fail(f"expected it to {'succeed' if ok else 'fail'}:\n{result}", pytrace=False)
        # The engine ends with status 0 when a plugin ended too early.
        assert "exited prematurely" not in result.text, str(result)
        return result

    def operate(self, operation, *arguments, **options):
        return self.run(operation, "--stack", "test", "--event-log", self.event_log, *arguments, **options)

    def preview(self, *arguments, **options):
        return self.operate("preview", "--diff", *arguments, **options)

    def up(self, *arguments, **options):
        return self.operate("up", "--yes", "--skip-preview", *arguments, **options)

    def refresh(self, *arguments, **options):
        return self.operate("refresh", "--yes", "--skip-preview", *arguments, **options)

    def destroy(self, *arguments, **options):
        return self.operate("destroy", "--yes", "--skip-preview", *arguments, **options)

    def unchanged(self, *arguments):
        """Asserts that the program as it stands changes nothing."""
        result = self.up("--expect-no-changes", *arguments)
        assert set(result.changes) <= {"same"}, str(result)
        return result

    def outputs(self):
        """The stack's outputs, secrets in the clear. Not among `results`, so that these can be searched for secrets."""
        self.run("stack", "output", "--json", "--show-secrets", "--stack", "test")
        return json.loads(self.results.pop().stdout)

    def export(self, show_secrets=False):
        """The deployment of the stack, as `stack export` prints it. Without its secrets it lies on the disk like that."""
        if show_secrets:
            self.run("stack", "export", "--stack", "test", "--show-secrets")
            return json.loads(self.results.pop().stdout)
        return state_of(self.state_dir, self.project_dir, "test")

    def resource(self, show_secrets=False):
        """The one credential in the state, or None."""
        resources = self.export(show_secrets)["deployment"].get("resources") or []
        found = [resource for resource in resources if resource["type"] in CREDENTIAL_TYPES and not resource.get("delete")]
        assert len(found) <= 1, found
        return found[0] if found else None

    def edit_state(self, edit):
        """Changes the state: `edit` gets the credential's resource, secrets in the clear."""
        exported = self.export(show_secrets=True)
        (resource,) = [it for it in exported["deployment"]["resources"] if it["type"] in CREDENTIAL_TYPES]
        edit(resource)
        self.import_state(exported)

    def import_state(self, exported):
        path = self.project_dir.parent / "import.json"
        path.write_text(json.dumps(exported), encoding="utf-8")
        self.run("stack", "import", "--stack", "test", "--file", path)
        path.unlink()

    def leaks(self, *more):
        """Values of tokens and secrets in anything that a command printed or that lies on the disk, and where."""
        found = []
        for result in self.results:
            text = ENGINE_TRACE.sub("", result.text) + json.dumps(result.events)
            found += [(value, result.command) for value in ANY_VALUE.findall(text)]
        scratch = self.project_dir.parent
        for path in scratch.rglob("*"):
            # The program is the test's own, which may state the secret that its provider signs in with.
            if path.is_file() and not path.is_symlink() and path != self.project_dir / "Pulumi.yaml":
                text = path.read_bytes().decode("utf-8", errors="replace")
                found += [(value, str(path.relative_to(scratch))) for value in ANY_VALUE.findall(text)]
        for text in more:
            found += [(value, "the given text") for value in ANY_VALUE.findall(text)]
        return found


@functools.cache
def _pulumi_command():
    """It asks the engine for its version, once."""
    return automation.PulumiCommand(root=str(engine_bin_dir().parent))


class PythonProgram:
    """An inline program of the Automation API on the project of a Pulumi. The results of its operations have
    `summary.resource_changes`, as the SDK gives them; all output is kept in `output`."""

    def __init__(self, pulumi, program):
        pulumi.write(runtime="python")
        self.output = []
        self.events = []
        self.stack = automation.create_or_select_stack(
            stack_name="test",
            project_name="test",
            program=program,
            opts=automation.LocalWorkspaceOptions(
                work_dir=str(pulumi.project_dir),
                pulumi_home=pulumi.env["PULUMI_HOME"],
                pulumi_command=_pulumi_command(),
                secrets_provider=SECRETS_PROVIDER,
            ),
        )

    def program(self, program):
        """Goes on with another program on the same stack."""
        self.stack.workspace.program = program

    def _operate(self, operation, **options):
        self.events = []
        return operation(on_output=self.output.append, on_event=self.events.append, **options)

    def preview(self, **options):
        return self._operate(self.stack.preview, **options)

    def up(self, **options):
        return self._operate(self.stack.up, **options)

    def refresh(self, **options):
        return self._operate(self.stack.refresh, **options)

    def destroy(self, **options):
        return self._operate(self.stack.destroy, **options)

    def unchanged(self):
        return self.up(expect_no_changes=True)


@pytest.fixture
def pulumi(tmp_path, workspace):
    """An isolated Pulumi whose plugin signs in to `workspace` by environment variables. After the test, no value of a
    token may stand in anything that it printed or stored."""
    env = {"DATABRICKS_HOST": workspace.host, "DATABRICKS_TOKEN": workspace.token}
    it = Pulumi(tmp_path / "pulumi", env)
    yield it
    assert not it.leaks(), f"token values in the clear: {it.leaks()}"


@pytest.fixture
def python_program(pulumi, monkeypatch):
    """Starts inline programs: python_program(function). The engine runs with the environment of `pulumi`."""
    # The Automation API adds to the environment of this process, so that one has to be clean.
    for name in list(os.environ):
        if name not in ("PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID"):
            monkeypatch.delenv(name)
    for name, value in pulumi.env.items():
        monkeypatch.setenv(name, value)
    programs = []

    def start(program):
        programs.append(PythonProgram(pulumi, program))
        return programs[-1]

    yield start
    leaks = pulumi.leaks(*(text for program in programs for text in program.output))
    assert not leaks, f"token values in the clear: {leaks}"


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long, though it needs no engine")
    config.addinivalue_line("markers", "waits: waits for a minute or more; its file begins first, and others run beside it")
    config.addinivalue_line("markers", "quick: needs neither an engine nor a language (set by itself); what `make check` runs")


# Who uses one of these needs an engine, a language or what others published.
_ENGINE_FIXTURES = {"pulumi", "python_program", "example", "worker"}
_ENGINE_NAMES = {"Pulumi", "engine_bin_dir", "copy_example"}


def pytest_collection_modifyitems(items):
    """A test that hangs fails; the slowest ones take some 20 s on a small machine."""
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(240))
        needs = _ENGINE_FIXTURES & set(item.fixturenames) or _ENGINE_NAMES & set(vars(item.module))
        if not needs and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.quick)
    # Files with many tests come before those with few, so that none of the long ones is left for the end.
    tests = collections.Counter(item.path for item in items)
    waits = {item.path for item in items if item.get_closest_marker("waits")}
    items.sort(key=lambda item: (item.path not in waits, -tests[item.path], item.path))


def pytest_terminal_summary(terminalreporter):
    """Says how long the tests of each Pulumi language took. Several run at once, so the sum is more than the time."""
    seconds = {}
    language = re.compile(r"test_(?:languages|sdk_packages)\.py::.*[_[](yaml|python|typescript|go|java|csharp)(?=[]_]|$)")
    for report in sum(terminalreporter.stats.values(), []):
        if isinstance(report, pytest.TestReport) and (name := language.search(report.nodeid)):
            seconds[name[1]] = seconds.get(name[1], 0) + report.duration
    for name, took in sorted(seconds.items(), key=lambda it: -it[1]):
        terminalreporter.write_line(f"{name}: {took:.0f} s")


def fingerprint(value):
    """The id of a token by its value, as the workspace makes it."""
    return hashlib.sha256(value.encode()).hexdigest()
