"""Types of both plugins in one stack, on the real engine, with the official SDK as published, or with YAML. In place of
the official plugin stands one that Pulumi's own bridge makes of a small Terraform provider (tests/forward/go)."""

import json
import os
import signal
import subprocess

import pytest
import support_dropin as dropin
from conftest import ROOT, Pulumi, engine_bin_dir, is_secret, plugin_bin, wait_for
from support_forward import VARIABLE, Scripted, alive, stand_in

# One test is a dozen commands of the engine.
pytestmark = pytest.mark.timeout(600)

PROGRAMS = ROOT / "tests" / "forward" / "programs"
SCOPE = "databricks:index/secretScope:SecretScope"
FORWARDED = ("scope", "secret", "plain", "acl", "destination")


class Service:
    """What the stand-in keeps: its objects, and the calls that it got."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        self.env = {VARIABLE: str(stand_in()), "STAND_IN_STATE": str(folder)}

    def calls(self, *ops):
        log = self.folder / "calls.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [call for call in map(json.loads, lines) if not ops or call["Op"] in ops]

    def objects(self):
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def gone(self):
        pids = {call["Pid"] for call in self.calls()}
        wait_for(lambda: not any(map(alive, pids)), what=f"the end of {pids}")


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return dropin.python_worker(tmp_path_factory)


@pytest.fixture(scope="module")
def _workspace():
    with dropin.workspace() as it:
        yield it


@pytest.fixture
def local(_workspace):
    _workspace.reset()
    return _workspace


@pytest.fixture
def service(tmp_path):
    it = Service(tmp_path / "service")
    yield it
    it.gone()


@pytest.fixture
def stack(worker, local, service, tmp_path):
    """Makes stacks: through our plugin, or through the stand-in alone."""

    def make(program="stack.py", alone=False, **arguments):
        folder = tmp_path / f"{'alone' if alone else 'ours'}-{len(list(tmp_path.iterdir()))}"
        env = dropin.base_environment(folder, stand_in() if alone else plugin_bin())
        env |= local.environment() | service.env
        it = dropin.Stack(worker, folder, PROGRAMS / program, env, **arguments)
        return it

    return make


def comparable(stack, names=FORWARDED):
    """The state of the resources that were passed on, secrets readable, without what differs from run to run."""
    found = stack.resources(secrets=True)
    return {
        name: {key: value for key, value in found[name].items() if key not in ("provider", "created", "modified")}
        for name in names
    }


def test_the_state_is_that_of_the_official_plugin_alone(stack, local, service):
    ours, alone = stack(everything=True), stack(everything=True, alone=True)
    previews = ours.preview(), alone.preview()
    assert previews[0].steps == previews[1].steps
    ups = ours.up(), alone.up()
    assert ups[0].steps == ups[1].steps
    # Our plugin answers that function itself, from the local workspace; the stand-in has an answer of its own.
    assert (ups[0].outputs.pop("user"), ups[1].outputs.pop("user")) == ("admin@example.com", "me")
    assert ups[0].outputs == ups[1].outputs and ups[0].secret == ups[1].secret == {"hidden"}
    state = comparable(ours)
    assert state == comparable(alone)
    assert is_secret(state["secret"]["inputs"]["stringValue"]) and is_secret(state["secret"]["outputs"]["stringValue"])
    assert is_secret(state["destination"]["inputs"]["config"]["slack"]["url"])
    assert state["scope"]["outputs"]["backendType"] == "DATABRICKS"
    for it in (ours, alone):
        it.unchanged()
        it.refresh()
        it.unchanged()
        assert comparable(it) == comparable(ours)


def test_each_goes_on_with_what_the_other_left(stack, service):
    ours, alone = stack(everything=True), stack(everything=True, alone=True)
    ours.up()
    alone.up()
    exported = ours.export(secrets=True), alone.export(secrets=True)
    ours.load(exported[1])
    alone.load(exported[0])
    for it in (ours, alone):
        it.refresh(expect_no_changes=True)
        it.unchanged()
    ours.destroy()
    assert service.objects() == []


def test_both_plugins_in_one_stack(stack, local, service):
    it = stack(everything=True, token=True)
    preview = it.preview()
    assert preview.all_ops() == {"create"}
    assert service.objects() == [] and local.tokens() == []
    up = it.up()
    assert up.secret == {"token", "hidden"}
    assert up.outputs["user"] == "admin@example.com" and up.outputs["notebook"] == "of scope"
    assert local.accepts(up.outputs["token"])
    kept = json.loads((service.folder / "secret-scope___k.json").read_text())
    assert kept["string_value"] == up.outputs["token"]
    assert up.outputs["token"] not in str(it.export()) + up.everything()
    it.unchanged()
    it.refresh()
    it.unchanged()
    # A new token is a new value of the secret.
    local.revoke_later(local.live()[0])
    it.refresh()
    up = it.up()
    assert up.ops("secret") == ["update"] and up.ops("scope") == ["same"]
    kept = json.loads((service.folder / "secret-scope___k.json").read_text())
    assert kept["string_value"] == up.outputs["token"] and local.accepts(up.outputs["token"])
    it.destroy()
    assert service.objects() == [] and local.live() == []


def test_what_changed_outside_is_noticed(stack, service):
    it = stack(everything=True)
    it.up()
    (service.folder / "secret_acl-scope___all.json").unlink()
    assert it.refresh().outcome("acl")[0] == "delete"
    assert it.up().ops("acl") == ["create"]


@pytest.mark.parametrize("alone", [False, True], ids=["ours", "alone"])
def test_a_resource_left_incomplete(stack, service, alone):
    it = stack(alone=alone, name="half-done", secret_name=True)
    failed = it.run("up")
    assert not failed.ok and "and what follows failed" in failed.everything()
    left = it.resources(secrets=True)["scope"]
    assert left["id"] == "half-done" and left["initErrors"]
    assert is_secret(left["inputs"]["name"]) and is_secret(left["outputs"]["name"])
    # The next `up` completes it.
    assert it.up().step("scope")["failed"] is False
    assert "initErrors" not in it.resources()["scope"]
    it.unchanged()


def test_errors_are_those_of_the_official_plugin_alone(stack):
    def errors(alone):
        failed = stack(name="half-done", alone=alone).run("up")
        return [entry for entry in failed.diagnostics if "what follows failed" in entry["message"]]

    found = errors(alone=False)
    assert found and all(entry["urn"].endswith(f"{SCOPE}::scope") for entry in found)
    without_times = [entry["message"].split("sdk.helper_schema")[-1] for entry in found]
    assert without_times == [entry["message"].split("sdk.helper_schema")[-1] for entry in errors(alone=True)]


def test_it_ends_in_mid_create(stack, service, local):
    it = stack(name="crash-now", everything=True, token=True)
    failed = it.run("up")
    assert not failed.ok
    text = failed.everything()
    assert f"cannot create {SCOPE}: the official databricks plugin" in text
    assert "exit status: 3" in text and "It may have been created all the same" in text
    assert "exited prematurely" not in text
    assert [call["ID"] for call in service.calls("create")].count("crash-now") == 1


def test_each_provider_has_a_process_of_its_own(stack, service):
    it = stack(host="http://other.invalid", everything=True)
    it.up()
    hosts = {call["ID"]: (call["Host"], call["Pid"]) for call in service.calls("create")}
    assert hosts["scope"][0] == "http://other.invalid"
    assert hosts["scope|||k"][0] != "http://other.invalid"
    assert hosts["scope"][1] != hosts["scope|||k"][1]
    refused = stack(host="http://refused.invalid").run("up")
    assert not refused.ok and "this workspace is refused to ***" in refused.everything()


def test_credentials_alone_never_start_it(stack, service, local, tmp_path):
    scripted = Scripted(tmp_path / "scripted")
    service.env |= scripted.env
    it = stack("token.py")
    it.preview()
    it.up()
    it.unchanged()
    it.refresh()
    it.destroy()
    assert scripted.calls() == []


def test_none_is_installed(stack, service):
    del service.env[VARIABLE]
    it = stack()
    result = it.run("preview")
    assert not result.ok
    assert f"{SCOPE} needs the official databricks plugin (1.x)" in result.everything()
    assert "`pulumi plugin install resource databricks 1.118.0`" in result.everything()


# --- YAML, and what the engine asks without a program ---


@pytest.fixture
def yaml(tmp_path, local, service):
    return Pulumi(tmp_path / "yaml", local.environment() | service.env)


RESOURCES = {
    "scope": {"type": "databricks:SecretScope", "properties": {"name": "scope"}},
    "token": {"type": "databricks:Token", "properties": {"comment": "${scope.name}"}},
    "secret": {
        "type": "databricks:Secret",
        "properties": {"scope": "${scope.name}", "key": "k", "stringValue": "${token.tokenValue}"},
    },
}
USER = {"fn::invoke": {"function": "databricks:getCurrentUser", "return": "userName"}}


def test_yaml_knows_the_types_of_both(yaml, service, local):
    yaml.write(RESOURCES, {"user": USER})
    yaml.init()
    yaml.preview()
    yaml.up()
    # The function is ours in YAML, too.
    assert yaml.outputs()["user"] == "admin@example.com"
    yaml.unchanged()
    yaml.refresh()
    yaml.unchanged()
    yaml.destroy()
    assert service.objects() == [] and local.live() == []
    assert not yaml.leaks()


def test_import(yaml, service):
    yaml.write({"scope": RESOURCES["scope"]})
    yaml.init()
    yaml.up()
    before = scope_in(yaml)
    yaml.run("state", "delete", before["urn"], "--stack", "test", "--yes")
    yaml.run("import", SCOPE, "scope", "scope", "--yes", "--generate-code=false", "--protect=false", "--stack", "test")
    imported = scope_in(yaml)
    assert imported["id"] == "scope" and imported["inputs"]["name"] == before["inputs"]["name"]
    yaml.unchanged()
    missing = yaml.run("import", SCOPE, "none", "none", "--yes", "--stack", "test", ok=False)
    assert "does not exist" in missing.text


def scope_in(yaml):
    (scope,) = [it for it in yaml.export()["deployment"]["resources"] if it["type"] == SCOPE]
    return scope


def test_yaml_knows_it_as_soon_as_it_is_installed(yaml, service):
    """The engine keeps schemas, and must not go on with one that lacks the types."""
    yaml.write(RESOURCES)
    yaml.init()
    without = yaml.preview(ok=False, env={VARIABLE: ""})
    assert "SecretScope" in without.text
    yaml.preview()


def test_the_schema_is_one_package(yaml):
    schema = json.loads(yaml.run("package", "get-schema", plugin_bin()).stdout)
    assert {SCOPE, *dropin_types()} <= set(schema["resources"])
    assert "databricks:index/getCurrentUser:getCurrentUser" in schema["functions"]
    assert schema["version"].startswith("2.")


def dropin_types():
    return json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))["resources"]


# --- Its end ---


@pytest.fixture
def waiting(yaml, service):
    """An `up` in the middle of a create."""
    yaml.write({"scope": {"type": "databricks:SecretScope", "properties": {"name": "slow-one"}}})
    yaml.init()
    process = subprocess.Popen(
        [engine_bin_dir() / "pulumi", "up", "--yes", "--skip-preview", "--stack", "test", "--non-interactive"],
        env=yaml.env, cwd=yaml.project_dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )
    wait_for(lambda: service.calls("wait"), what="the create")
    yield process
    process.kill()
    process.wait(timeout=60)
    process.stdout.close()


def ours(process):
    """Processes of our plugin that an engine has started."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in children if os.path.realpath(f"/proc/{pid}/exe") == str(plugin_bin().resolve())]


def test_cancel(waiting, service, yaml):
    """The engine waits for what is under way, as it does with the official plugin alone, which does not give up."""
    os.kill(waiting.pid, signal.SIGINT)
    for line in waiting.stdout:
        if "Cancel" in line or "cancel" in line:
            break
    (service.folder / "go").write_text("")
    text, _ = waiting.communicate(timeout=120)
    assert waiting.returncode != 0, text
    assert scope_in(yaml)["id"] == "slow-one"
    service.gone()


def test_the_engine_is_killed(waiting, service):
    plugins = ours(waiting)
    assert plugins
    os.kill(waiting.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, plugins)), what="the end of our plugins")
    service.gone()


def test_we_are_killed(waiting, service):
    for pid in ours(waiting):
        os.kill(pid, signal.SIGKILL)
    text, _ = waiting.communicate(timeout=120)
    assert "slow-one" in text or "error" in text
    service.gone()
