"""The examples of the local workspace in other languages.

The one in Go also checks the workspace with the Databricks SDK for Go as it is published.
"""

import os
import shutil
import subprocess

import pytest
from conftest import ROOT, local_workspace_bin

EXAMPLES = ROOT / "local-workspace/examples"

# These tests need compilers.
pytestmark = pytest.mark.slow


def run(*command, folder):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATABRICKS_")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment | {"LOCAL_WORKSPACE_BIN": str(local_workspace_bin())},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_go(tmp_path):
    project = shutil.copytree(EXAMPLES / "go", tmp_path / "go")
    assert run("gofmt", "-l", ".", folder=project) == ""
    run("go", "vet", "-mod=readonly", "./...", folder=project)
    out = run("go", "test", "-mod=readonly", "-count=1", "-v", "./...", folder=project)
    assert out.count("--- PASS: ") == 6, out


def test_java(tmp_path):
    project = shutil.copytree(EXAMPLES / "java", tmp_path / "java")
    out = run("java", "-Dfile.encoding=UTF-8", "LocalWorkspaceExample.java", folder=project)
    assert "a month later it does not: 403" in out
