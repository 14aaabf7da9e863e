"""Rotation with overlap, rule by rule, without the real engine. docs/rotation.md says the same to people."""

import json
import re

import pytest
from conftest import CREDENTIAL_TYPES, ROOT, UNKNOWN, Provider, is_secret, plain, struct
from pulumi.runtime.proto import provider_pb2 as pb
from support_rotation import (
    DAY,
    HOUR,
    KINDS,
    LIFETIME,
    OBO_TOKEN,
    OVERLAP,
    SECRET,
    TOKEN,
    WINDOW,
    Crash,
    Died,
    Engine,
    Failed,
    Judge,
    Resource,
    every,
    milliseconds,
    revealed,
    robot,
    signs_in,
)

TOKENS = (TOKEN, OBO_TOKEN)


def test_every_credential_has_its_turn():
    """Whoever adds a resource adds it to both lists."""
    resources = json.loads((ROOT / "schema.json").read_text())["resources"]
    assert {kind.type for kind in KINDS.values()} == set(CREDENTIAL_TYPES) == set(resources)


class Stack:
    """A stack with one credential, which exists already."""

    def __init__(self, home, workspace, kind, **more):
        self.workspace, self.kind = workspace, kind
        self.resource = Resource(kind, "credential", None if kind is TOKEN else robot(workspace, "robot"), **more)
        self.engine = Engine(home, workspace, [self.resource], judge=Judge())
        self.up()

    def up(self, crash=None):
        (done,) = self.engine.up(crash)
        return done

    def wait(self, seconds):
        self.workspace.advance(seconds)

    def rotate(self):
        """Lets the time of a rotation come, and rotates. Returns the ids of both."""
        old = self.resource.current
        self.wait(LIFETIME - WINDOW + HOUR)
        assert self.up() == "update"
        assert self.resource.previous == old != self.resource.current
        return old, self.resource.current

    @property
    def outputs(self):
        return self.resource.state.outputs

    def program(self, **changes):
        for name, value in changes.items():
            if value is None:
                self.resource.program.pop(name, None)
            else:
                self.resource.program[name] = value

    def all(self):
        return every(self.workspace.control("/state"), self.resource)

    def live(self):
        """Ids of what works, oldest first."""
        return [it["id"] for it in self.all() if it["live"]]

    def works(self, value):
        if self.kind is SECRET:
            return signs_in(self.workspace, self.resource.robot.application_id, value)
        return self.workspace.accepts(value)

    def kill_by_hand(self, it):
        # For a newer one, the plugin would go on looking, since lists lag behind.
        self.wait(60)
        where = "secrets" if self.kind is SECRET else "tokens"
        self.workspace.control(f"/{where}/{it}/{'delete' if self.kind is SECRET else 'revoke'}", {})

    def said(self, severity=None):
        """What the plugin has told the user since the last time, without the ephemeral messages."""
        messages = self.engine.log.messages
        told = [text for level, _, text, ephemeral in messages if severity in (None, level) and not ephemeral]
        self.engine.log.messages.clear()
        return "\n".join(told)

    def comment(self, it):
        (found,) = [one["comment"] for one in self.all() if one["id"] == it]
        return found


@pytest.fixture
def stack(tmp_path, workspace):
    started = []

    def start(kind, **more):
        started.append(Stack(tmp_path, workspace, kind, **more))
        return started[-1]

    yield start
    for it in started:
        it.engine.__exit__()


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
both_tokens = pytest.mark.parametrize("kind", TOKENS, ids=[kind.name for kind in TOKENS])


# --- Rotation, settling ---


