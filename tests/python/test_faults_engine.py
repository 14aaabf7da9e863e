"""The engine as the one that fails: Ctrl-C, kill -9, and many tokens at a workspace that is busy.

docs/reliability-and-security.md has these points in its tables.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from conftest import TOKEN_VALUE, LocalWorkspace, Pulumi, engine_bin_dir, plugin_bin
from support_reliability import CREATE, DELETE, LIST, SideBySide, wait_until

COMMENT = "case of the engine"


class Project:
    """A stack with one token in its program, and a workspace."""

    def __init__(self, home):
        self.cleanup = contextlib.ExitStack()
        self.workspace = LocalWorkspace()
        self.cleanup.callback(self.workspace.stop)
        env = {"DATABRICKS_HOST": self.workspace.host, "DATABRICKS_TOKEN": self.workspace.token}
        self.pulumi = Pulumi(pathlib.Path(home) / "pulumi", env)
        self.pulumi.token({"comment": COMMENT, "lifetimeSeconds": 3600})
        self.pulumi.init()
        self.output = []

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.cleanup.close()

    def start(self, operation):
        command = ["pulumi", operation, "--yes", "--skip-preview", "--stack", "test", "--non-interactive"]
        command += ["--color", "never", "--suppress-permalink"]
        process = subprocess.Popen(
            command,
            executable=engine_bin_dir() / "pulumi",
            env=self.pulumi.env,
            cwd=self.pulumi.project_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.cleanup.callback(self._end, process)
        return process

    @staticmethod
    def _end(process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        process.stdout.close()

    def asked(self, path, count=1):
        wait_until(lambda: len(self.workspace.requests(path)) >= count, path, seconds=40)

    def end_of(self, process, seconds=40):
        text, _ = process.communicate(timeout=seconds)
        assert not TOKEN_VALUE.search(text), "a token's value in the clear"
        return text

    def in_state(self):
        """The token's id in the state, with a value that works; None if the state has none."""
        resource = self.pulumi.resource(show_secrets=True)
        if resource is None:
            return None
        value = json.loads(resource["outputs"]["tokenValue"]["plaintext"])
        assert self.workspace.accepts(value)
        return resource["id"]

    def recover(self):
        """What a person does after a killed command: the lock is released, and the next `up` puts all in order."""
        self.pulumi.run("cancel", "--yes", "--stack", "test", ok=None)
        self.pulumi.up()
        assert self.workspace.live() == [self.in_state()]


def ctrl_c_once(project):
    """The engine waits for the create, and the state has the token."""
    project.workspace.fault(CREATE, {"delay_ms": 3000, "work": True})
    engine = project.start("up")
    project.asked(CREATE)
    engine.send_signal(signal.SIGINT)
    project.end_of(engine)
    assert project.workspace.live() == [project.in_state()]
    return "state"


def ctrl_c_during_a_wait(project):
    project.workspace.fault(CREATE, {"status": 429, "retry_after": "600"}, times=0)
    engine = project.start("up")
    project.asked(CREATE)
    time.sleep(0.3)
    engine.send_signal(signal.SIGINT)
    # It ends long before the wait of ten minutes is over, so that was given up; there was no other try either.
    project.end_of(engine)
    assert len(project.workspace.requests(CREATE)) == 1
    assert project.workspace.tokens() == [] and project.in_state() is None
    return "none"


def revoked_and_recovered(project):
    wait_until(lambda: project.workspace.tokens() and not project.workspace.live(), "the new token's end")
    (token,) = project.workspace.tokens()
    assert [entry["body"]["token_id"] for entry in project.workspace.requests(DELETE)] == [token["id"]]
    project.recover()
    return "revoked"


def ctrl_c_twice(project):
    """The second Ctrl-C ends the engine without a state; the plugin outlives it."""
    project.workspace.fault(CREATE, {"delay_ms": 2500, "work": True})
    engine = project.start("up")
    project.asked(CREATE)
    engine.send_signal(signal.SIGINT)
    time.sleep(0.5)
    engine.send_signal(signal.SIGINT)
    project.end_of(engine)
    return revoked_and_recovered(project)


def killed_while_the_token_is_incomplete(project):
    """The answer lacks the expiry, and the list would come too late: nobody receives the error that names the token."""
    token_id, value = project.workspace.mint(comment=COMMENT)
    reply = {"token_value": value, "token_info": {"token_id": token_id, "comment": COMMENT}}
    project.workspace.fault(CREATE, {"status": 200, "body": reply})
    project.workspace.fault(LIST, {"status": 403, "error_code": "PERMISSION_DENIED", "delay_ms": 10_000})
    engine = project.start("up")
    project.asked(LIST)
    engine.kill()
    engine.wait(timeout=10)
    return revoked_and_recovered(project)


def killed(project):
    project.workspace.fault(CREATE, {"delay_ms": 3000, "work": True})
    engine = project.start("up")
    project.asked(CREATE)
    engine.kill()
    engine.wait(timeout=10)
    return revoked_and_recovered(project)


