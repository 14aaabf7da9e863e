"""The wheel of the local workspace, in a project that knows nothing else of this repository.

`scripts/wheel.sh --debug` builds the wheel.
"""

import pathlib
import re
import subprocess
import sys
import textwrap
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The wheel is built in a stage of its own.
pytestmark = pytest.mark.slow

# What somebody's job does with tokens.
JOB = """
    import json, urllib.request

    def call(host, token, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(host + path, data, {"Authorization": "Bearer " + token})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def renewed(host, admin, token, now):
        '''A token with a day left at least: the one that is there, or a new one in its place.'''
        if token and token["token_info"]["expiry_time"] - now.timestamp() * 1000 > 86_400_000:
            return token
        return call(host, admin, "/api/2.0/token/create", {"comment": "job", "lifetime_seconds": 7 * 86_400})
"""
# And its tests.
TESTS = """
    import os
    import urllib.error
    from typing import get_type_hints
    import pytest
    from databricks_local_workspace import ControlError, Request, Token, Workspace
    from job import call, renewed

    def test_a_token_is_renewed_in_time(databricks_workspace):
        host, admin = databricks_workspace.host, databricks_workspace.token
        first = renewed(host, admin, None, databricks_workspace.now())
        assert renewed(host, admin, first, databricks_workspace.now()) is first
        databricks_workspace.advance(days=6.5)
        second = renewed(host, admin, first, databricks_workspace.now())
        databricks_workspace.advance(days=1)
        assert call(host, second["token_value"], "/api/2.0/preview/scim/v2/Me")["userName"] == "admin@example.com"
        assert [token["live"] for token in databricks_workspace.tokens()] == [False, True]
        assert set(databricks_workspace.tokens()[0]) == set(get_type_hints(Token))

    def test_each_test_has_a_workspace_as_new(databricks_workspace):
        assert databricks_workspace.tokens() == databricks_workspace.requests() == []

    def test_a_fault(databricks_workspace):
        databricks_workspace.fault("/token/create", status=429, retry_after=1)
        with pytest.raises(urllib.error.HTTPError, match="429"):
            renewed(databricks_workspace.host, databricks_workspace.token, None, databricks_workspace.now())
        (asked,) = databricks_workspace.requests("/token/create", method="POST")
        assert set(asked) == set(get_type_hints(Request))
        assert (asked["status"], asked["work_done"]) == (429, False)
        databricks_workspace.clear_faults()
        assert renewed(databricks_workspace.host, databricks_workspace.token, None, databricks_workspace.now())

    def test_others_than_the_admin(databricks_workspace):
        robot = databricks_workspace.service_principal("job", admin=True)
        assert robot.client_secret not in repr(robot)
        assert databricks_workspace.environment(robot) == {
            "DATABRICKS_HOST": databricks_workspace.host,
            "DATABRICKS_CLIENT_ID": robot.client_id,
            "DATABRICKS_CLIENT_SECRET": robot.client_secret,
        }
        user = databricks_workspace.user("second@example.com")
        assert call(databricks_workspace.host, user.token, "/api/2.0/preview/scim/v2/Me")["id"] == str(user.id)

    def test_code_that_reads_the_environment(databricks_workspace, monkeypatch):
        # What a shell may have for another workspace.
        for name in ("DATABRICKS_CONFIG_PROFILE", "DATABRICKS_CLIENT_ID", "ARM_CLIENT_ID", "GOOGLE_CREDENTIALS"):
            monkeypatch.setenv(name, "another")

        def variables():
            return {name: value for name, value in os.environ.items() if name.startswith(("DATABRICKS", "ARM", "GOOG"))}

        databricks_workspace.sign_in(monkeypatch)
        assert variables() == databricks_workspace.environment()
        robot = databricks_workspace.service_principal()
        databricks_workspace.sign_in(monkeypatch, robot)
        assert variables() == databricks_workspace.environment(robot) and "DATABRICKS_TOKEN" not in variables()

    def test_federation(databricks_workspace):
        robot = databricks_workspace.service_principal()
        policy = databricks_workspace.federation_policy(
            "https://idp.example.com", jwks={"keys": []}, audiences=["a"], subject="job:1", principal=robot
        )
        (made,) = databricks_workspace.control("state")["federation_policies"]
        assert (made["policy_id"], made["principal"]) == (policy, robot.client_id)
        assert made["oidc_policy"]["subject"] == "job:1"

    def test_refusals_say_why(databricks_workspace):
        with pytest.raises(ControlError, match="404 Token with id nobody does not exist"):
            databricks_workspace.revoke("nobody")
        with pytest.raises(ControlError, match="a fault needs a status"):
            databricks_workspace.fault("/token/create")
        with pytest.raises(ValueError, match="for shells"):
            Workspace.start("--export")
        with pytest.raises(TypeError, match="stauts"):
            databricks_workspace.fault(stauts=503)

    def test_state_that_is_kept(databricks_workspace, databricks_workspace_session):
        kept = databricks_workspace_session
        made = renewed(kept.host, kept.token, None, kept.now())
        snapshot = kept.snapshot()
        kept.revoke(made["token_info"]["token_id"])
        assert kept.tokens(live=True) == [] and databricks_workspace.tokens() == []
        kept.restore(snapshot)
        assert [token["comment"] for token in kept.tokens(live=True)] == ["job"]
"""
OPTIONS = """
    import pytest

    @pytest.fixture(scope="session")
    def databricks_workspace_options():
        return ["--tls", "--max-token-lifetime-days", "7"]
"""
TLS_TESTS = """
    def test_tls_and_options(databricks_workspace):
        assert databricks_workspace.host.startswith("https://")
        assert databricks_workspace.control("state")["max_token_lifetime_days"] == 7
        assert databricks_workspace.environment()["SSL_CERT_FILE"] == databricks_workspace.certificate
"""