@every_kind
def test_both_work_until_the_time_has_come(stack, kind):
    it = stack(kind)
    first = revealed(it.outputs[kind.value])
    assert it.up() == "same"
    old, new = it.rotate()
    assert it.live() == [old, new]
    assert is_secret(it.outputs[kind.value]) and is_secret(it.outputs[kind.previous_value])
    assert revealed(it.outputs[kind.previous_value]) == first != revealed(it.outputs[kind.value])
    assert it.works(first) and it.works(revealed(it.outputs[kind.value]))
    now = it.workspace.control("/state")["now_ms"]
    assert abs(it.resource.revoke_time - now - OVERLAP * 1000) < 60_000

    # The refresh before the update sets the id right, and nothing else is needed for that.
    assert it.resource.state.id == old
    assert it.up() == "same" and it.resource.state.id == new
    it.wait(OVERLAP - HOUR)
    assert it.up() == "same" and it.live() == [old, new]
    it.wait(HOUR + 60)
    assert it.up() == "update" and it.live() == [new]
    assert not [name for name in it.outputs if "revious" in name or name == "__currentId"]
    assert it.up() == "same"


@every_kind
def test_the_old_one_expires_before_its_overlap_ends(stack, kind):
    it = stack(kind, overlapSeconds=30 * DAY)
    expires = milliseconds(it.outputs[kind.expiry])
    it.rotate()
    assert abs(it.resource.revoke_time - expires) < 2000


@every_kind
def test_what_asks_for_a_rotation(stack, kind):
    """Changes that would replace the credential without an overlap, and keep its owner."""
    it = stack(kind, rotateWhenChanged={"asked": "1"})
    longer = {"lifetime": f"{100 * DAY}s"} if kind is SECRET else {"lifetimeSeconds": 100 * DAY}
    changes = [{"rotateWhenChanged": {"asked": "2"}}, longer]
    changes += [{"scopes": ["sql"]}, {"timeRotating": "a"}] if kind is SECRET else [{"autoscopeEnabled": True}]
    for change in changes:
        old = it.resource.current
        it.program(**change)
        assert it.up() == "update", change
        assert it.resource.previous == old and it.live() == [old, it.resource.current], change
        assert it.up() == "same", change


@pytest.mark.parametrize("kind", (OBO_TOKEN, SECRET), ids=("OboToken", "ServicePrincipalSecret"))
def test_another_owner_is_a_replacement(stack, workspace, kind):
    it = stack(kind)
    both = it.rotate()
    other = robot(workspace, "other")
    it.program(**({"applicationId": other.application_id} if kind is OBO_TOKEN else {"servicePrincipalId": other.id}))
    assert it.up() == "replace"
    assert not set(both) & set(it.live()) and it.resource.previous is None


@every_kind
def test_rotating_again_within_the_overlap(stack, kind):
    it = stack(kind, rotateWhenChanged={"asked": "1"})
    first = it.resource.current
    it.program(rotateWhenChanged={"asked": "2"})
    it.up()
    second = it.resource.current
    assert it.said("WARNING") == ""
    it.program(rotateWhenChanged={"asked": "3"})
    it.up()
    assert it.live() == [second, it.resource.current] and it.resource.previous == second
    warning = it.said("WARNING")
    assert first in warning and "revoked now" in warning


@every_kind
def test_destroy_revokes_both(stack, kind):
    it = stack(kind)
    both = it.rotate()
    assert it.live() == list(both)
    it.engine.destroy()
    assert it.live() == []


@every_kind
def test_removing_the_overlap(stack, kind):
    it = stack(kind)
    old, new = it.rotate()
    it.program(overlapSeconds=None)
    it.up()
    assert it.live() == [old, new] and it.resource.previous == old
    it.wait(OVERLAP + 60)
    it.up()
    assert it.live() == [new]
    it.wait(LIFETIME - WINDOW)
    assert it.up() == "replace" and it.live() == [it.resource.current]


@every_kind
def test_a_rotation_after_the_overlap_was_removed(stack, kind):
    """The old one has no time of its own any more, but is not revoked by the run that made its successor."""
    it = stack(kind, rotateWhenChanged={"asked": "1"})
    it.rotate()
    it.program(overlapSeconds=None, rotateWhenChanged={"asked": "2"})
    old = it.resource.current
    assert it.up() == "update" and it.live() == [old, it.resource.current]
    it.wait(5)
    assert it.up() == "update" and it.live() == [it.resource.current]


