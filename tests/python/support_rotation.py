"""What the tests of rotation with overlap share: programs, a small engine that can die at any request, and what must be
true whatever dies.

The small engine does with the plugin what the real one does in `up`, over gRPC and without a language host, so that
hundreds of updates take seconds. `crash` names who dies and when; the next `up` begins with what the engine had saved.
"""

import base64
import collections
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures

import grpc
from conftest import (
    OBO_TOKEN_TYPE,
    SECRET_TYPE,
    TOKEN_TYPE,
    FakeEngine,
    Plugin,
    engine_bin_dir,
    fingerprint,
    init_failed,
    is_secret,
    plain,
    plugin_bin,
    secret,
    struct,
    wait_for,
)
from pulumi.runtime.proto import provider_pb2 as pb

HOUR = 3600
DAY = 24 * HOUR
LIFETIME, WINDOW, OVERLAP = 90 * DAY, 14 * DAY, 7 * DAY


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of credential: its type, and its outputs that matter here."""

    name: str
    type: str
    id: str
    value: str
    previous_id: str
    previous_value: str
    expiry: str


TOKEN = Kind("Token", TOKEN_TYPE, "tokenId", "tokenValue", "previousTokenId", "previousTokenValue", "expiryTime")
OBO_TOKEN = dataclasses.replace(TOKEN, name="OboToken", type=OBO_TOKEN_TYPE)
SECRET = Kind(
    "ServicePrincipalSecret",
    SECRET_TYPE,
    "servicePrincipalSecretId",
    "secret",
    "previousSecretId",
    "previousSecret",
    "expireTime",
)
KINDS = {kind.name: kind for kind in (TOKEN, OBO_TOKEN, SECRET)}


@dataclasses.dataclass
class Robot:
    """A service principal for the credentials that need one."""

    id: str
    application_id: str


def robot(workspace, name):
    made = workspace.control("/service-principals", {"application_id": name})
    return Robot(made["id"], made["application_id"])


def signs_in(workspace, application_id, value):
    """Whether a secret opens the token endpoint."""
    pair = base64.b64encode(f"{application_id}:{value}".encode()).decode()
    request = urllib.request.Request(
        workspace.host + "/oidc/v1/token",
        data=b"grant_type=client_credentials&scope=all-apis",
        headers={"authorization": f"Basic {pair}"},
    )
    try:
        with workspace._opener.open(request, timeout=30):
            return True
    except urllib.error.HTTPError as error:
        with error:
            return False


def rotating(kind, name, robot=None, **more):
    """Inputs of a credential that rotates with overlap, found again in the workspace by its name."""
    terms = {"rotateBeforeSeconds": WINDOW, "overlapSeconds": OVERLAP} | more
    if kind is SECRET:
        inputs = {"servicePrincipalId": robot.id, "lifetime": f"{LIFETIME}s"} | terms
    else:
        inputs = {"comment": name, "lifetimeSeconds": LIFETIME} | terms
    if kind is OBO_TOKEN:
        inputs["applicationId"] = robot.application_id
    return {name: value for name, value in inputs.items() if value is not None}


def milliseconds(time):
    """A time of the outputs, an RFC 3339 text or a number, in milliseconds; None where there is none."""
    if isinstance(time, str):
        return datetime.datetime.fromisoformat(time).timestamp() * 1000 if time else None
    return time if time and time > 0 else None


def revealed(value):
    return value["value"] if is_secret(value) else value


@dataclasses.dataclass
class State:
    """What an engine keeps of a resource."""

    id: str
    inputs: dict
    outputs: dict
    refresh: bool = False
    incomplete: list = dataclasses.field(default_factory=list)


class Resource:
    """A credential of a program, with its state."""

    def __init__(self, kind, name, robot=None, **more):
        self.kind, self.name, self.robot = kind, name, robot
        self.urn = f"urn:pulumi:test::test::{kind.type}::{name}"
        self.program = rotating(kind, name, robot, **more)
        self.state = None
        # States that were replaced and are not deleted yet.
        self.leaving = []

    @property
    def current(self):
        """The id of the credential in use."""
        return self.state.outputs.get(self.kind.id) or self.state.id

    @property
    def previous(self):
        """The id of the one before, while it is kept."""
        return self.state.outputs.get(self.kind.previous_id)

    @property
    def revoke_time(self):
        return milliseconds(self.state.outputs.get("previousRevokeTime"))

    def known(self):
        """Ids of all credentials in the state."""
        if self.state is None:
            return set()
        return {self.current} | ({self.previous} if self.previous else set()) | {it.id for it in self.leaving}


def every(state, resource):
    """All credentials that were ever made for a resource, in a workspace's state."""
    if resource.kind is SECRET:
        return [it for it in state["secrets"] if str(it["principal_id"]) == str(resource.robot.id)]
    marked = f"{resource.name} (replaces "
    comments = [(it["comment"] or "", it) for it in state["tokens"]]
    return [it for comment, it in comments if comment == resource.name or comment.startswith(marked)]


