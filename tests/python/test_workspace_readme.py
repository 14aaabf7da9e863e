"""What the README of the local workspace says: its commands run as they stand, and its samples work."""

import importlib.util
import inspect
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, LocalWorkspace, Pulumi, local_workspace_bin, plugin_bin

README = ROOT / "local-workspace/README.md"
WHEEL_README = ROOT / "local-workspace/python/README.md"


def blocks(page, language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.M | re.S)


# The tests below are about these blocks; another one in the README would fail here.
START, WALK, FAULTS = blocks(README, "bash")


@pytest.fixture
def started():
    """What the first command prints: lines to be pasted into another shell, and what is told around them."""
    # Where `make` runs the tests, the README's own make would otherwise print the folder that it enters.
    foreign = ("DATABRICKS_", "MAKE", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(["bash", "-c", START], cwd=ROOT, env=environment, start_new_session=True, **pipes)
    try:
        told = b""
        while told.count(b"\npulumi up --yes\n") < 2:
            line = process.stderr.readline()
            assert line, told
            told += line
        # The lines to be pasted were written before that.
        yield os.read(process.stdout.fileno(), 65536).decode(), told.decode()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
        process.stdout.close()
        process.stderr.close()


@pytest.fixture
def pasted(started):
    return started[0]


def test_commands_have_no_comments():
    """A shell that people paste into, as that of macOS, may take a comment for arguments."""
    for page in (README, WHEEL_README):
        for block in blocks(page, "bash"):
            assert not re.search(r"(^|\s)#", block), block


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_first_contact(started, tmp_path):
    """The program may have to be compiled first, as for its users."""
    pasted, told = started

    def shell(script):
        script = f"set -euo pipefail\n{pasted}\n{script}"
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(["bash", "-c", script], env=environment, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert [line.split("=")[0] for line in pasted.splitlines()] == ["export DATABRICKS_HOST", "export DATABRICKS_TOKEN"]
    assert [fault["hit"] for fault in json.loads(shell(FAULTS))] == [0, 0]
    assert shell('curl -s -o /dev/null -w "%{http_code}" "$DATABRICKS_HOST/"') == "200"
    assert f"In a browser: {shell('echo -n $DATABRICKS_HOST')}/\n" in told


@pytest.fixture
def walked(started, tmp_path):
    """Runs a walk after the pasted lines, with a Pulumi in whose home the plugin is installed, as `make install` does it."""
    pulumi = Pulumi(tmp_path / "pulumi", {})
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text("utf-8"), re.M)[1]
    pulumi.run("plugin", "install", "resource", "databricks", version, "--file", plugin_bin())
    # The walk has a state and a stack of its own.
    own = ("PULUMI_BACKEND_URL", "PULUMI_STACK")
    environment = {name: value for name, value in pulumi.env.items() if name not in own}

    def walk(commands):
        """Returns the commands in their order, each with what came of it."""
        script = f"{started[0]}\nPS4='$ '\nset -euxo pipefail\n{commands}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=environment | {"TMPDIR": str(tmp_path)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout
        return re.findall(r"\$ ((?:pulumi|curl) .*?)(?=\$ |\Z)", done.stdout, re.S)

    return walk


@pytest.mark.timeout(900)
def test_walk(walked):
    _, first, second, _, third, works, last, refused = (it for it in walked(WALK) if "stack output" not in it)
    assert "+ 2 created" in first, first
    assert "2 unchanged" in second, second
    assert "1 replaced" in third, third
    assert '"token_infos"' in works, works
    assert "- 2 deleted" in last, last
    assert "Invalid access token" in refused, refused


@pytest.mark.timeout(900)
def test_walk_that_is_printed(started, walked):
    """All commands that the program prints are pasted at once, without the prose."""
    commands = started[1][started[1].index("\ncd ") :]
    _, first, _, second = walked(commands)
    assert "+ 2 created" in first, first
    assert "1 replaced" in second, second


def test_what_is_served_is_listed():
    """Every path of the control API, every key of a seed, and every field of a fault."""
    readme, sources = README.read_text(encoding="utf-8"), ROOT / "local-workspace/src"
    control = (sources / "control.rs").read_text(encoding="utf-8")
    calls = set(re.findall(r"^\| `?(?:GET|POST)[^|]*?`? \|", readme, re.M))
    for path in re.findall(r'\.route\("/(\S+)"', control):
        path = path.replace("{token_id}", "{id}").replace("{secret_id}", "{id}")
        assert any(re.search(rf"[` ]{re.escape(path)}`", call) for call in calls), path
    for path in sorted((sources / "api").glob("*.rs")):
        for route in re.findall(r'"(/(?:oidc|local|\.well-known)/[^"{]*)', path.read_text(encoding="utf-8")):
            known = re.sub(r"^/(oidc)/.*", r"/\1/", route)
            assert known in readme, (path.name, route)

    fields = re.search(r"struct Changes \{(.*?)\n\}", control, re.S)[1]
    for name in re.findall(r"^    (\w+):", fields, re.M):
        assert f"`{name}`" in readme or f'"{name}"' in blocks(README, "json")[0], name
    faults = (sources / "faults.rs").read_text(encoding="utf-8")
    for struct in ("Match", "Action"):
        fields = re.search(rf"struct {struct} \{{(.*?)\n\}}", faults, re.S)[1]
        for name in re.findall(r"^    (?:pub\(crate\) )?(\w+):", fields, re.M):
            assert re.search(rf"`{name}\b", readme), name
            # The wheel names each of them, too.
            assert name in inspect.signature(databricks_local_workspace().Workspace.fault).parameters, name


def databricks_local_workspace():
    """The package of the wheel, from its folder."""
    path = ROOT / "local-workspace/python/src/databricks_local_workspace/__init__.py"
    spec = importlib.util.spec_from_file_location("databricks_local_workspace", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_seed(tmp_path):
    (seed,) = blocks(README, "json")
    path = tmp_path / "seed.json"
    path.write_text(seed, encoding="utf-8")
    workspace = LocalWorkspace("--seed", path)
    try:
        names = {principal["user_name"] for principal in workspace.control("/state")["principals"]}
        assert {"second@example.com", "robot"} < names
        assert workspace.accepts("dapi-second")
        assert workspace.call("POST", "/api/2.0/token/create", {}, token=workspace.token)[0] == 503
    finally:
        workspace.stop()


def test_what_a_container_runs(tmp_path):
    """The same program and options, without the container."""
    dockerfile = (ROOT / "local-workspace/Dockerfile").read_text(encoding="utf-8")
    entrypoint = json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.M)[1])
    (container,) = (block for block in blocks(README, "python") if "testcontainers" in block)
    compile(container, str(README), "exec")
    command = re.search(r'with_command\("(.*?)"\)', container)[1].split()
    options = [option if option != "8080" else "0" for option in entrypoint[1:]]
    process = subprocess.Popen(
        [local_workspace_bin(), *options, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        host, token = (process.stdout.readline().strip().split("=", 1) for _ in range(2))
        assert host[1].startswith("http://127.0.0.1:") and token == ["DATABRICKS_TOKEN", "dapi-test"]
    finally:
        process.terminate()
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (0, "")


# What the samples leave to their readers.
JOBS = {
    README: """
def run_my_job(client):
    if not list(client.tokens.list()):
        client.tokens.create(lifetime_seconds=60 * 86_400)
""",
    WHEEL_README: """
from databricks.sdk import WorkspaceClient

def run_my_job():
    client = WorkspaceClient()
    if not list(client.tokens.list()):
        client.tokens.create(lifetime_seconds=60 * 86_400)
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("page", [README, WHEEL_README], ids=["readme", "wheel"])
def test_samples_of_pytest(page, tmp_path):
    """With the plugin from its folder; tests/python/test_workspace_wheel.py takes it from the wheel."""
    samples = [block for block in blocks(page, "python") if "def test_" in block]
    assert len(samples) == 1
    (tmp_path / "test_sample.py").write_text(JOBS[page] + samples[0], encoding="utf-8")
    overrides = [block for block in blocks(page, "python") if "databricks_workspace_options" in block]
    (tmp_path / "conftest.py").write_text("import pytest\n" + "".join(overrides), encoding="utf-8")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT / "local-workspace/python/src"),
        "DATABRICKS_LOCAL_WORKSPACE": str(local_workspace_bin()),
    }
    plugins = ["-p", "databricks_local_workspace.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins]
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