@every_kind
def test_a_refresh_moves_the_id_and_nothing_else(stack, kind):
    it = stack(kind)
    old, new = it.rotate()
    before = dict(it.outputs)
    it.engine.refresh()
    assert it.resource.state.id == new
    moved = {name for name in {*before, *it.outputs} if before.get(name) != it.outputs.get(name)}
    assert moved <= {"id", "__currentId"}
    before = dict(it.outputs)
    it.engine.refresh()
    assert it.outputs == before and it.live() == [old, new]
    it.wait(OVERLAP + 60)
    assert it.up() == "update"
    before = dict(it.outputs)
    it.engine.refresh()
    assert it.outputs == before and it.resource.state.id == new


# --- A plain up notices ---


@every_kind
def test_somebody_has_revoked_it(stack, kind):
    it = stack(kind)
    it.kill_by_hand(it.resource.current)
    assert it.up() == "create" and it.live() == [it.resource.current]
    old, new = it.rotate()
    # While the previous one lives on, it is not forgotten.
    it.kill_by_hand(new)
    assert it.up() == "update" and it.resource.previous == old
    assert it.live() == [old, it.resource.current]
    assert it.up() == "same"
    it.wait(OVERLAP + 60)
    it.up()
    assert it.live() == [it.resource.current]


@every_kind
def test_somebody_has_revoked_the_one_before(stack, kind):
    it = stack(kind)
    old, new = it.rotate()
    it.kill_by_hand(old)
    assert it.up() in ("same", "update")
    it.wait(OVERLAP + 60)
    it.up()
    assert it.live() == [new] and it.resource.previous is None
    assert it.up() == "same"


@every_kind
def test_what_asks_for_the_refresh(stack, kind):
    """A resource that states a rotation does, on an engine that can refresh before an update."""
    it = stack(kind)
    assert it.resource.state.refresh
    it.rotate()
    assert it.resource.state.refresh
    it.program(overlapSeconds=None, rotateBeforeSeconds=None)
    it.wait(OVERLAP + 60)
    it.up()
    assert not it.resource.state.refresh
    it.program(rotateWhenChanged={"asked": "1"})
    it.program(**({"lifetime": f"{30 * DAY}s"} if kind is SECRET else {"lifetimeSeconds": 30 * DAY}))
    it.up()
    assert it.resource.state.refresh


@pytest.mark.parametrize("switch", ("engine", "environment"))
def test_nobody_wants_the_refresh(tmp_path, workspace, monkeypatch, switch):
    it = Resource(TOKEN, "credential")
    environment = {"PULUMI_DATABRICKS_REFRESH_BEFORE_UPDATE": "off"} if switch == "environment" else {}
    with Engine(tmp_path, workspace, [it], refreshes=switch == "environment", env=environment) as engine:
        engine.up()
        workspace.revoke(it.current)
        assert engine.up() == ["same"] and not it.state.refresh


# --- Proof ---


UNKNOWN_TOKEN = {"status": 403, "error_code": 403, "message": "Invalid access token."}


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [(TOKEN, {"status": 401}), (TOKEN, UNKNOWN_TOKEN), (SECRET, None)],
    ids=("Token", "Token, 403", "ServicePrincipalSecret"),
)
def test_a_new_one_that_is_refused(stack, workspace, kind, refusal):
    it = stack(kind, rotateWhenChanged={"asked": "1"})
    old = it.resource.current
    it.program(rotateWhenChanged={"asked": "2"})
    refuse(it, refusal)
    with pytest.raises(Failed) as caught:
        it.up()
    new = it.resource.current
    assert new in str(caught.value) and "refuses it" in str(caught.value)
    assert it.resource.previous == old and it.resource.state.incomplete and it.live() == [old, new]
    # As long as the new one is refused, nothing that works is revoked. One more run is enough: each waits for a while.
    it.wait(OVERLAP + DAY)
    if kind is TOKEN:
        with pytest.raises(Failed):
            it.up()
    assert old in it.live()
    workspace.control("/faults", method="DELETE")
    it.up()
    assert not it.resource.state.incomplete and it.works(revealed(it.outputs[kind.value]))
    it.wait(OVERLAP + DAY)
    it.up()
    assert it.live() == [it.resource.current]
    assert it.up() == "same"