@dataclasses.dataclass(frozen=True)
class Crash:
    """Who dies at the n-th request of an `up`, and whether the workspace has done what it asks for by then.

    plugin    SIGKILL
    engine    its connection to the plugin ends, and the plugin ends by itself once it has put all in order
    state     the engine dies after a reply and before it saves it; the n-th reply of a change counts
    nobody    the request fails
    """

    who: str
    request: int
    done: bool
    # Only requests of this method count.
    method: str | None = None
    # How long an answer takes that the engine does not live to see.
    delay_ms: int = 150

    @classmethod
    def any(cls, chance):
        who = chance.choice(("plugin", "plugin", "engine", "state", "nobody"))
        method = chance.choice((None, None, "POST", "POST", "PATCH", "DELETE"))
        return cls(who, chance.randint(1, 3 if method else 7), chance.random() < 0.6, method)


class Died(Exception):
    """The engine is dead."""


class Failed(Exception):
    """An `up` failed, and the engine has saved what it got."""


def worked(workspace, crash):
    """Gives the workspace time to do the work of a request that is never answered; the workspace may also refuse it."""
    for _ in range(50 if crash.done and crash.who == "plugin" else 0):
        if any(it["fault"] and it["work_done"] for it in workspace.requests()):
            return
        time.sleep(0.004)


