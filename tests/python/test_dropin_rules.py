"""Check, Diff, Create, Read and Delete of tokens, rule by rule.

Where the official provider does something else, `why` is the reason, which stands in docs/coming-from-official.md. The
rows of Diff also say what that provider makes of a change: its model in tests/dropin/states.py has to agree.
"""

import json
import sys
import time

import grpc
import pytest
import support_dropin as dropin
from conftest import CREATED_BY, UNKNOWN, is_secret, secret

sys.path.insert(0, str(dropin.DATA))
import states  # noqa: E402

A = "1234567890123456"  # the workspace of the host
B = "6543210987654321"
YEAR_MS = 365 * 24 * 60 * 60 * 1000
# A minute ago: for a newer token, Read would go on looking, since lists may lag behind a create.
CREATED = int(time.time() * 1000) - 60_000
EXPIRES = CREATED + 8_640_000_000


@pytest.fixture(scope="module")
def shared():
    with dropin.workspace() as it:
        yield it


@pytest.fixture
def local(shared):
    shared.reset()
    return shared


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with dropin.attached(tmp_path_factory.mktemp("plugin")) as it:
        yield it


@pytest.fixture
def plugin(process, local):
    return dropin.instance(process, host=local.host, token=secret(local.token))


@pytest.fixture(scope="module")
def steady(process, shared):
    """One instance for the many rows that change nothing in the workspace."""
    return dropin.instance(process, host=shared.host, token=secret(shared.token))


# --------------------------------------------------------------------------------------------------------------- Check

CHECKS = {
    "nothing": ({}, {}),
    "everything": (
        {"comment": "c", "lifetimeSeconds": 60, "creationTime": 1, "expiryTime": -1, "tokenId": "t",
         "providerConfig": {"workspaceId": A}},
        {"comment": "c", "lifetimeSeconds": 60, "creationTime": 1, "expiryTime": -1, "tokenId": "t",
         "providerConfig": {"workspaceId": A}},
    ),
    "additions": (
        {"scopes": ["sql"], "autoscopeEnabled": True, "rotateBeforeSeconds": 5, "rotateWhenChanged": {"a": "1"}},
        {"scopes": ["sql"], "autoscopeEnabled": True, "rotateBeforeSeconds": 5, "rotateWhenChanged": {"a": "1"}},
    ),
    "bookkeeping": (
        {"__defaults": [], "comment": "c", "providerConfig": {"__defaults": ["x"], "workspaceId": A}},
        {"comment": "c", "providerConfig": {"workspaceId": A}},
    ),
    "number as text": ({"lifetimeSeconds": "8640000"}, {"lifetimeSeconds": 8640000}),
    "number as comment": ({"comment": 5}, {"comment": "5"}),
    "zero lifetime": ({"lifetimeSeconds": 0}, {"lifetimeSeconds": 0}),
    "empty comment": ({"comment": ""}, {"comment": ""}),
    "secret": ({"comment": secret("c")}, {"comment": secret("c")}),
    "secret number as text": ({"lifetimeSeconds": secret("60")}, {"lifetimeSeconds": secret(60)}),
    "secret inside": (
        {"providerConfig": {"workspaceId": secret(A)}}, {"providerConfig": {"workspaceId": secret(A)}},
    ),
    "unknown": (
        {"comment": UNKNOWN, "lifetimeSeconds": UNKNOWN, "providerConfig": UNKNOWN},
        {"comment": UNKNOWN, "lifetimeSeconds": UNKNOWN, "providerConfig": UNKNOWN},
    ),
    "unknown inside": ({"providerConfig": {"workspaceId": UNKNOWN}}, {"providerConfig": {"workspaceId": UNKNOWN}}),
    "connection id": ({"providerConfig": {"workspaceId": "conn-1"}}, {"providerConfig": {"workspaceId": "conn-1"}}),
}


@pytest.mark.parametrize("name", CHECKS)
def test_check_accepts(steady, name):
    news, kept = CHECKS[name]
    assert steady.check(news, olds={"__defaults": ["comment"], "bogus": 1}) == (kept, [])


