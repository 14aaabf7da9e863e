"""What the tests of dropping in for the official provider share: stacks, and the official SDKs that run them."""

import atexit
import contextlib
import fcntl
import json
import pathlib
import select
import shutil
import subprocess
import sys
import threading

import yaml
from conftest import (
    ROOT, SECRETS_PROVIDER, LocalWorkspace, Plugin, Provider, clean_environment, engine_bin_dir,
    engine_environment, is_secret, plain, plugin_bin, state_of, struct,
)
from pulumi.runtime.proto import provider_pb2 as pb

DATA = ROOT / "tests" / "dropin"
BUILT = ROOT / "target" / "dropin"
TOKEN = "databricks:index/token:Token"


class Workspace(LocalWorkspace):
    """A local workspace, with what stacks need of it."""

    def by_id(self):
        return {token["id"]: token for token in self.tokens()}

    def environment(self):
        return {"DATABRICKS_HOST": self.host, "DATABRICKS_TOKEN": self.token}


@contextlib.contextmanager
def workspace(*options):
    it = Workspace(*options)
    try:
        yield it
    finally:
        it.stop()


def link(folder, *programs):
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs:
        target = folder / pathlib.Path(program).name
        if not target.exists():
            target.symlink_to(program)
    return folder


def base_environment(folder, *programs):
    """An environment with nothing from the machine: only these programs on PATH, and a home of its own."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    return clean_environment(home) | {
        "PATH": str(link(folder / "bin", engine_bin_dir() / "pulumi", *programs)),
        "PULUMI_HOME": str(home / ".pulumi"),
        "PULUMI_BACKEND_URL": f"file://{state}",
        **engine_environment(),
    }


@contextlib.contextmanager
def attached(folder, **environment):
    """The plugin as a process of its own, which engines attach to."""
    it = Plugin(folder, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield it
    finally:
        it.stop()


class Instance(Provider):
    """A provider instance that judges differences and reads state as the engine does."""

    PROVIDER_URN = "urn:pulumi:test::test::pulumi:providers:databricks::p"

    def differences(self, old_inputs, outputs, news, ignore=()):
        """Changed paths with the kind of each change."""
        return verdict(self.diff("id", news, old_inputs, outputs, ignore=ignore))

    def config_differences(self, old_inputs, news, outputs=None):
        request = pb.DiffRequest(
            id="p", urn=self.PROVIDER_URN, old_inputs=struct(old_inputs), news=struct(news),
            olds=struct(old_inputs if outputs is None else outputs),
        )
        return verdict(self.stub.DiffConfig(request, timeout=self.TIMEOUT))

    def state(self, token_id, inputs=None, outputs=None):
        """The inputs and outputs of a token, or None when it is gone. Without both, it is the Read of an import."""
        reply = self.read(token_id, inputs, outputs)
        assert bool(reply.id) == reply.HasField("properties") == reply.HasField("inputs")
        return (plain(reply.inputs), plain(reply.properties)) if reply.id else None


def instance(process, **config):
    process.connect()
    it = Instance(process.channels[-1])
    it.handshake("127.0.0.1:1")
    if config:
        it.configure(**config)
    return it


def verdict(reply):
    kinds = {path: pb.PropertyDiff.Kind.Name(entry.kind) for path, entry in reply.detailedDiff.items()}
    assert reply.hasDetailedDiff
    # A new token comes before the old one is revoked.
    assert not reply.deleteBeforeReplace
    assert reply.changes == (pb.DiffResponse.DIFF_SOME if kinds else pb.DiffResponse.DIFF_NONE)
    assert set(reply.diffs) == {path.split(".")[0] for path in kinds}
    assert set(reply.replaces) == {path.split(".")[0] for path, kind in kinds.items() if kind.endswith("_REPLACE")}
    return kinds


@contextlib.contextmanager
def only_one(name):
    """Holds a lock, so that test processes side by side do not install the same thing twice."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def official_python():
    """The folder of the official Python SDK, installed once from PyPI as it is published."""
    target = BUILT / "python"
    pin = (DATA / "requirements.txt").read_text()
    stamp = target / "requirements.txt"
    with only_one("python"):
        if not stamp.exists() or stamp.read_text() != pin:
            shutil.rmtree(target, ignore_errors=True)
            subprocess.run(
                [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install",
                 "--no-deps", "--target", target, "--requirement", DATA / "requirements.txt"],
                check=True, timeout=300,
            )
            stamp.write_text(pin)
    return target


