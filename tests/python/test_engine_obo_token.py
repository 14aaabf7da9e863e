"""The life of tokens on behalf of a service principal on the real engine, with programs in YAML."""

import pytest
from conftest import (
    OBO_TOKEN_TYPE,
    SECRET_SIGNATURE,
    SIGNATURE,
    TOKEN_VALUE,
    UNKNOWN,
    about_something_else,
    fingerprint,
    secret,
    struct,
    wait_for,
)
from pulumi.runtime.proto import provider_pb2

HOUR = 3600
DAY = 24 * HOUR
OTHER = "5e3a1c0f-0000-4000-8000-0000000000ff"
MANAGEMENT = "/api/2.0/token-management/"


@pytest.fixture
def robot(workspace):
    """Application id of the service principal that the tokens are for."""
    return workspace.variables["DATABRICKS_CLIENT_ID"]


def said(result, text):
    """Whether the engine told the user so."""
    return any(text in message for _, message in result.diagnostics)


def started(pulumi, properties, options=None):
    """Starts a stack with one token, and returns its outputs."""
    pulumi.credential(OBO_TOKEN_TYPE, properties, options)
    pulumi.init()
    assert pulumi.up().changes == {"create": 1}
    return pulumi.outputs()


def replaced(result):
    """Whether the one token was replaced, the new one created before the old one was deleted."""
    return result.changes == {"create-replacement": 1, "replace": 1, "delete-replaced": 1}


def detailed(result, op):
    """What changed, such as {"comment": "update-replace"}."""
    return {path: change["diffKind"] for path, change in result.step(op)["detailedDiff"].items()}


def operations(workspace):
    """Methods of the calls so far that change something."""
    return [entry["method"] for entry in workspace.requests(MANAGEMENT) if entry["method"] != "GET"]


def owner_of(workspace, value):
    """The user name of whoever a token signs in as."""
    status, me = workspace.call("GET", "/api/2.0/preview/scim/v2/Me", token=value)
    assert status == 200, me
    return me["userName"]


# --- Create, change, destroy ---


def test_the_whole_life(pulumi, workspace, robot):
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": robot, "comment": "c", "lifetimeSeconds": 8_640_000})
    pulumi.init()
    preview = pulumi.preview()
    assert preview.changes == {"create": 1}
    planned = preview.planned()
    assert (planned["applicationId"], planned["comment"]) == (robot, "c")
    for name in ("creationTime", "expiryTime", "providerConfig"):
        assert planned[name] == UNKNOWN, name
    assert planned["tokenValue"][SIGNATURE] == SECRET_SIGNATURE
    assert workspace.requests(MANAGEMENT) == []

    assert pulumi.up().changes == {"create": 1}
    outputs = pulumi.outputs()
    assert TOKEN_VALUE.fullmatch(outputs["value"])
    assert workspace.live() == [outputs["id"]] == [fingerprint(outputs["value"])]
    assert owner_of(workspace, outputs["value"]) == robot
    # The answer of the create is the state; nothing is looked up after it.
    assert [entry["method"] for entry in workspace.requests(MANAGEMENT)] == ["POST"]
    assert pulumi.preview("--expect-no-changes").changes == {"same": 1}
    pulumi.unchanged()
    assert pulumi.refresh("--expect-no-changes").changes == {"refresh": 1}
    assert pulumi.outputs() == outputs

    assert pulumi.destroy().changes == {"delete": 1}
    assert not workspace.accepts(outputs["value"])
    assert operations(workspace) == ["POST", "DELETE"]


def test_the_most_verbose_logs_hold_no_value(pulumi, workspace, robot):
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": robot, "comment": "c"})
    pulumi.init()
    verbose = ("--debug", "-v=9", "--logtostderr", "--logflow")
    assert "on-behalf-of/tokens" in pulumi.up(*verbose, "--diff").text
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": robot, "comment": "d"})
    for operation in (pulumi.up, pulumi.refresh, pulumi.destroy):
        operation(*verbose)
    assert operations(workspace) == ["POST", "POST", "DELETE", "DELETE"]
    assert not pulumi.leaks()


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"comment": "old"}, {"comment": "new"}, {"comment": "update-replace"}),
        ({"lifetimeSeconds": 600}, {"lifetimeSeconds": 700}, {"lifetimeSeconds": "update-replace"}),
        ({"autoscopeEnabled": True}, {"autoscopeEnabled": False}, {"autoscopeEnabled": "update-replace"}),
        (
            {"rotateWhenChanged": {"quarter": "1"}},
            {"rotateWhenChanged": {"quarter": "2"}},
            {"rotateWhenChanged": "update-replace"},
        ),
    ],
    ids=["comment", "lifetime", "autoscope", "rotateWhenChanged"],
)
def test_changes_that_replace(pulumi, workspace, robot, before, after, changed):
    old = started(pulumi, {"applicationId": robot} | before)
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": robot} | after)
    preview = pulumi.preview()
    assert replaced(preview), str(preview)
    assert detailed(preview, "replace") == changed
    assert replaced(pulumi.up())
    assert operations(workspace) == ["POST", "POST", "DELETE"]
    assert workspace.live() == [pulumi.outputs()["id"]] != [old["id"]]
    pulumi.unchanged()