def killed_and_the_plugin_told_to_end(project):
    """As at the end of a container: every process is told to end at once."""
    project.workspace.fault(CREATE, {"delay_ms": 3000, "work": True})
    engine = project.start("up")
    project.asked(CREATE)
    listing = subprocess.run(["ps", "-Ao", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    plugins = [int(pid) for pid, parent, args in rows if parent == str(engine.pid) and plugin_bin().name in args]
    assert plugins
    engine.kill()
    for plugin in plugins:
        os.kill(plugin, signal.SIGTERM)
    engine.wait(timeout=10)
    return revoked_and_recovered(project)


# Points of a create, which the document's table "Creates" has too.
POINTS = {
    "Ctrl-C, once": (ctrl_c_once, "state"),
    "Ctrl-C, once, during a wait": (ctrl_c_during_a_wait, "none"),
    "Ctrl-C, twice": (ctrl_c_twice, "revoked"),
    "kill -9 of pulumi": (killed, "revoked"),
    "kill -9 of pulumi, the token is incomplete": (killed_while_the_token_is_incomplete, "revoked"),
    "kill -9 of pulumi and SIGTERM to the plugin": (killed_and_the_plugin_told_to_end, "revoked"),
}


def deleting_is_killed(project):
    """The state still has the token, which is gone; another destroy succeeds."""
    project.pulumi.up()
    project.workspace.fault(DELETE, {"delay_ms": 3000, "work": True})
    engine = project.start("destroy")
    project.asked(DELETE)
    engine.kill()
    engine.wait(timeout=10)
    project.pulumi.run("cancel", "--yes", "--stack", "test", ok=None)
    project.pulumi.destroy()
    assert project.workspace.live() == [] and project.in_state() is None
    return "gone"


def replacing_fails_half_way(project):
    """The new token is there and the old one could not be revoked: the state has both, and the next `up` revokes it."""
    project.pulumi.up()
    project.workspace.fault(DELETE, {"status": 403}, times=1)
    project.pulumi.token({"comment": "another", "lifetimeSeconds": 3600})
    project.pulumi.up(ok=False)
    assert len(project.workspace.live()) == 2
    resources = project.pulumi.export()["deployment"]["resources"]
    assert sorted(it["id"] for it in resources if it.get("id") in project.workspace.live()) == sorted(
        project.workspace.live()
    )
    project.pulumi.up()
    assert project.workspace.live() == [project.in_state()]
    return "gone"


def a_busy_workspace(project):
    """A hundred tokens while the workspace turns two hundred requests away, then a refresh and the end."""
    count = 100
    project.pulumi.write(
        {f"t{n}": {"type": "databricks:Token", "properties": {"comment": f"storm {n}"}} for n in range(count)},
        config={"databricks:rateLimit": {"value": 200}},
    )
    busy = {"status": 503, "error_code": "TEMPORARILY_UNAVAILABLE", "retry_after": "1"}
    project.workspace.fault(CREATE, {"status": 429, "retry_after": "1"}, times=count)
    project.workspace.fault(CREATE, busy, times=count)
    result = project.pulumi.up("--parallel", count)
    assert result.changes == {"create": count}
    tokens = project.workspace.tokens()
    assert sorted(token["comment"] for token in tokens) == sorted(f"storm {n}" for n in range(count))
    assert all(token["live"] for token in tokens)
    waiting = [
        event["diagnosticEvent"]["message"]
        for event in result.events
        if event.get("diagnosticEvent", {}).get("ephemeral")
    ]
    assert any("429" in message for message in waiting) and any("503" in message for message in waiting), waiting[:5]

    project.workspace.forget_requests()
    project.pulumi.refresh("--parallel", count, "--expect-no-changes")
    lists = project.workspace.requests(LIST)
    assert 1 <= len(lists) <= 30, f"{len(lists)} lists"

    project.workspace.fault(DELETE, {"status": 429, "retry_after": "1"}, times=count // 2)
    project.workspace.fault(DELETE, {"drop": "after"}, times=count // 10)
    project.pulumi.destroy("--parallel", count)
    assert project.workspace.live() == []
    return "gone"


CASES = POINTS | {
    "kill -9 during destroy": (deleting_is_killed, "gone"),
    "a replacement that fails half-way": (replacing_fails_half_way, "gone"),
    "a hundred tokens at a busy workspace": (a_busy_workspace, "gone"),
}


def run(name, home):
    check, end = CASES[name]
    with Project(home) as project:
        assert check(project) == end
        assert not project.pulumi.leaks(), "a token's value in the clear"


@pytest.fixture(scope="module")
def ends(request):
    cases = SideBySide(request, run, workers=4)
    yield cases
    cases.stop()


@pytest.mark.parametrize("name", list(reversed(CASES)))
def test_the_engine_fails(ends, name):
    assert ends[name] is None