REFUSALS = {
    # news, property of the failure, a part of the reason, why the official provider does something else
    "negative lifetime": ({"lifetimeSeconds": -5}, "lifetimeSeconds", "positive", "lifetime below zero"),
    "broken lifetime": ({"lifetimeSeconds": 8640000.5}, "lifetimeSeconds", "whole number", "fractions of a second"),
    "lifetime of another type": ({"lifetimeSeconds": "soon"}, "lifetimeSeconds", "whole number", None),
    "comment of another type": ({"comment": []}, "comment", "expected a string", None),
    "empty workspace": ({"providerConfig": {"workspaceId": ""}}, "providerConfig", "must not be an empty", None),
    "unknown key": ({"lifetime_seconds": 5}, "lifetime_seconds", "did you mean `lifetimeSeconds`?",
                    "unknown properties"),
    "unknown key inside": ({"providerConfig": {"workspace": "1"}}, "providerConfig", "workspaceId",
                           "unknown properties"),
    "inexact workspace": ({"providerConfig": {"workspaceId": 9007199254740993}}, "providerConfig", "put it in quotes",
                          "large numbers for texts"),
    "window over lifetime": ({"lifetimeSeconds": 60, "rotateBeforeSeconds": 60}, "rotateBeforeSeconds",
                             "less than lifetimeSeconds", None),
    "no scopes": ({"scopes": []}, "scopes", "must not be empty", None),
    "scope twice": ({"scopes": ["sql", "sql"]}, "scopes", "twice", None),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_check_refuses(steady, name):
    news, path, reason, _ = REFUSALS[name]
    _, ((found, text),) = steady.check(news)
    assert found == path
    assert reason in text


def test_a_refused_secret_is_not_named(steady):
    _, ((path, reason),) = steady.check({"lifetimeSeconds": secret(-77)})
    assert path == ""
    assert "lifetimeSeconds" in reason and "77" not in reason


# ---------------------------------------------------------------------------------------------------------------- Diff

INPUTS = {"__defaults": [], "comment": "hello", "lifetimeSeconds": 8640000}
OUTPUTS = {
    "__pulumi_raw_state_delta": {"obj": {"ps": {"providerConfig": {"plu": {"i": {"obj": {}}}}}}},
    "comment": "hello", "creationTime": CREATED, "expiryTime": EXPIRES, "id": "tid1", "lifetimeSeconds": 8640000,
    "providerConfig": {"workspaceId": A}, "tokenId": "tid1", "tokenValue": secret("dapi1"),
}
BARE = {"__defaults": []}
BARE_OUTPUTS = OUTPUTS | {"comment": None, "lifetimeSeconds": None}
SAME = {"comment": "hello", "lifetimeSeconds": 8640000}


class Row:
    """A change and what it means. `official` says what the official provider makes of it, where that differs."""

    def __init__(self, old, new, expected, *, outputs=None, ignore=(), official=None, why=None):
        self.old, self.new, self.expected = old, new, expected
        self.outputs = outputs or OUTPUTS | {
            name: old.get(name) for name in ("comment", "lifetimeSeconds") if old.get(name) != UNKNOWN
        }
        self.ignore, self.official, self.why = ignore, official, why


def imported(**outputs):
    return OUTPUTS | {"lifetimeSeconds": None, "tokenValue": secret(None)} | outputs


ROTATING = {"comment": "a", "rotateWhenChanged": {"month": "1"}}

DIFFS = {
    "nothing stated": Row(BARE, {}, {}),
    "as it was": Row(INPUTS, SAME, {}),
    "comment changed": Row(INPUTS, SAME | {"comment": "x"}, {"comment": "UPDATE_REPLACE"}),
    "comment added": Row(BARE, {"comment": "x"}, {"comment": "ADD_REPLACE"}),
    "comment removed": Row(INPUTS, {"lifetimeSeconds": 8640000}, {"comment": "DELETE_REPLACE"}),
    "lifetime changed": Row(INPUTS, SAME | {"lifetimeSeconds": 60}, {"lifetimeSeconds": "UPDATE_REPLACE"}),
    "lifetime added": Row(BARE, {"lifetimeSeconds": 60}, {"lifetimeSeconds": "ADD_REPLACE"}),
    "lifetime removed": Row(INPUTS, {"comment": "hello"}, {"lifetimeSeconds": "DELETE_REPLACE"}),
    "both changed": Row(INPUTS, {"comment": "x", "lifetimeSeconds": 1},
                        {"comment": "UPDATE_REPLACE", "lifetimeSeconds": "UPDATE_REPLACE"}),
    "both removed": Row(INPUTS, {}, {"comment": "DELETE_REPLACE", "lifetimeSeconds": "DELETE_REPLACE"}),
    "empty comment added": Row(BARE, {"comment": ""}, {"comment": "ADD_REPLACE"}),
    "comment emptied": Row(INPUTS, SAME | {"comment": ""}, {"comment": "UPDATE_REPLACE"}),
    "lifetime to zero": Row(INPUTS, SAME | {"lifetimeSeconds": 0}, {"lifetimeSeconds": "UPDATE_REPLACE"}),
    "zero lifetime added": Row(BARE, {"lifetimeSeconds": 0}, {"lifetimeSeconds": "ADD_REPLACE"}),
    "lifetime as text": Row(INPUTS, SAME | {"lifetimeSeconds": "8640000"}, {}),
    "lifetime as text in the state": Row(INPUTS | {"lifetimeSeconds": "8640000"}, SAME, {}),
    "null is absent": Row(BARE, {"comment": None, "lifetimeSeconds": None, "providerConfig": None}, {}),
    "absent is null": Row(BARE | {"comment": None, "lifetimeSeconds": None}, {}, {}),
    "comment now secret": Row(INPUTS, SAME | {"comment": secret("hello")}, {}),
    "comment no longer secret": Row(INPUTS | {"comment": secret("hello")}, SAME, {}),
    "secret comment changed": Row(INPUTS | {"comment": secret("hello")}, SAME | {"comment": secret("x")},
                                  {"comment": "UPDATE_REPLACE"}),
    "comment not known": Row(INPUTS, SAME | {"comment": UNKNOWN}, {"comment": "UPDATE_REPLACE"}),
    "secret comment not known": Row(INPUTS, SAME | {"comment": secret(UNKNOWN)}, {"comment": "UPDATE_REPLACE"}),
    "comment added, not known": Row(BARE, {"comment": UNKNOWN}, {"comment": "ADD_REPLACE"}),
    "lifetime not known": Row(INPUTS, SAME | {"lifetimeSeconds": UNKNOWN}, {"lifetimeSeconds": "UPDATE_REPLACE"}),
    "creationTime differs": Row(INPUTS, SAME | {"creationTime": 5}, {"creationTime": "UPDATE"}),
    "expiryTime differs": Row(INPUTS, SAME | {"expiryTime": 5}, {"expiryTime": "UPDATE"}),
    "tokenId differs": Row(INPUTS, SAME | {"tokenId": "other"}, {"tokenId": "UPDATE"}),
    "real values stated": Row(INPUTS, SAME | {"creationTime": CREATED, "expiryTime": EXPIRES, "tokenId": "tid1"}, {}),
    "unreal values stated as before": Row(
        INPUTS | {"creationTime": 5, "expiryTime": 5, "tokenId": "other"},
        SAME | {"creationTime": 5, "expiryTime": 5, "tokenId": "other"}, {},
        official={"creationTime": "UPDATE", "expiryTime": "UPDATE", "tokenId": "UPDATE"},
        why="computed properties stated by a program",
    ),
    "computed inputs of an import": Row(
        {"comment": "hello", "creationTime": CREATED, "expiryTime": EXPIRES, "tokenId": "tid1",
         "providerConfig": {"workspaceId": A}},
        {"comment": "hello"}, {}, outputs=imported(),
    ),
    "bookkeeping at any depth": Row(
        INPUTS | {"providerConfig": {"__defaults": [], "workspaceId": A}, "__meta": "{}"},
        SAME | {"providerConfig": {"workspaceId": A}}, {}, outputs=OUTPUTS | {"__meta": '{"schema_version":"0"}'},
    ),
    "computed values not known": Row(INPUTS, SAME | {"creationTime": UNKNOWN, "tokenId": UNKNOWN},
                                     {"creationTime": "UPDATE", "tokenId": "UPDATE"}),
    "comment ignored": Row(INPUTS, SAME | {"comment": "x"}, {}, ignore=["comment"]),
    "lifetime ignored": Row(INPUTS, {"comment": "x"}, {"comment": "UPDATE_REPLACE"}, ignore=["lifetimeSeconds"]),
    # The workspace of a token.
    "workspace differs": Row(INPUTS, SAME | {"providerConfig": {"workspaceId": B}},
                             {"providerConfig.workspaceId": "UPDATE_REPLACE"},
                             official={"providerConfig.workspaceId": "UPDATE", "__meta": "UPDATE_REPLACE"},
                             why="a changed workspace"),
    "workspace as it was": Row(INPUTS, SAME | {"providerConfig": {"workspaceId": A}}, {}),
    "workspace as a number": Row(INPUTS, SAME | {"providerConfig": {"workspaceId": int(A)}}, {}),
    "workspace no longer stated": Row(INPUTS | {"providerConfig": {"workspaceId": A}}, SAME, {}),
    "workspace stated at last": Row(INPUTS, SAME | {"providerConfig": {"workspaceId": A}}, {},
                                    outputs={k: v for k, v in OUTPUTS.items() if k != "providerConfig"}),
    "workspace not known": Row(INPUTS, SAME | {"providerConfig": {"workspaceId": UNKNOWN}}, {}),
    "providerConfig not known": Row(INPUTS, SAME | {"providerConfig": UNKNOWN}, {}),
    "everything ignored": Row(INPUTS, SAME | {"comment": "x", "tokenId": "y", "providerConfig": {"workspaceId": B}}, {},
                              outputs=OUTPUTS | {"expiryTime": CREATED}, ignore=["*"]),
    "workspace ignored": Row(INPUTS, SAME | {"providerConfig": {"workspaceId": B}}, {}, ignore=["providerConfig"]),
    # What the official provider does not have.
    "comment, rotation by a value": Row(ROTATING, ROTATING | {"comment": "b"}, {"comment": "UPDATE"}),
    "comment, rotation by time": Row({"comment": "a", "rotateBeforeSeconds": 9},
                                     {"comment": "b", "rotateBeforeSeconds": 9}, {"comment": "UPDATE"}),
    "comment added, rotation": Row({"rotateBeforeSeconds": 9}, {"comment": "b", "rotateBeforeSeconds": 9},
                                   {"comment": "ADD"}),
    "comment removed, rotation": Row({"comment": "a", "rotateBeforeSeconds": 9}, {"rotateBeforeSeconds": 9},
                                     {"comment": "DELETE"}),
    "comment, rotation stated at last": Row({"comment": "a"}, ROTATING | {"comment": "b"}, {"comment": "UPDATE"}),
    "comment, rotation no longer stated": Row(ROTATING, {"comment": "b"}, {"comment": "UPDATE_REPLACE"}),
    "rotation value changed": Row(ROTATING, ROTATING | {"rotateWhenChanged": {"month": "2"}},
                                  {"rotateWhenChanged": "UPDATE_REPLACE"}),
    "rotation value as text": Row(ROTATING | {"rotateWhenChanged": {"month": 1}}, ROTATING, {}),
    "rotation value added": Row(ROTATING, ROTATING | {"rotateWhenChanged": {"month": "1", "x": "1"}},
                                {"rotateWhenChanged": "UPDATE_REPLACE"}),
    "rotation value removed": Row(ROTATING | {"rotateWhenChanged": {"month": "1", "x": "1"}}, ROTATING,
                                  {"rotateWhenChanged": "UPDATE_REPLACE"}),
    "rotation value not known": Row(ROTATING, ROTATING | {"rotateWhenChanged": {"month": UNKNOWN}},
                                    {"rotateWhenChanged": "UPDATE_REPLACE"}),
    "rotation map added": Row({"comment": "a"}, ROTATING, {}),
    "rotation map removed": Row(ROTATING, {"comment": "a"}, {}),
    "rotation map filled": Row(ROTATING | {"rotateWhenChanged": {}}, ROTATING, {}),
    "rotation map emptied": Row(ROTATING, ROTATING | {"rotateWhenChanged": {}}, {}),
    "rotation map and comment changed": Row(
        ROTATING, {"comment": "b", "rotateWhenChanged": {"month": "2"}},
        {"comment": "UPDATE", "rotateWhenChanged": "UPDATE_REPLACE"},
    ),
    "window changed": Row({"rotateBeforeSeconds": 9}, {"rotateBeforeSeconds": 10}, {}),
    "window added": Row(BARE, {"rotateBeforeSeconds": 10}, {}),
    "window removed": Row({"rotateBeforeSeconds": 9}, {}, {}),
    "scopes added": Row(BARE, {"scopes": ["sql"]}, {"scopes": "ADD"}),
    "scopes changed": Row({"scopes": ["sql"]}, {"scopes": ["sql", "jobs"]}, {"scopes": "UPDATE"}),
    "scopes removed": Row({"scopes": ["sql"]}, {}, {"scopes": "DELETE"}),
    "autoscope added": Row(BARE, {"autoscopeEnabled": True}, {"autoscopeEnabled": "ADD_REPLACE"}),
    "autoscope changed": Row({"autoscopeEnabled": False}, {"autoscopeEnabled": True},
                             {"autoscopeEnabled": "UPDATE_REPLACE"}),
    "autoscope removed": Row({"autoscopeEnabled": False}, {}, {"autoscopeEnabled": "DELETE_REPLACE"}),
    "expired": Row(INPUTS, SAME, {"expiryTime": "UPDATE_REPLACE"}, outputs=OUTPUTS | {"expiryTime": CREATED},
                   official={}, why="an expired token"),
    "never expires": Row(INPUTS, SAME, {}, outputs=OUTPUTS | {"expiryTime": -1}),
    "expiry not known": Row(INPUTS, SAME, {}, outputs=OUTPUTS | {"expiryTime": 0}),
    "in the window": Row(SAME, SAME | {"rotateBeforeSeconds": 8_000_000}, {"expiryTime": "UPDATE_REPLACE"},
                         outputs=OUTPUTS | {"expiryTime": CREATED + 7_000_000_000, "creationTime": CREATED - YEAR_MS}),
    "before the window": Row(SAME, SAME | {"rotateBeforeSeconds": 8_000_000}, {}),
    # Imports: neither plugin learns the lifetime or the value of an imported token.
    "lifetime of an import": Row({"comment": "hello"}, SAME, {}, outputs=imported(),
                                 official={"lifetimeSeconds": "ADD_REPLACE"}, why="the lifetime of an imported token"),
    "another lifetime than of an import": Row({"comment": "hello"}, SAME | {"lifetimeSeconds": 60},
                                              {"lifetimeSeconds": "ADD_REPLACE"}, outputs=imported()),
}


@pytest.mark.parametrize("name", DIFFS)
def test_diff(steady, name):
    row = DIFFS[name]
    reply = steady.diff("id", row.new, row.old, row.outputs, ignore=row.ignore)
    assert dropin.verdict(reply) == row.expected
    # The engine shows old values from the outputs.
    assert not any(entry.inputDiff for entry in reply.detailedDiff.values())
    # Stable is what would replace the token if it changed, and did not change.
    stable = {"comment", "lifetimeSeconds", "autoscopeEnabled"} - set(reply.diffs)
    assert set(reply.stables) == stable


SYMMETRIC = [
    name for name, row in DIFFS.items()
    if not row.expected and not row.ignore and row.why is None and UNKNOWN not in json.dumps(row.new)
]


@pytest.mark.parametrize("name", SYMMETRIC)
def test_no_change_is_symmetric(steady, name):
    """A refresh asks the other way round: what was read is old, what is in the state is new."""
    row = DIFFS[name]
    assert steady.differences(row.new, row.outputs, row.old) == {}


OFFICIAL = {"comment", "lifetimeSeconds", "creationTime", "expiryTime", "tokenId", "providerConfig"}
COMPARABLE = [
    name for name, row in DIFFS.items()
    if not row.ignore and UNKNOWN not in json.dumps(row.new) and {*row.old, *row.new} <= {*OFFICIAL, "__defaults", "__meta"}
]


def plainly(properties):
    """Properties as the model of the official provider takes them: no secrets, and each in its own type."""
    found = {name: value["value"] if is_secret(value) else value for name, value in properties.items()}
    if isinstance(found.get("lifetimeSeconds"), str):
        found["lifetimeSeconds"] = int(found["lifetimeSeconds"])
    if workspace := (found.get("providerConfig") or {}).get("workspaceId"):
        found["providerConfig"] = {"workspaceId": str(workspace)}
    return found


@pytest.mark.parametrize("name", COMPARABLE)
def test_the_official_provider_does_what_the_row_says(name):
    row = DIFFS[name]
    stated = row.expected if row.official is None else row.official
    official = {path.split(".")[0] for path in stated} - {"__meta"}
    assert states.official_changes(plainly(row.outputs), plainly(row.new)) == official


def test_every_difference_is_explained():
    """A row that differs from the official provider names the entry of the page that says why."""
    page = (dropin.ROOT / "docs" / "coming-from-official.md").read_text().lower()
    reasons = {why for *_, why in REFUSALS.values()} | {row.why for row in DIFFS.values()}
    reasons |= {why for *_, why in WORKSPACES.values()} | OTHER_DIFFERENCES
    assert [why for why in sorted(reasons - {None}) if why.lower() not in page] == []


# Differences in what happens at create, read and delete; the tests below name them.
OTHER_DIFFERENCES = {
    "state of an import",
    "the times of a new token",
    "a 404 that is not about the token",
    # Not about tokens but about their provider; see test_dropin_config.py.
    "only the provider's version changes",
    "`workspaceId` of the provider is not that of its host",
}

# The rows of the official provider's own test of a token's workspace (TestNamespaceCustomizeDiff_ForceNew).
# Workspace in the state, in the program, in the provider, of the host; what we say; why that provider says something
# else.
REPLACED = {"providerConfig.workspaceId": "UPDATE_REPLACE"}
WORKSPACES = {
    "A to B": (A, B, None, A, REPLACED, None),
    "A to A": (A, A, None, A, {}, None),
    "none to A": (None, A, None, A, {}, None),
    "A to none, no default": (A, None, None, None, {}, "a host that does not say its workspace"),
    "none to A, default A": (None, A, A, None, {}, None),
    "none to A, default B": (None, A, B, None, {}, None),
    "none, default A": (None, None, A, None, {}, None),
    "none, default B": (None, None, B, None, {}, None),
    "none, no default": (None, None, None, None, {}, None),
    "A to default A": (A, None, A, None, {}, None),
    "A to default B": (A, None, B, None, REPLACED, None),
    "another host": (B, None, None, A, REPLACED, None),
    "the same host": (A, None, None, A, {}, None),
    "default before host": (B, None, B, A, {}, None),
    "default before host, moved": (A, None, B, A, REPLACED, None),
}


@pytest.mark.parametrize("name", WORKSPACES)
def test_workspace_of_a_token(process, local, name):
    state, program, default, host, expected, _ = WORKSPACES[name]
    # A unified host: any workspace may be named there, and it may or may not say one itself.
    document = {"host_type": "unified"} | ({"workspace_id": host} if host else {})
    local.control("/host-metadata", {"host_type": "unified", "document": document})
    # The request for who the caller is finds the workspace, too, unless it fails.
    if host is None:
        local.control("/faults", {"match": {"path": "/scim/v2/Me", "times": 0}, "action": {"status": 403}})
    config = {"workspaceId": default} if default else {}
    connection = dropin.instance(process, host=local.host, token=secret(local.token), **config)
    old = {"comment": "c"}
    outputs = OUTPUTS | {"comment": "c", "lifetimeSeconds": None}
    outputs["providerConfig"] = {"workspaceId": state} if state else None
    new = old | ({"providerConfig": {"workspaceId": program}} if program else {})
    assert connection.differences(old, outputs, new) == expected


def test_a_host_without_metadata_tells_its_workspace_all_the_same(process, local):
    """Older hosts say which workspace they are only in the headers of their answers."""
    local.control("/host-metadata", {"status": 404})
    connection = dropin.instance(process, host=local.host, token=secret(local.token))
    old = {"comment": "c"}
    elsewhere = OUTPUTS | {"comment": "c", "lifetimeSeconds": None, "providerConfig": {"workspaceId": B}}
    assert connection.differences(old, elsewhere, old) == REPLACED
    assert connection.differences(old, elsewhere | {"providerConfig": {"workspaceId": A}}, old) == {}
    asked = len(local.requests("/scim/v2/Me"))
    connection.differences(old, elsewhere, old)
    assert len(local.requests("/scim/v2/Me")) == asked == 1
    with pytest.raises(grpc.RpcError, match=f"provider is configured for workspace {A} but got {B}"):
        connection.create({"providerConfig": {"workspaceId": B}})
    _, outputs = connection.create({})
    assert outputs["providerConfig"] == {"workspaceId": A}


def test_a_provider_of_another_workspace_is_an_error(process, local):
    """The official provider refuses to be configured. Ours fails in Diff, so that nothing looks unchanged before."""
    connection = dropin.instance(process, host=local.host, token=secret(local.token), workspaceId=B)
    old = {"comment": "c"}
    with pytest.raises(grpc.RpcError, match="workspace_id mismatch"):
        connection.differences(old, OUTPUTS | {"comment": "c", "lifetimeSeconds": None}, old)


WRONG_WORKSPACES = {
    # On a workspace's own host: the id, and what the error says.
    "another": (B, f"workspace_id mismatch: provider is configured for workspace {A} but got {B} in provider_config"),
    "a connection": ("conn-1", 'workspace_id "conn-1" is not a numeric workspace ID. Connection IDs'),
}


@pytest.mark.parametrize("operation", ["create", "read", "delete"])
@pytest.mark.parametrize("name", WRONG_WORKSPACES)
def test_a_workspace_that_the_host_is_not(plugin, local, name, operation):
    id, reason = WRONG_WORKSPACES[name]
    config = {"providerConfig": {"workspaceId": id}}
    calls = {
        "create": lambda: plugin.create(config),
        "read": lambda: plugin.state("tid1", {}, OUTPUTS | config),
        "delete": lambda: plugin.delete("tid1", {}, OUTPUTS | config),
    }
    with pytest.raises(grpc.RpcError, match=f"cannot {operation} token: .*{reason}"):
        calls[operation]()
    assert local.requests("/api/2.0/token/") == []


@pytest.mark.parametrize("host_type", ["account", "unified"])
@pytest.mark.parametrize("workspace_id", ["42", "conn-1"])
@pytest.mark.parametrize("default", [None, A])
def test_a_workspace_of_a_host_that_serves_several(process, local, host_type, workspace_id, default):
    """Every request names the workspace: that of the program or of the state, then that of the provider."""
    local.control("/workspaces", {"workspace_id": workspace_id})
    local.control("/host-metadata", {"host_type": host_type})
    config = {
        "accountId": local.control("/state")["account_id"], "clientId": local.variables["DATABRICKS_CLIENT_ID"],
        "clientSecret": secret(local.variables["DATABRICKS_CLIENT_SECRET"]),
    } | ({"workspaceId": default} if default else {})
    connection = dropin.instance(process, host=local.host, **config)
    inputs = {"providerConfig": {"workspaceId": workspace_id}}
    id, outputs = connection.create(inputs)
    assert outputs["providerConfig"] == {"workspaceId": workspace_id}
    assert connection.state(id, inputs, outputs) == (inputs, outputs)
    connection.delete(id, inputs, outputs)
    asked = [entry["headers"]["x-databricks-workspace-id"] for entry in local.requests("/api/2.0/token/")]
    assert asked == [workspace_id] * 3
    if default:
        id, outputs = connection.create({})
        assert outputs["providerConfig"] == {"workspaceId": default}
        assert local.requests("/token/create")[-1]["headers"]["x-databricks-workspace-id"] == default
    else:
        with pytest.raises(grpc.RpcError, match="requires a workspace_id"):
            connection.create({})


# ------------------------------------------------------------------------------------------------------ Create, Update

CREATES = {
    "nothing": ({}, {}),
    "lifetime and comment": ({"lifetimeSeconds": 300, "comment": "Hello world!"},
                             {"lifetime_seconds": 300, "comment": "Hello world!"}),
    "zero values": ({"lifetimeSeconds": 0, "comment": ""}, {}),
    "null": ({"lifetimeSeconds": None, "comment": None}, {}),
    "computed": ({"creationTime": 1, "expiryTime": 2, "tokenId": "x"}, {}),
    "secret": ({"comment": secret("hidden")}, {"comment": "hidden"}),
    "workspace": ({"providerConfig": {"workspaceId": A}}, {}),
}


@pytest.mark.parametrize("name", CREATES)
def test_create_sends(plugin, local, name):
    inputs, body = CREATES[name]
    id, outputs = plugin.create(inputs)
    requests = local.requests("/token/create")
    assert [request["body"] for request in requests] == [body]
    token = local.by_id()[id]
    for name, value in inputs.items():
        if name in ("comment", "lifetimeSeconds"):
            assert outputs.get(name) == value
    value = outputs["tokenValue"]
    assert is_secret(value) and value["value"].startswith("dapi")
    assert outputs["id"] == outputs["tokenId"] == id
    assert (outputs["creationTime"], outputs["expiryTime"]) == (token["creation_time"], token["expiry_time"])
    assert outputs["providerConfig"] == {"workspaceId": A}
    # Nothing is left to do, also where the program states values that Databricks sets.
    assert plugin.differences(inputs, outputs, inputs) == {}
    read_inputs, read_outputs = plugin.state(id, inputs, outputs)
    assert read_inputs == {name: value for name, value in inputs.items() if value is not None}
    assert read_outputs == outputs
    assert plugin.differences(read_inputs, read_outputs, inputs) == {}


def test_the_answer_of_create_has_the_times(plugin, local):
    """The official provider takes them from a list that it asks for afterwards."""
    info = {"token_id": "abc", "creation_time": CREATED, "expiry_time": -1}
    answer = {"status": 200, "body": {"token_value": "dapi...", "token_info": info}}
    local.control("/faults", {"match": {"path": "/token/create"}, "action": answer})
    id, outputs = plugin.create({})
    assert (id, outputs["expiryTime"], outputs["tokenValue"]) == ("abc", -1, secret("dapi..."))
    assert outputs["providerConfig"] == {"workspaceId": A}
    assert local.requests("/token/list") == []


def test_a_create_that_is_refused(plugin, local):
    fault = {"status": 400, "error_code": "INVALID_PARAMETER_VALUE", "message": "Internal error happened"}
    local.control("/faults", {"match": {"path": "/token/create"}, "action": fault})
    with pytest.raises(grpc.RpcError, match="cannot create token: Internal error happened"):
        plugin.create({})
    assert local.live() == []


def test_create_preview(plugin, local):
    _, outputs = plugin.create({"comment": "c", "lifetimeSeconds": UNKNOWN}, preview=True)
    unknown = ("creationTime", "expiryTime", "expiresAt", "tokenId", "lifetimeSeconds", "providerConfig")
    assert outputs == {name: UNKNOWN for name in unknown} | {"comment": "c", "tokenValue": secret(UNKNOWN)}
    assert local.by_id() == {}


def test_an_update_of_computed_properties_sends_nothing(plugin, local):
    inputs = {"comment": "c"}
    id, outputs = plugin.create(inputs)
    sent = len(local.requests("/api/2.0/token/" + id))
    news = inputs | {"creationTime": 5, "tokenId": "other"}
    assert plugin.differences(inputs, outputs, news) == {"creationTime": "UPDATE", "tokenId": "UPDATE"}
    updated = plugin.update(id, news, inputs, outputs)
    assert updated == outputs
    assert len(local.requests("/api/2.0/token/" + id)) == sent
    assert plugin.differences(news, updated, news) == {}


@pytest.mark.parametrize("stated", [{}, {"providerConfig": {"workspaceId": A}}])
def test_an_update_finds_the_workspace_that_the_state_lacks(plugin, stated):
    """As after a create that the official plugin did not finish."""
    id, outputs = plugin.create(stated)
    lacking = {name: value for name, value in outputs.items() if name != "providerConfig"}
    assert plugin.update(id, stated, stated, lacking) == outputs


def test_update_leaves_no_bookkeeping_of_the_official_plugin(plugin):
    inputs = {"comment": "c", "rotateWhenChanged": {"a": "1"}}
    id, outputs = plugin.create(inputs)
    old = outputs | {"__meta": "{}", "__pulumi_raw_state_delta": {"obj": {}}}
    updated = plugin.update(id, inputs | {"comment": "d"}, inputs, old)
    assert updated == outputs | {"comment": "d"}


# ---------------------------------------------------------------------------------------------------------------- Read


def comment_outside(local, id, comment):
    body = {"token": {"comment": comment}, "update_mask": "comment"}
    status, answer = local.call("PATCH", f"/api/2.0/token/{id}", body, token=local.token)
    assert status == 200, answer


# Stated comment, its live value after a change outside, what a refresh makes of inputs and outputs.
OUTSIDE = {
    "changed": ({"comment": "c"}, "other", {"comment": "other"}, {"comment": "UPDATE_REPLACE"}),
    "cleared": ({"comment": "c"}, "", {"comment": "c"}, {}),
    "added": ({}, "other", {}, {}),
    "added to null": ({"comment": None}, "other", {}, {}),
    "added to an empty one": ({"comment": ""}, "other", {"comment": "other"}, {"comment": "UPDATE_REPLACE"}),
    "secret changed": ({"comment": secret("c")}, "other", {"comment": secret("other")}, {"comment": "UPDATE_REPLACE"}),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_comment_changed_outside(plugin, local, name):
    stated, live, expected, change = OUTSIDE[name]
    id, outputs = plugin.create(stated)
    comment_outside(local, id, live)
    # As the official plugin left it.
    old_outputs = outputs | {"__pulumi_raw_state_delta": {}, "__meta": "{}", "lifetimeSeconds": None}
    inputs, read = plugin.state(id, stated | {"__defaults": []}, old_outputs)
    assert inputs == expected
    assert read.get("comment") == expected.get("comment")
    assert read["tokenValue"] == outputs["tokenValue"]
    assert sorted(key for key in read if key.startswith("__")) == CREATED_BY
    assert plugin.differences(inputs, read, stated) == change


@pytest.mark.parametrize("stated", [{}, {"tokenId": "x"}, {"comment": "x"}])
def test_get_reads_everything(plugin, local, stated):
    """The engine sends the arguments of `Token.get` as inputs and as outputs."""
    id, _ = local.mint(comment="made elsewhere")
    _, outputs = plugin.state(id, stated, stated)
    assert outputs["comment"] == "made elsewhere"
    assert outputs["tokenId"] == id
    assert outputs["creationTime"] == local.by_id()[id]["creation_time"]
    assert is_secret(outputs["tokenValue"])


def test_times_and_ids_are_read_even_where_stated_otherwise(plugin, local):
    inputs = {"creationTime": 1, "expiryTime": 2, "tokenId": "x"}
    id, outputs = plugin.create(inputs)
    wrong = outputs | {"creationTime": 1, "expiryTime": 2, "tokenId": "x", "id": None}
    assert plugin.state(id, inputs, wrong) == (inputs, outputs)


def test_gone_is_gone(plugin, local):
    id, outputs = plugin.create({"lifetimeSeconds": 60})
    assert plugin.state(id, {"lifetimeSeconds": 60}, outputs)
    # The create is so long ago that no list may lag behind it any more.
    outputs["creationTime"] -= 60_000
    assert plugin.state("no-such-id", {}, outputs) is None
    assert plugin.state("no-such-id") is None
    local.control(f"/tokens/{id}/revoke", {})
    assert plugin.state(id, {"lifetimeSeconds": 60}, outputs) is None


def test_a_listed_token_that_has_expired_is_gone(plugin, local):
    """The API lists only valid tokens, but is not trusted to do so."""
    listed = {"token_infos": [
        {"token_id": "old", "creation_time": 10, "expiry_time": 20},
        {"token_id": "endless", "creation_time": 10, "expiry_time": -1},
        {"token_id": "zero", "creation_time": 10, "expiry_time": 0},
    ]}
    fault = {"match": {"path": "/token/list", "times": 0}, "action": {"status": 200, "body": listed}}
    local.control("/faults", fault)
    assert plugin.state("old", {}, OUTPUTS) is None
    for id in ("endless", "zero"):
        _, outputs = plugin.state(id, {}, OUTPUTS)
        assert outputs["tokenId"] == id and outputs["tokenValue"] == secret("dapi1")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_an_error_is_not_gone(plugin, local, status):
    id, outputs = plugin.create({})
    fault = {"match": {"path": "/token/list"}, "action": {"status": status, "message": "Internal error happened"}}
    local.control("/faults", fault)
    with pytest.raises(grpc.RpcError, match="cannot read token: .*Internal error happened"):
        plugin.state(id, {}, outputs)
    assert plugin.state(id, {}, outputs)


def test_import_reads_only_what_a_program_would_state(plugin, local):
    """The official plugin puts every computed property among the inputs of an import."""
    id, _ = local.mint(comment="c", lifetime_seconds=8640000)
    inputs, outputs = plugin.state(id)
    assert inputs == {"comment": "c"}
    assert outputs["tokenValue"] == secret("")
    assert outputs["expiryTime"] == local.by_id()[id]["expiry_time"]
    assert plugin.check(inputs) == (inputs, [])
    assert plugin.differences(inputs, outputs, inputs) == {}
    assert plugin.differences(inputs, outputs, inputs | {"lifetimeSeconds": 8640000}) == {}
    assert plugin.differences(inputs, outputs, {}) == {"comment": "DELETE_REPLACE"}


def test_a_preview_shows_what_the_run_does_to_the_lifetime_of_an_import(plugin, local):
    """A token that never expires has no lifetime that an unknown one could be equal to."""
    id, _ = local.mint(comment="c")
    inputs, outputs = plugin.state(id)
    outputs |= {"expiryTime": -1}
    for lifetime in (UNKNOWN, 86400):
        assert plugin.differences(inputs, outputs, inputs | {"lifetimeSeconds": lifetime}) == {"lifetimeSeconds": "ADD_REPLACE"}


# -------------------------------------------------------------------------------------------------------------- Delete

# The answer of token/delete about a token that an admin's look-up does not find, and whether the token then counts as
# revoked. For the official provider it does after every 404.
DELETES = {
    "missing": ({"status": 404, "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "secret not found"}, True),
    "missing by code": ({"status": 400, "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}, True),
    "missing by words": ({"status": 400, "error_code": "INVALID_PARAMETER_VALUE", "message": "Token does not exist"},
                         True),
    "not found": ({"status": 404, "error_code": "NOT_FOUND", "message": "no"}, True),
    "words alone": ({"status": 404, "body": {"message": "RESOURCE_DOES_NOT_EXIST secret not found"}}, True),
    "a page that is missing": ({"status": 404, "html": True, "message": "no such page"}, False),
    "tokens are switched off": ({"status": 404, "error_code": "FEATURE_DISABLED", "message": "off"}, True),
    "refused": ({"status": 400, "error_code": "INVALID_PARAMETER_VALUE", "message": "Internal error happened"}, False),
    "forbidden": ({"status": 403, "error_code": "PERMISSION_DENIED", "message": "no"}, True),
}


@pytest.mark.parametrize("name", DELETES)
def test_delete(plugin, local, name):
    action, gone = DELETES[name]
    local.control("/faults", {"match": {"path": "/token/delete"}, "action": action})
    if gone:
        plugin.delete("abc", {}, OUTPUTS)
    else:
        with pytest.raises(grpc.RpcError, match=f"cannot delete token: .*{action['message']}"):
            plugin.delete("abc", {}, OUTPUTS)
    assert [request["body"] for request in local.requests("/token/delete")] == [{"token_id": "abc"}]


@pytest.mark.parametrize("name", DELETES)
def test_delete_of_a_token_that_lives(plugin, local, name):
    """Whatever the answer says: a token that is in the list was not revoked."""
    action, _ = DELETES[name]
    id, outputs = plugin.create({})
    local.control("/faults", {"match": {"path": "/token/delete"}, "action": action})
    with pytest.raises(grpc.RpcError, match=f"cannot delete token: .*{action.get('message', 'not found')}"):
        plugin.delete(id, {}, outputs)
    assert id in local.live()


# ------------------------------------------------------------------------------------------------------- Other types


@pytest.mark.parametrize("rpc", ["Invoke", "Call"])
def test_functions_of_the_official_plugin(steady, rpc):
    request = {"Invoke": dropin.pb.InvokeRequest, "Call": dropin.pb.CallRequest}[rpc]
    token = "databricks:index/getCluster:getCluster"
    with pytest.raises(grpc.RpcError) as error:
        getattr(steady.stub, rpc)(request(tok=token), timeout=steady.TIMEOUT)
    for part in (token, "official databricks plugin", "pulumi plugin install resource databricks 1.118.0"):
        assert part in error.value.details()


@pytest.mark.parametrize("operation", ["check", "diff", "create", "read", "delete"])
def test_another_type_gets_one_clear_error(steady, operation):
    urn = "urn:pulumi:test::test::databricks:index/cluster:Cluster::c"
    calls = {
        "check": lambda: steady.check({}, urn=urn),
        "diff": lambda: steady.diff("id", {}, {}, {}, urn=urn),
        "create": lambda: steady.create({}, urn=urn),
        "read": lambda: steady.read("id", {}, {}, urn=urn),
        "delete": lambda: steady.delete("id", {}, {}, urn=urn),
    }
    with pytest.raises(grpc.RpcError) as error:
        calls[operation]()
    text = error.value.details()
    for part in ("databricks:index/cluster:Cluster", "official databricks plugin",
                 "pulumi plugin install resource databricks 1.118.0"):
        assert part in text, text