def test_another_service_principal_gets_a_token_of_its_own(pulumi, workspace, robot):
    old = started(pulumi, {"applicationId": robot})
    other = workspace.control("/service-principals", {"application_id": OTHER})["application_id"]
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": other})
    assert replaced(pulumi.up())
    assert owner_of(workspace, pulumi.outputs()["value"]) == other
    assert not workspace.accepts(old["value"])


@pytest.mark.parametrize("rotation", [{"rotateBeforeSeconds": 60}, {"rotateWhenChanged": {"quarter": "1"}}], ids=str)
def test_the_comment_changes_in_place_where_rotation_is_stated(pulumi, workspace, robot, rotation):
    before = started(pulumi, {"applicationId": robot, "comment": "typpo"} | rotation)
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": robot, "comment": "typo"} | rotation)
    assert detailed(pulumi.preview(), "update") == {"comment": "update"}
    assert pulumi.up().changes == {"update": 1}
    assert operations(workspace) == ["POST", "PATCH"]
    assert workspace.tokens()[0]["comment"] == "typo"
    assert pulumi.outputs() == before
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")


def test_scopes_change_in_place(pulumi, workspace, robot):
    before = started(pulumi, {"applicationId": robot, "scopes": ["sql"]})
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": robot, "scopes": ["sql", "clusters"]})
    assert set(pulumi.preview().changes) == {"update"}
    assert pulumi.up().changes == {"update": 1}
    assert operations(workspace) == ["POST", "PATCH"]
    assert workspace.tokens()[0]["scopes"] == ["sql", "clusters"]
    assert pulumi.outputs() == before
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")


# --- Time, and what others do ---


def test_a_plain_up_replaces_an_expired_token(pulumi, workspace, robot):
    workspace.advance(-2 * HOUR)
    old = started(pulumi, {"applicationId": robot, "lifetimeSeconds": HOUR})
    workspace.advance(2 * HOUR)
    assert not workspace.accepts(old["value"])
    preview = pulumi.preview()
    assert replaced(preview), str(preview)
    assert detailed(preview, "replace") == {"expiryTime": "update-replace"}
    assert said(preview, "the obo token expired on ")
    assert replaced(pulumi.up())
    assert workspace.live() == [pulumi.outputs()["id"]]
    pulumi.unchanged()