class Engine:
    """Runs a program of credentials again and again, as `pulumi up` does."""

    def __init__(self, home, workspace, resources, at_once=1, refreshes=True, judge=None, env=None, **config):
        self.home, self.workspace, self.resources = pathlib.Path(home), workspace, resources
        self.at_once, self.refreshes, self.judge, self.env = at_once, refreshes, judge, env
        self.config = {"host": workspace.host, "token": secret(workspace.token), "rateLimit": 100_000} | config
        self.log = FakeEngine()
        self.plugin = self.provider = None
        self.crash = None
        self.calls = 0
        self.lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        if self.plugin:
            self.plugin.stop()
        self.log.stop()

    # --- Processes ---

    def _start(self):
        """Every command has an instance of its own, and a new process if the last one died."""
        if self.plugin and self.plugin.process.poll() is None:
            self.plugin.channels.pop().close()
        else:
            if self.plugin:
                self.plugin.stop()
            self.plugin = Plugin(self.home, engine=self.log.address, env=self.env)
        self.provider = self.plugin.connect()
        self.provider.handshake(engine_address=self.log.address, supports_refresh_before_update=self.refreshes)
        self.provider.configure(**self.config)

    def _end(self):
        """Ends the plugin of a dead engine, which first finishes what it is doing."""
        for channel in self.plugin.channels:
            channel.close()
        self.plugin.process.send_signal(signal.SIGTERM)
        assert self.plugin.process.wait(timeout=60) == 0, self.plugin.stderr

    def _arm(self, crash):
        """Has somebody die at a request of the next calls."""
        self.crash, self.calls = crash, 0
        if crash is None or crash.who == "state":
            return None
        action = {
            "plugin": {"hang": True} | ({"work": True} if crash.done else {}),
            "engine": {"delay_ms": crash.delay_ms, "work": crash.done, "detached": True},
            "nobody": {"status": 500, "work": crash.done},
        }[crash.who]
        self.workspace.forget_requests()
        method = {"method": crash.method} if crash.method else {}
        self.workspace.control("/faults", {"match": {"nth": crash.request} | method, "action": action})
        over = threading.Event()
        striking = threading.Thread(target=self._strike, args=(crash, over), daemon=True)
        striking.start()
        return over, striking

    def _strike(self, crash, over):
        while not over.is_set():
            if crash.who != "nobody" and self.workspace.control("/faults")[0]["hit"]:
                if crash.who == "plugin":
                    worked(self.workspace, crash)
                    self.plugin.process.kill()
                    self.plugin.process.wait(timeout=60)
                else:
                    for channel in self.plugin.channels:
                        channel.close()
                return
            time.sleep(0.004)

    def _disarm(self, armed):
        if armed:
            over, striking = armed
            over.set()
            striking.join()
            self.workspace.control("/faults", method="DELETE")
        self.crash = None

    # --- Operations ---

    def up(self, crash=None):
        """Runs `pulumi up`; raises Died or Failed if it did not end well. The resources' states have what was saved."""
        return self._run(self._up, crash)

    def preview(self):
        """What `pulumi up` does before it asks for confirmation: an error here is the end of it."""
        return self._run(lambda: self._each(lambda it: self.diff(it, self._check(it))), None)

    def refresh(self, crash=None):
        return self._run(lambda: self._each(self._read), crash)

    def destroy(self, crash=None):
        return self._run(lambda: self._each(self._destroy), crash)

    def said(self):
        """Everything that the plugin told the user so far."""
        return "\n".join(message for _, _, message, _ in self.log.messages)

    def _run(self, operation, crash):
        self._start()
        armed = self._arm(crash)
        try:
            return operation()
        except (grpc.RpcError, ValueError, Died) as error:
            if crash is None or crash.who == "nobody":
                raise Failed(getattr(error, "details", lambda: str(error))()) from error
            raise Died(crash) from error
        finally:
            self._disarm(armed)
            if crash and crash.who in ("engine", "state") and self.plugin.process.poll() is None:
                self._end()

    def _each(self, work):
        """Like the engine, goes on with what has begun when something fails."""
        if self.at_once == 1:
            return [work(resource) for resource in self.resources]
        with futures.ThreadPoolExecutor(self.at_once) as pool:
            under_way = [pool.submit(work, resource) for resource in self.resources]
            futures.wait(under_way)
        return [it.result() for it in under_way]

    def _up(self):
        """Returns the operation that each resource got, in their order."""
        if any(it.state and it.state.refresh for it in self.resources):
            self._each(lambda it: self._read(it) if it.state and it.state.refresh else None)
        done = self._each(self._step)
        self._each(self._delete_leaving)
        return done

    def _check(self, resource):
        old = resource.state
        checked = self.provider.stub.Check(
            pb.CheckRequest(urn=resource.urn, news=struct(resource.program), olds=struct(old.inputs if old else {})),
            timeout=self.provider.TIMEOUT,
        )
        assert not checked.failures, checked.failures
        return plain(checked.inputs)

    def _step(self, resource):
        stub, timeout = self.provider.stub, self.provider.TIMEOUT
        old = resource.state
        news = self._check(resource)
        if old is None:
            self._create(resource, news)
            return "create"
        verdict = self.diff(resource, news)
        if verdict.replaces:
            resource.leaving.append(old)
            try:
                self._create(resource, news)
            except BaseException:
                if resource.state is old:
                    resource.leaving.remove(old)
                raise
            return "replace"
        if verdict.changes == pb.DiffResponse.DIFF_NONE and not old.incomplete:
            resource.state = dataclasses.replace(old, inputs=news)
            return "same"
        request = pb.UpdateRequest(
            id=old.id, urn=resource.urn, olds=struct(old.outputs), news=struct(news), old_inputs=struct(old.inputs)
        )
        try:
            response = self._changes(lambda: stub.Update(request, timeout=timeout))
        except grpc.RpcError as error:
            # The engine keeps the old inputs of an update that failed half-way.
            self._save_incomplete(resource, error, old.inputs)
            raise
        resource.state = State(old.id, news, plain(response.properties), response.refresh_before_update)
        if self.judge:
            self.judge.after(self, resource)
        return "update"

    def diff(self, resource, news):
        """What the plugin says about new inputs; asked twice, it says the same."""
        old = resource.state
        request = pb.DiffRequest(
            id=old.id, urn=resource.urn, olds=struct(old.outputs), news=struct(news), old_inputs=struct(old.inputs)
        )
        verdict = self.provider.stub.Diff(request, timeout=self.provider.TIMEOUT)
        if self.judge:
            self.judge.verdict(self, resource, news, request, verdict)
        return verdict

    def _create(self, resource, news):
        request = pb.CreateRequest(urn=resource.urn, properties=struct(news))
        try:
            response = self._changes(lambda: self.provider.stub.Create(request, timeout=self.provider.TIMEOUT))
        except grpc.RpcError as error:
            self._save_incomplete(resource, error, news)
            raise
        resource.state = State(response.id, news, plain(response.properties), response.refresh_before_update)

    def _changes(self, call):
        """A call whose reply the engine may not live to save."""
        reply = call()
        with self.lock:
            self.calls += 1
            if self.crash and self.crash.who == "state" and self.calls == self.crash.request:
                raise Died(self.crash)
        return reply

    @staticmethod
    def _save_incomplete(resource, error, inputs):
        if isinstance(error, grpc.Call) and "grpc-status-details-bin" in dict(error.trailing_metadata() or ()):
            _, detail = init_failed(error)
            resource.state = State(
                detail.id, inputs, plain(detail.properties), detail.refresh_before_update, list(detail.reasons)
            )

    def _read(self, resource):
        old = resource.state
        request = pb.ReadRequest(id=old.id, urn=resource.urn, inputs=struct(old.inputs), properties=struct(old.outputs))
        try:
            response = self.provider.stub.Read(request, timeout=self.provider.TIMEOUT)
        except grpc.RpcError as error:
            if "grpc-status-details-bin" not in dict(error.trailing_metadata() or ()):
                raise
            # A refresh goes on with what is unhealthy.
            _, detail = init_failed(error)
            resource.state = State(
                detail.id,
                plain(detail.inputs) or old.inputs,
                plain(detail.properties),
                detail.refresh_before_update,
                list(detail.reasons),
            )
            return
        if response.id:
            resource.state = State(
                response.id, plain(response.inputs), plain(response.properties), response.refresh_before_update
            )
        else:
            resource.state = None

    def _delete(self, resource, state):
        request = pb.DeleteRequest(
            id=state.id, urn=resource.urn, properties=struct(state.outputs), old_inputs=struct(state.inputs)
        )
        self.provider.stub.Delete(request, timeout=self.provider.TIMEOUT)

    def _delete_leaving(self, resource):
        for state in list(resource.leaving):
            self._delete(resource, state)
            resource.leaving.remove(state)

    def _destroy(self, resource):
        self._delete_leaving(resource)
        if resource.state:
            self._delete(resource, resource.state)
            resource.state = None