def refuse(it, refusal=None):
    """The workspace refuses every new credential."""
    if it.kind is SECRET:
        it.workspace.fault("/oidc/v1/token", {"status": 401, "body": {"error": "invalid_client"}}, times=0)
    else:
        # The first such request is the plugin's own, for who it signs in as, where it makes one.
        it.workspace.fault("/scim/v2/Me", refusal or {"status": 401}, times=0, nth=2 if it.kind is TOKEN else 1)


def test_a_replacement_that_is_refused(stack, workspace):
    """Without an overlap as well, the old one stays until the new one works."""
    it = stack(TOKEN, overlapSeconds=None, rotateWhenChanged={"asked": "1"})
    old = it.resource.current
    it.program(rotateWhenChanged={"asked": "2"})
    refuse(it)
    with pytest.raises(Failed) as caught:
        it.up()
    new = it.resource.current
    assert new in str(caught.value) and it.live() == [old, new]
    workspace.control("/faults", method="DELETE")
    assert it.up() == "update" and it.live() == [new]


@both_tokens
def test_a_new_one_with_few_rights_works(stack, workspace, kind):
    it = stack(kind, rotateWhenChanged={"asked": "1"})
    it.program(rotateWhenChanged={"asked": "2"})
    workspace.fault("/scim/v2/Me", {"status": 403}, times=0, nth=2 if kind is TOKEN else 1)
    assert it.up() == "update" and not it.resource.state.incomplete


# --- Rotations that die ---


@both_tokens
def test_an_orphan_is_known_by_its_comment(stack, kind):
    it = stack(kind)
    first = it.resource.current
    it.wait(LIFETIME - WINDOW + HOUR)
    with pytest.raises(Died):
        it.up(Crash("plugin", 1, True, "POST"))
    first, orphan = it.live()
    assert it.comment(orphan) == f"credential (replaces {first[:16]})" and it.resource.known() == {first}
    assert it.up() == "update"
    assert it.live() == [first, it.resource.current] and orphan in it.said("WARNING")


@both_tokens
def test_an_orphan_that_is_destroyed(stack, kind):
    it = stack(kind)
    it.wait(LIFETIME - WINDOW + HOUR)
    with pytest.raises(Died):
        it.up(Crash("plugin", 1, True, "POST"))
    assert len(it.live()) == 2
    it.engine.destroy()
    assert it.live() == []


@both_tokens
def test_an_orphan_that_is_listed_late(stack, workspace, kind):
    it = stack(kind)
    it.wait(LIFETIME - WINDOW + HOUR)
    workspace.control("/settings", {"list_lag_ms": 5000})
    with pytest.raises(Died):
        it.up(Crash("plugin", 1, True, "POST"))
    it.up()
    it.wait(OVERLAP + 60)
    it.up()
    assert it.live() == [it.resource.current]


def test_an_orphaned_secret_is_named(stack):
    it = stack(SECRET)
    it.wait(LIFETIME - WINDOW + HOUR)
    with pytest.raises(Died):
        it.up(Crash("plugin", 1, True, "POST"))
    first, orphan = it.live()
    it.said()
    assert it.up() == "update"
    assert orphan in it.said("WARNING") and it.live() == [first, orphan, it.resource.current]


@every_kind
def test_an_engine_that_takes_no_reply(stack, kind):
    it = stack(kind)
    (first,) = it.live()
    it.wait(LIFETIME - WINDOW + HOUR)
    with pytest.raises(Died):
        it.up(Crash("engine", 1, True, "POST", delay_ms=2000))
    assert it.live() == [first] and len(it.all()) == 2