def official_node():
    """The folder whose node_modules hold the official Node.js SDK, installed once from npm as it is published."""
    target = BUILT / "node"
    lock = (DATA / "node" / "package-lock.json").read_text()
    stamp = target / "installed.json"
    with only_one("node"):
        if not stamp.exists() or stamp.read_text() != lock:
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(DATA / "node" / name, target)
            subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                cwd=target, check=True, timeout=300,
            )
            stamp.write_text(lock)
    return target


class Worker:
    """A process that runs inline programs; see tests/dropin/worker.py and worker.js."""

    def __init__(self, command, environment):
        self.log = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
        )
        threading.Thread(target=self._keep_log, daemon=True).start()
        self.sdk = self._answer()["sdk"]

    def _keep_log(self):
        for line in self.process.stderr:
            self.log.append(line)

    def _answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 180)
        line = self.process.stdout.readline() if ready else ""
        assert line, "the worker gave no answer:\n" + "".join(self.log[-50:])
        return json.loads(line)

    def run(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


_workers = {}


def python_worker(tmp_path_factory):
    """The worker with the official Python SDK, one for the whole run; what it starts finds our plugin on PATH."""
    if "python" not in _workers:
        official = official_python()
        environment = base_environment(tmp_path_factory.mktemp("python-worker"), plugin_bin())
        it = Worker([sys.executable, str(DATA / "worker.py")], environment | {"PYTHONPATH": str(official)})
        atexit.register(it.stop)
        assert it.sdk.startswith(str(official))
        _workers["python"] = it
    return _workers["python"]


def node_worker(folder):
    """A worker with the official Node.js SDK; stop it after use."""
    node = shutil.which("node")
    assert node and shutil.which("npm"), "Node.js 20 or newer is needed: install it (https://nodejs.org)"
    packages = official_node() / "node_modules"
    environment = base_environment(folder, plugin_bin()) | {"NODE_PATH": str(packages)}
    it = Worker([node, str(DATA / "worker.js")], environment)
    assert it.sdk.startswith(str(packages))
    return it


class Result:
    """What an operation did: `ops` by resource name, diagnostics, and everything that it printed."""

    def __init__(self, answer):
        self.ok = answer["ok"]
        self.error = answer["error"]
        self.text = answer["text"]
        self.steps = answer["steps"]
        self.diagnostics = answer["diagnostics"]
        self.outputs = {name: output["value"] for name, output in answer.get("outputs", {}).items()}
        self.secret = {name for name, output in answer.get("outputs", {}).items() if output["secret"]}

    def step(self, name):
        steps = [step for urn, step in self.steps.items() if urn.endswith(f"::{name}")]
        assert len(steps) == 1, f"{len(steps)} steps of {name}; {self.error}"
        return steps[0]

    def ops(self, name):
        return self.step(name)["ops"]

    def all_ops(self):
        return {op for step in self.steps.values() for op in step["ops"]}

    def outcome(self, name):
        """What a refresh made of a resource, and the differences that it shows."""
        step = self.step(name)
        return step["result"], step["diff"]

    def everything(self):
        """All that a user could see. Debug messages hold secrets, of the SDK for Node.js for example."""
        shown = [entry for entry in self.diagnostics if entry["severity"] != "debug"]
        return self.error + self.text + json.dumps(shown)


class Stack:
    """A stack in a folder of its own."""

    def __init__(self, worker, folder, program, environment, **arguments):
        self.worker = worker
        self.folder = folder / "project"
        self.folder.mkdir(parents=True)
        self.program = str(program if pathlib.Path(program).is_absolute() else DATA / "programs" / program)
        self.environment = environment
        self.arguments = arguments
        self.project, self.name = "dropin", "test"
        self.describe()

    def describe(self, **project):
        """Writes the project file."""
        (self.folder / "Pulumi.yaml").write_text(json.dumps({"name": self.project, "runtime": "python"} | project))

    def run(self, operation, **options):
        request = {
            "operation": operation, "options": options, "program": self.program, "arguments": self.arguments,
            "project": self.project, "stack": self.name, "work_dir": str(self.folder), "env": self.environment,
            "secrets_provider": SECRETS_PROVIDER,
        }
        return Result(self.worker.run(request))

    def up(self, **options):
        result = self.run("up", **options)
        assert result.ok, result.error
        return result

    def preview(self, **options):
        result = self.run("preview", **options)
        assert result.ok, result.error
        return result

    def unchanged(self):
        """One more up, which must change nothing."""
        result = self.up(expect_no_changes=True)
        assert result.all_ops() <= {"same", "read"}, result.text
        return result

    def pulumi(self, *arguments, ok=True, **environment):
        """A command of the CLI on this stack; it needs no language host as long as the program does not run."""
        outcome = subprocess.run(
            [engine_bin_dir() / "pulumi", *arguments, "--non-interactive", "--stack", self.name],
            cwd=self.folder, env=self.environment | environment, capture_output=True, text=True, timeout=120,
        )
        if ok:
            assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome

    def init(self):
        outcome = subprocess.run(
            [engine_bin_dir() / "pulumi", "stack", "init", self.name, "--secrets-provider", SECRETS_PROVIDER,
             "--non-interactive"],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120,
        )
        assert outcome.returncode == 0, outcome.stderr

    def config(self, **values):
        """Sets values of the stack's configuration, none of them as a secret."""
        for name, value in values.items():
            self.pulumi("config", "set", f"databricks:{name}", value)

    def export(self, secrets=False):
        if secrets:
            return json.loads(self.pulumi("stack", "export", "--show-secrets").stdout)
        state_dir = pathlib.Path(self.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
        return state_of(state_dir, self.folder, self.name)

    def load(self, deployment):
        """Imports a state; its secrets may be in the clear."""
        settings = yaml.safe_load((self.folder / f"Pulumi.{self.name}.yaml").read_text())
        state = {"url": settings["secretsprovider"], "encryptedkey": settings["encryptedkey"]}
        deployment["deployment"]["secrets_providers"] = {"type": "cloud", "state": state}
        file = self.folder / "import.json"
        file.write_text(json.dumps(deployment))
        self.pulumi("stack", "import", "--file", str(file))
        file.unlink()

    def resources(self, secrets=False):
        """Resources of the state by name."""
        found = self.export(secrets)["deployment"].get("resources", [])
        by_name = {resource["urn"].rsplit("::", 1)[1]: resource for resource in found}
        assert len(by_name) == len(found), "two resources have the same name"
        return by_name

    def provider_inputs(self, name):
        """What the state keeps of a provider's configuration, secrets still marked, without the engine's own part."""
        inputs = self.resources(secrets=True)[name]["inputs"]
        return {key: value for key, value in inputs.items() if key != "__internal"}

    def tokens(self, secrets=False):
        return {name: it for name, it in self.resources(secrets).items() if it["type"] == TOKEN}

    def refresh(self, **options):
        result = self.run("refresh", **options)
        assert result.ok, result.error
        return result

    def destroy(self, **options):
        result = self.run("destroy", **options)
        assert result.ok, result.error
        return result


def revealed(value):
    """A value of a state that was exported with its secrets, without the marks."""
    if is_secret(value):
        return json.loads(value["plaintext"])
    if isinstance(value, dict):
        return {key: revealed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [revealed(item) for item in value]
    return value