class Judge:
    """The rules that every answer of Diff must follow."""

    # Outputs that a rotation changes.
    OUTCOME = {"creationTime", "createTime", "updateTime", "tokenId", "tokenValue", "secret", "servicePrincipalSecretId"}

    def verdict(self, engine, resource, news, request, verdict):
        again = engine.provider.stub.Diff(request, timeout=engine.provider.TIMEOUT)
        if again != verdict:
            # Only the passing of time may have changed the answer.
            now = engine.workspace.control("/state")["now_ms"]
            just_now = resource.previous and 0 <= now - resource.revoke_time < 5000
            assert just_now, f"not the same answer to the same question: {verdict} and {again}"
            verdict = again
        assert verdict.hasDetailedDiff and verdict.changes != pb.DiffResponse.DIFF_UNKNOWN
        assert (verdict.changes == pb.DiffResponse.DIFF_SOME) == bool(verdict.detailedDiff)
        unexplained = self.unexplained(engine, resource, news, verdict)
        assert not unexplained, f"{unexplained} of {resource.name} changed without a cause: {resource.state}, {news}"

    def unexplained(self, engine, resource, news, verdict):
        there = engine.workspace.control("/state")
        now = there["now_ms"]
        state, kind = resource.state, resource.kind
        changed = {path for path in {*news, *state.inputs} if news.get(path) != state.inputs.get(path)}
        causes = set(changed)
        expires = milliseconds(state.outputs.get(kind.expiry))
        if expires and now >= expires - news.get("rotateBeforeSeconds", 0) * 1000:
            causes.add(kind.expiry)
        live = {it["id"] for it in every(there, resource) if it["live"]}
        if resource.current not in live:
            causes |= {kind.expiry, kind.id}
        if resource.previous and (now >= resource.revoke_time - 1000 or resource.previous not in live or causes):
            causes |= {kind.previous_id, kind.previous_value, "previousRevokeTime"}
        if state.incomplete or "__unproved" in state.outputs:
            causes |= {kind.id, kind.value}
        reported = {path.split(".")[0].split("[")[0] for path in verdict.detailedDiff}
        return reported - causes - (self.OUTCOME if reported & causes else set())

    def after(self, engine, resource):
        """Nothing is left to do right after an update, except that what has had its time is revoked by the next one."""
        state = resource.state
        request = pb.DiffRequest(
            id=state.id, urn=resource.urn, olds=struct(state.outputs), news=struct(state.inputs), old_inputs=struct(state.inputs)
        )
        verdict = engine.provider.stub.Diff(request, timeout=engine.provider.TIMEOUT)
        left = set(verdict.detailedDiff)
        if resource.previous and engine.workspace.control("/state")["now_ms"] >= resource.revoke_time:
            left -= {resource.kind.previous_id}
        assert not left, f"not quiet after an update: {verdict}, {state}"