@both_tokens
def test_the_comment_in_workspace_and_state(stack, kind):
    it = stack(kind, comment="credential")
    old, new = it.rotate()
    assert it.comment(new) == f"credential (replaces {old[:16]})" and it.outputs["comment"] == "credential"
    it.engine.refresh()
    assert it.outputs["comment"] == "credential" == it.resource.state.inputs["comment"]
    assert it.up() == "same"
    # A comment that changes meanwhile keeps the mark.
    it.program(comment="credential ")
    it.program(comment="credential (replaces nobody)")
    assert it.up() == "update"
    assert it.comment(new).endswith(f"(replaces {old[:16]})")
    it.wait(OVERLAP + 60)
    it.up()
    assert it.comment(new) == "credential (replaces nobody)"


@both_tokens
def test_the_mark_where_the_old_one_has_ended(tmp_path, workspace, kind):
    """Nothing is kept, so nothing is settled: the comment has to be plain all the same."""
    it = Resource(kind, "credential", None if kind is TOKEN else robot(workspace, "robot"))
    with Engine(tmp_path, workspace, [it], refreshes=False) as engine:
        engine.up()
        workspace.advance(LIFETIME + DAY)
        if kind is OBO_TOKEN:
            # The workspace finds an expired one, by its id.
            assert it.current
        engine.up()
        engine.up()
        assert it.previous is None
        engine.refresh()
        assert it.state.outputs["comment"] == "credential" == it.state.inputs["comment"]
        (live,) = [one for one in every(workspace.control("/state"), it) if one["live"]]
        assert (live["id"], live["comment"]) == (it.current, "credential")


# --- Five places ---


def test_three_secrets_of_one_principal(tmp_path, workspace):
    """There is room for five, so not all three can overlap at once: one waits for its turn, and nobody is stuck."""
    owner = robot(workspace, "robot")
    three = [Resource(SECRET, name, owner) for name in "abc"]
    with Engine(tmp_path, workspace, three) as engine:
        engine.up()
        first = {it.name: it.current for it in three}
        workspace.advance(LIFETIME - WINDOW + HOUR)
        engine.preview()
        engine.up()
        assert sum(it.current != first[it.name] for it in three) == 2
        workspace.advance(OVERLAP + HOUR)
        for _ in range(2):
            engine.preview()
            engine.up()
        assert all(it.current != first[it.name] for it in three)
        live = {it["id"] for it in workspace.control("/state")["secrets"] if it["live"]}
        assert live == set().union(*(it.known() for it in three))


# --- Scopes ---


@both_tokens
@pytest.mark.parametrize("keeps", (True, False))
def test_scopes_that_were_found(stack, kind, keeps):
    it = stack(kind, autoscopeEnabled=True, **({"keepInferredScopes": True} if keeps else {}))
    value = revealed(it.outputs[kind.value])
    assert it.works(value)
    it.wait(40 * DAY)
    it.engine.refresh()
    assert it.outputs["autoscopeState"] in ("AUTOSCOPE_STATE_COMPLETED", "AUTOSCOPE_STATE_BACKFILLED")
    found = {*it.outputs["inferredScopes"], *it.outputs.get("backfillScopes", [])}
    assert found
    it.wait(40 * DAY)
    it.up()
    (new,) = [one for one in it.all() if one["id"] == it.resource.current]
    assert (set(new["scopes"] or ()) == found) == keeps
    assert "scopes" not in it.outputs
    it.engine.refresh()
    assert it.up() == "same"
    # A token that was given the found scopes passes them on.
    it.rotate()
    (newer,) = [one for one in it.all() if one["id"] == it.resource.current]
    assert not keeps or set(newer["scopes"]) == found


# --- Dates, warnings, limits ---


@every_kind
def test_dates_for_people(stack, kind):
    it = stack(kind)
    expires = milliseconds(it.outputs[kind.expiry])
    assert abs(milliseconds(it.outputs["expiresAt"]) - expires) < 1000
    assert abs(milliseconds(it.outputs["rotatesAt"]) - expires + WINDOW * 1000) < 1000
    for name in ("expiresAt", "rotatesAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", it.outputs[name])


