"""The ways to switch that docs/coming-from-official.md names, with the official Python SDK, which asks for 1.118.0."""

import json
import shlex
import subprocess

import pytest
import support_dropin as dropin
from conftest import plugin_bin

VERSION = json.loads((dropin.ROOT / "schema.json").read_text())["version"]
TOKEN = {"t": {"arguments": {"comment": "c"}}}


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return dropin.python_worker(tmp_path_factory)


@pytest.fixture
def local():
    with dropin.workspace() as it:
        yield it


@pytest.fixture
def environment(local, tmp_path):
    """No plugin on PATH."""
    return dropin.base_environment(tmp_path) | local.environment() | {"PULUMI_IGNORE_AMBIENT_PLUGINS": "true"}


def lives(it, local):
    it.up()
    assert [token["comment"] for token in local.tokens()] == ["c"]
    it.unchanged()
    it.refresh()
    it.destroy()
    assert local.live() == []


def test_the_page_names_this_version():
    page = (dropin.ROOT / "docs" / "coming-from-official.md").read_text()
    assert f"pulumi plugin install resource databricks {VERSION} --file" in page
    assert f'version="{VERSION}"' in page


def test_without_any_plugin_nothing_runs(worker, local, environment, tmp_path):
    """Shows that the other tests get their plugin from nowhere else."""
    it = dropin.Stack(worker, tmp_path, "tokens.py", environment, tokens=TOKEN)
    result = it.run("preview")
    assert not result.ok and "no resource plugin" in result.everything()


def test_by_the_project_file(worker, local, environment, tmp_path):
    it = dropin.Stack(worker, tmp_path, "tokens.py", environment, tokens=TOKEN)
    folder = dropin.link(tmp_path / "plugin", plugin_bin())
    it.describe(plugins={"providers": [{"name": "databricks", "path": str(folder)}]})
    lives(it, local)


def test_by_installing_for_one_version(worker, local, environment, tmp_path):
    """The SDK's version is asked for exactly, so an installed plugin needs the resource option `version`."""
    it = dropin.Stack(worker, tmp_path, "beside.py", environment, version=VERSION, others=False)
    it.init()
    install(it)
    it.up()
    assert [token["comment"] for token in local.tokens()] == ["ours"]
    it.unchanged()
    it.destroy()
    assert local.live() == []


def install(it):
    arguments = ("plugin", "install", "resource", "databricks", VERSION, "--file", str(plugin_bin()))
    outcome = subprocess.run(
        [dropin.engine_bin_dir() / "pulumi", *arguments], cwd=it.folder, env=it.environment, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr


def test_beside_the_official_plugin(worker, local, environment, tmp_path):
    """Requests for another version go to the plugin of that version. A script that notes that it ran plays its part."""
    it = dropin.Stack(worker, tmp_path, "beside.py", environment, version=VERSION, others=True)
    it.init()
    install(it)
    notes = tmp_path / "official.log"
    folder = tmp_path / "home" / ".pulumi" / "plugins" / "resource-databricks-v1.118.0"
    folder.mkdir()
    official = folder / "pulumi-resource-databricks"
    official.write_text(
        f"#!/bin/sh\necho started >>{shlex.quote(str(notes))}\nexec {shlex.quote(str(plugin_bin()))} \"$@\"\n"
    )
    official.chmod(0o755)
    it.up()
    assert sorted(token["comment"] for token in local.tokens()) == ["ours", "theirs"]
    state = it.tokens()
    assert "::default_1_118_0::" in state["theirs"]["provider"]
    assert "::tokens::" in state["ours"]["provider"]
    started = notes.read_text().count("started")
    assert started > 0
    it.arguments["others"] = False
    it.up()
    started = notes.read_text().count("started")
    it.unchanged()
    assert notes.read_text().count("started") == started
    it.destroy()


@pytest.mark.slow
def test_yaml_and_unknown_types(local, environment, tmp_path):
    """YAML programs ask for no version. A type that we lack is an error before anything happens."""
    folder = tmp_path / "yaml"
    folder.mkdir()
    plugin = dropin.link(tmp_path / "plugin", plugin_bin())
    (folder / "Pulumi.yaml").write_text(json.dumps({
        "name": "yaml", "runtime": "yaml",
        "plugins": {"providers": [{"name": "databricks", "path": str(plugin)}]},
        "resources": {
            "token": {"type": "databricks:Token"},
            "cluster": {"type": "databricks:Cluster", "properties": {"sparkVersion": "15"}},
        },
    }))
    dropin.link(tmp_path / "bin", dropin.engine_bin_dir() / "pulumi-language-yaml")

    def pulumi(*arguments):
        return subprocess.run(
            [dropin.engine_bin_dir() / "pulumi", *arguments, "--non-interactive"], cwd=folder, env=environment,
            capture_output=True, text=True, timeout=120,
        )

    assert pulumi("stack", "init", "test").returncode == 0
    outcome = pulumi("up", "--yes", "--skip-preview")
    text = outcome.stdout + outcome.stderr
    assert outcome.returncode != 0
    assert 'unable to find resource type "databricks:Cluster" in resource provider "databricks"' in text
    assert local.tokens() == [], text
