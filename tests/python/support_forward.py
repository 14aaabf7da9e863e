"""What the tests of passing calls on share: plugins that stand in for the official one."""

import json
import os
import pathlib
import shlex
import sys

from conftest import ROOT, wait_for

VARIABLE = "PULUMI_DATABRICKS_OFFICIAL_PLUGIN"
CLUSTER = "databricks:index/cluster:Cluster"


def urn(name, type=CLUSTER):
    return f"urn:pulumi:test::test::{type}::{name}"


def alive(pid):
    """Whether a process runs. One that has ended does not, even if nobody has waited for it yet."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


class Scripted:
    """The plugin of tests/forward/child.py, in a folder of its own."""

    def __init__(self, folder, mode="well"):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "pulumi-resource-databricks"
        self.log = folder / "calls.jsonl"
        script = shlex.join([sys.executable, str(ROOT / "tests" / "forward" / "child.py"), mode, str(self.log)])
        self.path.write_text(f'#!/bin/sh\nexec {script} "$@"\n', encoding="utf-8")
        self.path.chmod(0o755)
        self.env = {VARIABLE: str(self.path)}

    def calls(self, method=None):
        """The calls so far, in order: method, request and the rest of each line."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        calls = [json.loads(line) for line in lines]
        return [call for call in calls if method in (None, call["method"])]

    def methods(self):
        return [call["method"] for call in self.calls()]

    def pids(self):
        """Its processes, oldest first."""
        return [call["pid"] for call in self.calls() if call["method"].startswith("start")]

    def wait(self, method):
        """The first call of a method, as soon as it has come."""
        return wait_for(lambda: self.calls(method), what=f"a call of {method}")[0]

    def gone(self):
        """Waits until none of its processes runs any more."""
        pids = self.pids()
        assert pids, "it was never started"
        wait_for(lambda: not any(map(alive, pids)), what=f"the end of {pids}")


def stand_in():
    """The bridged plugin that scripts/stand-in.sh builds."""
    default = ROOT / "target" / "forward" / "pulumi-resource-databricks"
    path = pathlib.Path(os.environ.get("OFFICIAL_STAND_IN", default))
    assert path.exists(), f"{path} does not exist: run scripts/stand-in.sh"
    return path