def write(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    """A fresh environment with the wheel and pytest."""
    wheels = list((ROOT / "target" / "wheels").glob("*.whl"))
    if len(wheels) != 1:
        raise pytest.UsageError("there is no wheel in target/wheels: scripts/wheel.sh --debug builds it")
    pins = re.findall(r"^pytest(?:-xdist)?==\S+", (ROOT / "tests/requirements.txt").read_text("utf-8"), re.MULTILINE)
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install"]
    subprocess.run([*pip, wheels[0], *pins], check=True)
    return venv


def run_tests(venv, project, *arguments):
    command = [venv / "bin/python", "-m", "pytest", "-q", *arguments]
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=project, env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_project_tests_its_own_code(venv, tmp_path):
    project = write(tmp_path / "project", job=JOB, test_job=TESTS)
    assert "8 passed" in run_tests(venv, project)
    # Each process has a workspace of its own.
    assert "8 passed" in run_tests(venv, project, "-n", "2")


def test_options_of_the_program(venv, tmp_path):
    project = write(tmp_path / "project", conftest=OPTIONS, test_tls=TLS_TESTS)
    assert "1 passed" in run_tests(venv, project)


def test_the_command_prints_what_to_paste(venv):
    done = subprocess.run(
        [venv / "bin/databricks-local-workspace", "--export", "--exit-on-stdin-eof"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stderr.count("\npulumi up --yes\n") == 2
    lines = done.stdout
    script = lines + 'printf "%s %s" "$DATABRICKS_HOST" "$DATABRICKS_TOKEN"'
    said = subprocess.run(["sh", "-c", script], env={}, text=True, capture_output=True, check=True).stdout
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+ dapi[0-9a-f]{32}", said)


def test_what_is_in_the_wheel():
    """The wheel has what a package index shows of it, and nothing that happens to lie around."""
    (path,) = (ROOT / "target" / "wheels").glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        (metadata,) = (wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        (licence,) = (wheel.read(name) for name in names if name.endswith("/LICENSE"))
    assert not [name for name in names if "__pycache__" in name]
    assert [name for name in names if name.endswith("/py.typed")]
    assert licence == (ROOT / "LICENSE").read_bytes()
    for line in ("License-Expression: Apache-2.0", "Classifier: Framework :: Pytest", "Classifier: Typing :: Typed"):
        assert f"\n{line}\n" in metadata
    readme = ROOT / "local-workspace/python/README.md"
    assert metadata.rstrip().endswith(readme.read_text("utf-8").rstrip())