class Watch:
    """Keeps who holds which values, and checks that all of them work.

    A value works for the length of its overlap after it could last be read: that covers a process that reads it after
    every `up`, and a laptop that goes on with what it had at its last sync, whenever that was. A credential that is
    dead stays dead, so looking afterwards covers the time in between.
    """

    # The end of the overlap, in which an old value need not work.
    MARGIN = HOUR

    def __init__(self, workspace, resources):
        self.workspace, self.resources = workspace, resources
        self.readable = {}
        self.tried = set()
        self.orphans_seen = self.most = 0

    def __str__(self):
        return f"{self.orphans_seen} orphans seen, at most {self.most} alive"

    @property
    def now(self):
        return self.workspace.control("/state")["now_ms"]

    def look(self, settled=False):
        """`settled`: after an `up` that ended well, when nothing may be alive that the state does not know."""
        there = self.workspace.control("/state")
        now = there["now_ms"]
        for resource in self.resources:
            all_of_it = {it["id"]: it for it in every(there, resource)}
            live = {it for it in all_of_it if all_of_it[it]["live"]}
            known = resource.known()
            self._try_value(resource)
            self.readable[resource.name, resource.current] = now
            for (name, held), since in self.readable.items():
                if name == resource.name and now < since + (OVERLAP - self.MARGIN) * 1000:
                    hours = (now - since) / 1000 / HOUR
                    assert held in live, f"{name}: {held} is dead, though it could be read {hours:.1f} h ago"
            self.most = max(self.most, len(live & known))
            assert len(live & known) <= 2, f"{resource.name}: {live & known} are alive"
            orphans = live - known
            self.orphans_seen += len(orphans)
            if settled:
                assert not orphans, f"{resource.name}: {orphans} live on unknown: {resource.state}"
            if resource.kind is not SECRET:
                assert len(orphans) <= 1, f"{resource.name}: {orphans}"
                for orphan in orphans:
                    mark = f"(replaces {resource.current[:16]})"
                    assert all_of_it[orphan]["comment"].endswith(mark), f"nothing tells the orphan: {all_of_it[orphan]}"

    def _try_value(self, resource):
        """Checks, once for each credential, that the value in the state is its own."""
        if (resource.name, resource.current) in self.tried:
            return
        value = revealed(resource.state.outputs[resource.kind.value])
        if resource.kind is SECRET:
            assert signs_in(self.workspace, resource.robot.application_id, value), resource.name
        else:
            assert fingerprint(value) == resource.current and self.workspace.accepts(value), resource.name
        if resource.previous:
            previous = revealed(resource.state.outputs[resource.kind.previous_value])
            if resource.kind is not SECRET:
                assert fingerprint(previous) == resource.previous
        self.tried.add((resource.name, resource.current))

    def clear_named(self, said):
        """What people do: they delete secrets that a message names and that no state has."""
        there = self.workspace.control("/state")
        for resource in self.resources:
            if resource.kind is SECRET:
                for it in every(there, resource):
                    if it["live"] and it["id"] not in resource.known() and it["id"] in said:
                        self.workspace.control(f"/secrets/{it['id']}/delete", {})