def test_a_token_in_its_rotation_window_is_replaced_by_a_plain_up(pulumi, workspace, robot):
    # Created 50 minutes ago, it has 10 left.
    properties = {"applicationId": robot, "lifetimeSeconds": HOUR, "rotateBeforeSeconds": 5 * 60}
    workspace.advance(-50 * 60)
    started(pulumi, properties)
    workspace.advance(50 * 60)
    pulumi.unchanged()
    pulumi.credential(OBO_TOKEN_TYPE, properties | {"rotateBeforeSeconds": 15 * 60})
    result = pulumi.up()
    assert replaced(result) and said(result, "in less than rotateBeforeSeconds (15 minutes)")
    pulumi.unchanged()


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, 365 * DAY, -365 * DAY])
def test_time_is_the_workspaces(pulumi, workspace, robot, seconds):
    """The machine's clock is off by so much: nothing rotates in a storm, and nothing that is due is kept."""
    workspace.advance(seconds)
    started(pulumi, {"applicationId": robot, "lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 7 * DAY})
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")
    workspace.advance(84 * DAY)
    assert replaced(pulumi.up())
    pulumi.unchanged()
    workspace.advance(91 * DAY)
    assert pulumi.preview().changes == {"create": 1}, "one that has expired is not kept"


def test_a_token_that_was_revoked_behind_our_back(pulumi, workspace, robot):
    old = started(pulumi, {"applicationId": robot})
    workspace.revoke_later(old["id"])
    pulumi.unchanged()
    pulumi.refresh()
    assert pulumi.resource() is None
    assert pulumi.up().changes == {"create": 1}
    workspace.revoke_later(pulumi.outputs()["id"])
    assert pulumi.destroy().changes == {"delete": 1}


def test_a_look_up_that_lags_behind_a_create_loses_nothing(pulumi, workspace, robot):
    token_id = started(pulumi, {"applicationId": robot})["id"]
    message = f"Token with id {token_id} does not exist."
    unknown = {"status": 404, "error_code": "RESOURCE_DOES_NOT_EXIST", "message": message}
    workspace.fault(f"{MANAGEMENT}tokens/{token_id}", unknown, method="GET")
    pulumi.refresh()
    assert pulumi.resource()["id"] == token_id


def test_an_expired_token_is_dropped_by_a_refresh(pulumi, workspace, robot):
    """Databricks still answers requests for its id."""
    workspace.advance(-2 * HOUR)
    started(pulumi, {"applicationId": robot, "lifetimeSeconds": HOUR})
    workspace.advance(2 * HOUR)
    pulumi.refresh()
    assert pulumi.resource() is None


@about_something_else
def test_an_error_about_something_else_is_not_about_the_token(pulumi, workspace, robot, code, message):
    token_id = started(pulumi, {"applicationId": robot})["id"]
    action = {"status": 404, "error_code": code, "message": message}
    workspace.fault(MANAGEMENT, action, method="DELETE")
    assert message in pulumi.destroy(ok=False).text
    workspace.fault(MANAGEMENT, action, method="GET", times=0)
    assert message in pulumi.refresh(ok=False).text
    assert pulumi.resource()["id"] == token_id and workspace.live() == [token_id]


def test_a_revocation_whose_answer_is_lost_is_repeated(pulumi, workspace, robot):
    started(pulumi, {"applicationId": robot})
    workspace.fault(MANAGEMENT, {"drop": "after"}, method="DELETE")
    assert pulumi.destroy().changes == {"delete": 1}
    assert workspace.live() == []


def test_whoever_is_no_admin_loses_nothing(pulumi, workspace, robot):
    token_id = started(pulumi, {"applicationId": robot})["id"]
    pulumi.env["DATABRICKS_TOKEN"] = workspace.control("/users", {"user_name": "guest@example.com"})["token"]
    for operation in (pulumi.refresh, pulumi.destroy):
        assert "(403 " in operation(ok=False).text
        assert pulumi.resource()["id"] == token_id
    assert workspace.live() == [token_id]


# --- Import, and states of the official plugin ---


def test_import(pulumi, workspace, robot):
    body = {"application_id": robot, "comment": "there before", "lifetime_seconds": HOUR}
    status, made = workspace.call("POST", MANAGEMENT + "on-behalf-of/tokens", body, token=workspace.token)
    assert status == 200, made
    token_id = made["token_info"]["token_id"]
    pulumi.write()
    pulumi.init()
    result = pulumi.run("import", "--stack", "test", "--yes", "--protect=false", OBO_TOKEN_TYPE, "t", token_id, ok=None)
    assert "only when it is created" in result.text
    state = pulumi.resource(show_secrets=True)
    assert state["id"] == token_id
    assert state["outputs"]["tokenValue"] == {SIGNATURE: SECRET_SIGNATURE, "plaintext": '""'}
    # Whose token it is cannot be looked up, so the program is believed.
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": robot, "comment": "there before", "lifetimeSeconds": HOUR})
    preview = pulumi.preview()
    assert set(preview.changes) <= {"same", "update"}, str(preview)
    pulumi.up()
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")
    assert workspace.live() == [token_id]
    # From then on another application id replaces the token.
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": "other", "comment": "there before", "lifetimeSeconds": HOUR})
    assert replaced(pulumi.preview())


def official(pulumi, workspace):
    """Makes the state what the official plugin writes."""

    def edit(resource):
        inputs = {"__defaults": []} | {
            name: value for name, value in resource["inputs"].items() if name in ("applicationId", "comment", "lifetimeSeconds")
        }
        outputs = {
            "applicationId": inputs["applicationId"],
            "comment": inputs.get("comment", ""),
            "id": resource["id"],
            "lifetimeSeconds": inputs.get("lifetimeSeconds"),
            "providerConfig": {"workspaceId": workspace.workspace_id},
            "tokenValue": resource["outputs"]["tokenValue"],
            "__pulumi_raw_state_delta": {"obj": {"ps": {"providerConfig": {"plu": {"i": {"obj": {}}}}}}},
        }
        resource.update(inputs=inputs, outputs=outputs, additionalSecretOutputs=["tokenValue"])

    pulumi.edit_state(edit)


@pytest.mark.parametrize("stated", [{}, {"comment": "c", "lifetimeSeconds": HOUR}], ids=["bare", "full"])
def test_a_state_of_the_official_plugin_goes_on(pulumi, workspace, robot, stated):
    before = started(pulumi, {"applicationId": robot} | stated)
    official(pulumi, workspace)
    workspace.forget_requests()
    assert pulumi.preview("--expect-no-changes").changes == {"same": 1}
    pulumi.unchanged()
    assert workspace.requests(MANAGEMENT) == []
    pulumi.refresh()
    pulumi.unchanged()
    assert pulumi.outputs() == before
    pulumi.destroy()
    assert workspace.live() == []


def test_rotation_looks_up_what_an_official_state_does_not_tell(pulumi, workspace, robot):
    properties = {"applicationId": robot, "lifetimeSeconds": HOUR}
    workspace.advance(-50 * 60)
    token_id = started(pulumi, properties)["id"]
    workspace.advance(50 * 60)
    official(pulumi, workspace)
    workspace.forget_requests()
    pulumi.credential(OBO_TOKEN_TYPE, properties | {"rotateBeforeSeconds": 5 * 60})
    assert set(pulumi.preview().changes) <= {"same", "update"}
    (request,) = workspace.requests(MANAGEMENT)
    assert (request["method"], request["path"].rsplit("/", 1)[1]) == ("GET", token_id)
    pulumi.credential(OBO_TOKEN_TYPE, properties | {"rotateBeforeSeconds": 15 * 60})
    result = pulumi.up()
    assert replaced(result) and said(result, "in less than rotateBeforeSeconds (15 minutes)")
    pulumi.unchanged()


# --- Failures ---


@pytest.mark.parametrize(
    ("properties", "parts"),
    [
        ({}, ["applicationId"]),
        ({"applicationId": "1234567890"}, ["applicationId", "not its numeric id"]),
        ({"applicationId": ""}, ["applicationId", "must not be empty"]),
        ({"applicationId": "a", "lifetime": 3}, ["lifetime"]),
        ({"applicationId": "a", "lifetimeSeconds": -1}, ["lifetimeSeconds", "must be a positive number"]),
    ],
    ids=["missing", "numeric", "empty", "unknown key", "negative lifetime"],
)
def test_bad_inputs_are_refused_by_name(provider, properties, parts):
    urn = f"urn:pulumi:test::test::{OBO_TOKEN_TYPE}::t"
    _, failures = provider.check(properties, urn=urn)
    assert failures
    assert all(part in str(failures) for part in parts), failures


def test_a_create_whose_answer_is_lost_names_what_it_may_have_left(pulumi, workspace, robot):
    old = started(pulumi, {"applicationId": robot})
    others, _ = workspace.mint()
    workspace.fault("/on-behalf-of/tokens", {"drop": "after"})
    pulumi.credential(OBO_TOKEN_TYPE, {"applicationId": robot, "lifetimeSeconds": HOUR})
    result = pulumi.up(ok=False)
    (orphan,) = set(workspace.live()) - {old["id"], others}
    assert orphan in result.text and others not in result.text
    assert operations(workspace) == ["POST", "POST"]
    assert pulumi.resource()["id"] == old["id"]
    assert workspace.accepts(old["value"])
    assert replaced(pulumi.up())


def test_a_create_that_nobody_waits_for_is_undone(plugin, workspace, fake_engine, robot):
    client = plugin(engine=fake_engine.address).connect()
    client.handshake(engine_address=fake_engine.address)
    client.configure(host=workspace.host, token=secret(workspace.token))
    others, _ = workspace.mint()
    workspace.fault("/on-behalf-of/tokens", {"delay_ms": 800, "work": True})
    urn = f"urn:pulumi:test::test::{OBO_TOKEN_TYPE}::t"
    request = provider_pb2.CreateRequest(urn=urn, properties=struct({"applicationId": robot}))
    call = client.stub.Create.future(request, timeout=60)
    wait_for(lambda: len(workspace.live()) == 2, what="the create")
    call.cancel()
    wait_for(lambda: workspace.live() == [others], what="the end of the new token")
    assert operations(workspace) == ["POST", "DELETE"]