@every_kind
def test_a_warning_before_the_end(stack, kind):
    """It comes once in each run, and only where nothing rotates."""
    it = stack(kind, rotateBeforeSeconds=None, overlapSeconds=None)
    it.program(rotateBeforeSeconds=None, overlapSeconds=None)
    assert "rotatesAt" not in it.outputs
    it.wait(LIFETIME - 15 * DAY)
    it.up()
    assert "expires on" not in it.said("WARNING")
    it.wait(2 * DAY)
    it.engine.judge = None
    assert it.up() == "same"
    warning = it.said("WARNING")
    assert warning.count("expires on") == 1 and "rotateBeforeSeconds" in warning


def test_a_workspace_that_grants_less(stack, workspace):
    workspace.control("/settings", {"max_token_lifetime_days": 30})
    with pytest.raises(Failed) as caught:
        stack(TOKEN)
    assert "30" in str(caught.value) and "maxTokenLifetimeDays" in str(caught.value)


def test_a_workspace_that_silently_grants_less(stack, workspace):
    workspace.control("/settings", {"max_token_lifetime_days": 30})
    now = workspace.control("/state")["now_ms"]
    info = {"token_id": "0" * 64, "creation_time": now, "expiry_time": now + 30 * DAY * 1000, "comment": "credential"}
    workspace.fault("/token/create", {"status": 200, "body": {"token_value": "dapi" + "0" * 32, "token_info": info}})
    it = stack(TOKEN, overlapSeconds=None)
    warning = it.said("WARNING")
    assert f"lives for {30 * DAY} s" in warning and "maxTokenLifetimeDays" in warning


# --- Previews ---


@every_kind
def test_a_preview_of_a_rotation(stack, kind):
    it = stack(kind)
    it.wait(LIFETIME - WINDOW + HOUR)
    old = it.resource.state
    value = it.outputs[kind.value]
    it.engine._start()
    request = pb.UpdateRequest(
        id=old.id, urn=it.resource.urn, olds=struct(old.outputs), news=struct(it.resource.program),
        old_inputs=struct(old.inputs), preview=True,
    )
    planned = plain(it.engine.provider.stub.Update(request, timeout=Provider.TIMEOUT).properties)
    assert is_secret(planned[kind.value]) and planned[kind.value]["value"] == UNKNOWN
    for name in (kind.id, kind.expiry, "expiresAt", "rotatesAt", "previousRevokeTime"):
        assert planned[name] == UNKNOWN, name
    assert planned[kind.previous_id] == it.resource.current and planned[kind.previous_value] == value
    assert it.live() == [it.resource.current]


# --- What Check refuses ---


@pytest.mark.parametrize(
    "more, refused",
    [
        ({"overlapSeconds": 0}, "overlapSeconds"),
        ({"overlapSeconds": -1}, "overlapSeconds"),
        ({"overlapSeconds": 77 * DAY}, "overlapSeconds"),
        ({"keepInferredScopes": True}, "keepInferredScopes"),
        ({"keepInferredScopes": True, "autoscopeEnabled": True}, None),
        ({"overlapSeconds": 76 * DAY}, None),
    ],
)
def test_terms_that_cannot_be_kept(provider, more, refused):
    program = {"lifetimeSeconds": LIFETIME, "rotateBeforeSeconds": WINDOW, "overlapSeconds": OVERLAP} | more
    _, failures = provider.check(program)
    assert [name for name, _ in failures] == ([refused] if refused else [])


# --- The document ---


def test_what_it_costs(stack):
    """The table of docs/rotation.md counts all requests except the one that asks the host what it is."""
    text = (ROOT / "docs/rotation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z ]+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    written = {name: [int(number) for number in numbers] for name, *numbers in rows}
    counted = {name: [] for name in written}
    for kind in KINDS.values():
        it = stack(kind)
        it.engine.judge = None
        waits = {"nothing is due": DAY, "rotation": LIFETIME - WINDOW, "the old one is revoked": OVERLAP + 60}
        for name, wait in waits.items():
            it.wait(wait)
            it.workspace.forget_requests()
            it.up()
            counted[name].append(len([one for one in it.workspace.requests() if "/databricks-config" not in one["path"]]))
        it.engine.destroy()
        it.engine.__exit__()
    assert counted == written