def two_years(engine, watch, chance, days=730, quiet=1.0):
    """Runs `up` every week or so, with somebody dying now and then, and destroys in the end. Counts what happened.

    quiet: the share of the weeks without anything to do in which it runs all the same.
    """
    seen = collections.Counter()
    engine.up()
    watch.look(settled=True)
    began = watch.now
    for week in range(1, days // 7 + 1):
        # A schedule, whose runs may begin late.
        pause = (began - watch.now) // 1000 + week * 7 * DAY + chance.randint(0, 6 * HOUR)
        first = chance.randint(1, pause - 1)
        for seconds in (first, pause - first):
            engine.workspace.advance(seconds)
            watch.look()
        now = watch.now
        busy = any(due(it, now) for it in engine.resources)
        if not busy and chance.random() > quiet:
            continue
        before = [(it.current, it.previous) for it in engine.resources]
        # In most weeks nothing happens, and an accident then shows little.
        likely = 0.7 if busy else 0.1
        while True:
            crash = Crash.any(chance) if chance.random() < likely else None
            seen["ups"] += 1
            try:
                engine.up(crash)
                break
            except (Died, Failed) as error:
                assert crash, error
                seen[f"{crash.who} died"] += 1
                watch.clear_named(engine.said() + str(error))
                watch.look()
                # Somebody sees the failure, and runs it again.
                engine.workspace.advance(chance.randint(0, 3 * HOUR))
                watch.look()
        watch.clear_named(engine.said())
        watch.look(settled=True)
        for it, (current, previous) in zip(engine.resources, before, strict=True):
            seen["rotations"] += it.current != current
            seen["settled"] += bool(previous and it.previous != previous)
    while True:
        crash = Crash.any(chance) if chance.random() < 0.5 else None
        try:
            engine.destroy(crash)
            break
        except (Died, Failed) as error:
            assert crash, error
    there = engine.workspace.control("/state")
    for it in engine.resources:
        left = [one["id"] for one in every(there, it) if one["live"]]
        assert not left, f"{it.name}: {left} live on after the end"
    return seen


def due(resource, now):
    """Whether the next `up` has something to do."""
    expires = milliseconds(resource.state.outputs.get(resource.kind.expiry))
    return now >= expires - WINDOW * 1000 or resource.previous and now >= resource.revoke_time


class RealEngine:
    """The same on the real engine, with a program in YAML: what dies is its process, or that of its plugin."""

    def __init__(self, pulumi, workspace, resources):
        self.pulumi, self.workspace, self.resources = pulumi, workspace, resources
        types = {kind.type: f"databricks:{kind.name}" for kind in KINDS.values()}
        pulumi.write({it.name: {"type": types[it.kind.type], "properties": it.program} for it in resources})
        pulumi.init()
        self.known = None
        self.output = []

    def said(self):
        return "\n".join(self.output)

    def up(self, crash=None):
        self._run("up", crash)

    def destroy(self, crash=None):
        self._run("destroy", crash)

    def _run(self, operation, crash):
        if crash:
            self._prepare(crash)
        process = subprocess.Popen(
            ["pulumi", operation, "--yes", "--skip-preview", "--stack", "test", "--non-interactive", "--color", "never"],
            executable=engine_bin_dir() / "pulumi",
            env=self.pulumi.env,
            cwd=self.pulumi.project_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        died = []
        if crash and crash.who != "nobody":
            striking = threading.Thread(target=self._strike, args=(crash, process, died), daemon=True)
            striking.start()
        try:
            text, _ = process.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if crash and crash.who != "nobody":
            striking.join()
        self.workspace.control("/faults", method="DELETE")
        self.output.append(text)
        if died and crash.who != "plugin":
            wait_for(lambda: all(ended(it) for it in died), what="the end of the plugin")
            self.pulumi.run("cancel", "--yes", "--stack", "test", ok=None)
        self._load()
        if died:
            raise Died(f"{crash}: {text}")
        if process.returncode:
            raise Failed(text)

    def _prepare(self, crash):
        self.workspace.forget_requests()
        action = {
            "plugin": {"hang": True} | ({"work": True} if crash.done else {}),
            "engine": {"delay_ms": 400, "work": crash.done, "detached": True},
            "nobody": {"status": 500, "work": crash.done},
        }.get(crash.who)
        method = {"method": crash.method} if crash.method else {}
        if action:
            self.workspace.control("/faults", {"match": {"nth": crash.request} | method, "action": action})

    def _strike(self, crash, process, died):
        def hit():
            if crash.who == "state":
                requests = self.workspace.requests(method=crash.method)
                answered = [it for it in requests if it["status"]]
                return len(answered) >= crash.request
            if self.workspace.control("/faults")[0]["hit"]:
                worked(self.workspace, crash)
                return True
            return False

        while process.poll() is None:
            if hit():
                plugins = children(process.pid)
                died.extend(plugins or [0])
                for pid in plugins if crash.who == "plugin" else [process.pid]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.004)

    def _load(self):
        """Reads the state as the engine saved it; values only if there are new ones, since that takes a process."""
        file = self.pulumi.state_dir / ".pulumi/stacks/test/test.json"
        if not is_json(file):
            # The engine was killed while it wrote. It keeps what it wrote before, and people go back to that.
            shutil.copy(f"{file}.bak", file)
        attributes = file.with_name(f"{file.name}.attrs")
        if attributes.exists() and not is_json(attributes):
            attributes.unlink()
        saved = json.loads(file.read_text(encoding="utf-8"))
        latest = saved["checkpoint"].get("latest") or {}
        self._take(latest.get("resources") or [])
        known = [(it.state and (it.current, it.previous)) for it in self.resources]
        if known != self.known:
            self.known = known
            self.values = self.pulumi.export(show_secrets=True)["deployment"].get("resources") or []
            self.values = {it["urn"]: it.get("outputs", {}) for it in self.values if not it.get("delete")}
        for it in self.resources:
            if it.state:
                outputs = self.values[it.urn]
                for name in (it.kind.value, it.kind.previous_value):
                    if name in outputs:
                        it.state.outputs[name] = json.loads(outputs[name]["plaintext"])

    def _take(self, saved):
        for it in self.resources:
            it.state = None
            it.leaving = []
            for found in saved:
                if found["type"] == it.kind.type and found["urn"].endswith(f"::{it.name}"):
                    it.urn = found["urn"]
                    state = State(
                        found["id"],
                        found["inputs"],
                        found["outputs"],
                        found.get("refreshBeforeUpdate", False),
                        found.get("initErrors", []),
                    )
                    if found.get("delete"):
                        it.leaving.append(state)
                    else:
                        it.state = state


def is_json(file):
    """Whether a file was written to its end."""
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")))
    except ValueError:
        return False


def children(pid):
    """Ids of the plugins that a process has started."""
    listing = subprocess.run(["ps", "-Ao", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    return [int(row[0]) for row in rows if row[1] == str(pid) and plugin_bin().name in row[2]]


def ended(pid):
    """Whether a process has ended, even if nobody has waited for it yet."""
    if not pid:
        return True
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip()[:1] in ("", "Z")
