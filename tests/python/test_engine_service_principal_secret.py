"""The life of OAuth secrets of service principals on the real engine, with programs in YAML."""

import base64
import json
import urllib.error
import urllib.request

import grpc
import pytest
from conftest import (
    SECRET_SIGNATURE,
    SECRET_TYPE,
    SECRET_VALUE,
    SIGNATURE,
    UNKNOWN,
    about_something_else,
    secret,
    struct,
    wait_for,
)
from pulumi.runtime.proto import provider_pb2

HOUR = 3600
DAY = 24 * HOUR
OTHER = "5e3a1c0f-0000-4000-8000-0000000000ff"
SECRETS = "/credentials/secrets"
URN = f"urn:pulumi:test::test::{SECRET_TYPE}::t"


class Robot:
    """The service principal that the secrets are for."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.application_id = workspace.variables["DATABRICKS_CLIENT_ID"]
        principals = workspace.control("/state")["principals"]
        (self.id,) = [str(it["id"]) for it in principals if it["user_name"] == self.application_id]
        self.path = f"/api/2.0/accounts/servicePrincipals/{self.id}{SECRETS}"

    def secrets(self):
        """Every secret ever made, oldest first."""
        return self.workspace.control("/state")["secrets"]

    def live(self):
        return [it["id"] for it in self.secrets() if it["live"]]

    def mint(self, count=1, **fields):
        """Creates secrets without the plugin; returns their ids."""
        ids = []
        for _ in range(count):
            status, made = self.workspace.call("POST", self.path, fields, token=self.workspace.token)
            assert status == 200, made
            ids.append(made["id"])
        return ids

    def opens(self, value):
        """Whether a secret signs in; if it does, it must be as the service principal."""
        pair = base64.b64encode(f"{self.application_id}:{value}".encode()).decode()
        request = urllib.request.Request(
            self.workspace.host + "/oidc/v1/token",
            data=b"grant_type=client_credentials&scope=all-apis",
            headers={"authorization": f"Basic {pair}"},
        )
        try:
            with self.workspace._opener.open(request, timeout=30) as response:
                token = json.load(response)["access_token"]
        except urllib.error.HTTPError:
            return False
        status, me = self.workspace.call("GET", "/api/2.0/preview/scim/v2/Me", token=token)
        assert (status, me["userName"]) == (200, self.application_id)
        return True

    def operations(self):
        """Methods of the calls so far that change something."""
        return [entry["method"] for entry in self.workspace.requests(SECRETS) if entry["method"] != "GET"]


@pytest.fixture
def robot(workspace):
    return Robot(workspace)


def said(result, text):
    """Whether the engine told the user so."""
    return any(text in message for _, message in result.diagnostics)


def started(pulumi, properties, options=None):
    """Starts a stack with one secret, and returns its outputs."""
    pulumi.credential(SECRET_TYPE, properties, options)
    pulumi.init()
    assert pulumi.up().changes == {"create": 1}
    return pulumi.outputs()


def two(pulumi, properties):
    """A program with two secrets."""
    pulumi.write({name: {"type": SECRET_TYPE, "properties": dict(properties)} for name in ("a", "b")})


def replaced(result):
    """Whether the one secret was replaced, the new one created before the old one was deleted."""
    return result.changes == {"create-replacement": 1, "replace": 1, "delete-replaced": 1}


def detailed(result, op):
    """What changed, such as {"lifetime": "update-replace"}."""
    return {path: change["diffKind"] for path, change in result.step(op)["detailedDiff"].items()}


# --- Create, change, destroy ---


def whole_life(pulumi, workspace, robot, path, header):
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id, "lifetime": "8640000s"})
    pulumi.init()
    preview = pulumi.preview()
    assert preview.changes == {"create": 1}
    planned = preview.planned()
    assert (planned["servicePrincipalId"], planned["secret"][SIGNATURE]) == (robot.id, SECRET_SIGNATURE)
    for name in ("createTime", "expireTime", "secretHash", "servicePrincipalSecretId", "status"):
        assert planned[name] == UNKNOWN, name
    assert robot.operations() == []

    assert pulumi.up().changes == {"create": 1}
    outputs = pulumi.outputs()
    assert SECRET_VALUE.fullmatch(outputs["value"])
    assert robot.live() == [outputs["id"]]
    assert robot.opens(outputs["value"])
    kept = pulumi.resource()["outputs"]
    assert (kept["servicePrincipalSecretId"], kept["lifetime"]) == (outputs["id"], "8640000s")
    assert set(kept["secret"]) == {SIGNATURE, "ciphertext"}
    assert pulumi.preview("--expect-no-changes").changes == {"same": 1}
    pulumi.unchanged()
    assert pulumi.refresh("--expect-no-changes").changes == {"refresh": 1}
    assert pulumi.outputs() == outputs

    assert pulumi.destroy().changes == {"delete": 1}
    assert robot.live() == []
    assert not robot.opens(outputs["value"])
    assert robot.operations() == ["POST", "DELETE"]
    asked = workspace.requests(SECRETS)
    assert {entry["path"].split(SECRETS)[0] for entry in asked} == {path}
    assert {"x-databricks-workspace-id" in entry["headers"] for entry in asked} == {header}


def test_the_whole_life_through_a_workspace(pulumi, workspace, robot):
    whole_life(pulumi, workspace, robot, f"/api/2.0/accounts/servicePrincipals/{robot.id}", header=True)


def account_admin(pulumi, workspace):
    """Signs in to the account with OAuth, as an administrator of it; returns the account's id."""
    made = workspace.control("/service-principals", {"application_id": OTHER, "account_admin": True})
    account_id = workspace.control("/state")["account_id"]
    del pulumi.env["DATABRICKS_TOKEN"]
    pulumi.env |= {
        "DATABRICKS_CLIENT_ID": made["application_id"],
        "DATABRICKS_CLIENT_SECRET": made["client_secret"],
        "DATABRICKS_ACCOUNT_ID": account_id,
    }
    workspace.control("/host-metadata", {"host_type": "account"})
    return account_id


def test_the_whole_life_through_an_account(pulumi, workspace, robot):
    account = account_admin(pulumi, workspace)
    whole_life(pulumi, workspace, robot, f"/api/2.0/accounts/{account}/servicePrincipals/{robot.id}", header=False)


def test_the_most_verbose_logs_hold_no_value(pulumi, robot):
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id})
    pulumi.init()
    verbose = ("--debug", "-v=9", "--logtostderr", "--logflow")
    assert SECRETS in pulumi.up(*verbose, "--diff").text
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id, "timeRotating": "x"})
    for operation in (pulumi.up, pulumi.refresh, pulumi.destroy):
        operation(*verbose)
    assert robot.operations() == ["POST", "POST", "DELETE", "DELETE"]
    assert not pulumi.leaks()


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"lifetime": "600s"}, {"lifetime": "700s"}, {"lifetime": "update-replace"}),
        ({"scopes": ["sql"]}, {"scopes": ["sql", "clusters"]}, {"scopes[1]": "add-replace"}),
        ({}, {"timeRotating": "1"}, {"timeRotating": "add-replace"}),
        ({"timeRotating": "1"}, {"timeRotating": "2"}, {"timeRotating": "update-replace"}),
        ({"timeRotating": "1"}, {}, {"timeRotating": "delete-replace"}),
        ({"rotateWhenChanged": {"a": "1"}}, {"rotateWhenChanged": {"a": "2"}}, {"rotateWhenChanged": "update-replace"}),
    ],
    ids=["lifetime", "scopes", "timeRotating added", "timeRotating", "timeRotating removed", "rotateWhenChanged"],
)
def test_changes_that_replace(pulumi, robot, before, after, changed):
    old = started(pulumi, {"servicePrincipalId": robot.id} | before)
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id} | after)
    result = pulumi.up()
    assert replaced(result), str(result)
    if "scopes" not in after:
        assert detailed(result, "replace") == changed
    assert robot.operations() == ["POST", "POST", "DELETE"]
    new = pulumi.outputs()
    assert (robot.opens(old["value"]), robot.opens(new["value"])) == (False, True)
    pulumi.unchanged()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"lifetime": "3600"}, {"lifetime": "3600s"}),
        ({"lifetime": "3600s"}, {}),
        ({"lifetime": "3600s"}, {"lifetime": ""}),
        ({}, {"api": "workspace"}),
        ({"api": "workspace"}, {}),
        ({}, {"rotateBeforeSeconds": 60}),
    ],
    ids=["the same lifetime", "lifetime removed", "lifetime emptied", "api added", "api removed", "rotation stated"],
)
def test_changes_that_replace_nothing(pulumi, robot, before, after):
    old = started(pulumi, {"servicePrincipalId": robot.id} | before)
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id} | after)
    result = pulumi.up()
    assert set(result.changes) <= {"same", "update"}, str(result)
    assert robot.operations() == ["POST"]
    assert pulumi.outputs() == old
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")
    pulumi.unchanged()


# --- Time, and what others do ---


def test_a_plain_up_replaces_an_expired_secret(pulumi, workspace, robot):
    workspace.advance(-2 * HOUR)
    started(pulumi, {"servicePrincipalId": robot.id, "lifetime": "3600s"})
    workspace.advance(2 * HOUR)
    preview = pulumi.preview()
    assert replaced(preview), str(preview)
    assert detailed(preview, "replace") == {"expireTime": "update-replace"}
    assert said(preview, "the service principal secret expired on ")
    assert replaced(pulumi.up())
    assert robot.live() == [pulumi.outputs()["id"]]
    pulumi.unchanged()


def test_a_secret_in_its_rotation_window_is_replaced_by_a_plain_up(pulumi, workspace, robot):
    properties = {"servicePrincipalId": robot.id, "lifetime": "3600s", "rotateBeforeSeconds": 5 * 60}
    workspace.advance(-50 * 60)
    started(pulumi, properties)
    workspace.advance(50 * 60)
    pulumi.unchanged()
    pulumi.credential(SECRET_TYPE, properties | {"rotateBeforeSeconds": 15 * 60})
    result = pulumi.up()
    assert replaced(result) and said(result, "in less than rotateBeforeSeconds (15 minutes)")
    pulumi.unchanged()


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, 365 * DAY, -365 * DAY])
def test_time_is_the_workspaces(pulumi, workspace, robot, seconds):
    """The machine's clock is off by so much: nothing rotates in a storm, and nothing that is due is kept."""
    workspace.advance(seconds)
    window = {"lifetime": f"{90 * DAY}s", "rotateBeforeSeconds": 7 * DAY}
    started(pulumi, {"servicePrincipalId": robot.id} | window)
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")
    workspace.advance(84 * DAY)
    assert replaced(pulumi.up())
    pulumi.unchanged()
    workspace.advance(91 * DAY)
    assert pulumi.preview().changes == {"create": 1}, "one that has expired is not kept"


def test_a_list_that_lags_behind_a_create_loses_nothing(pulumi, workspace, robot):
    workspace.control("/settings", {"list_lag_ms": 8000})
    secret_id = started(pulumi, {"servicePrincipalId": robot.id})["id"]
    pulumi.refresh()
    assert pulumi.resource()["id"] == secret_id


def delete_secret(workspace, robot, secret_id):
    workspace.control(f"/secrets/{secret_id}/delete", {})


def delete_principal(workspace, robot, secret_id):
    workspace.control(f"/service-principals/{robot.id}/delete", {})


@pytest.mark.parametrize("end", [delete_secret, delete_principal])
def test_what_is_gone_is_dropped_by_a_refresh_and_destroyed_without_complaint(pulumi, workspace, robot, end):
    secret_id = started(pulumi, {"servicePrincipalId": robot.id})["id"]
    exported = pulumi.export()
    # For a newer secret, the plugin would go on looking, since lists may lag behind a create.
    workspace.advance(60)
    end(workspace, robot, secret_id)
    pulumi.unchanged()
    pulumi.refresh()
    assert pulumi.resource() is None
    pulumi.import_state(exported)
    assert pulumi.destroy().changes == {"delete": 1}


@about_something_else
def test_an_error_about_something_else_is_not_about_the_secret(pulumi, workspace, robot, code, message):
    secret_id = started(pulumi, {"servicePrincipalId": robot.id})["id"]
    action = {"status": 404, "error_code": code, "message": message}
    workspace.fault(SECRETS, action, method="DELETE")
    assert message in pulumi.destroy(ok=False).text
    workspace.fault(SECRETS, action, method="GET", times=0)
    assert message in pulumi.refresh(ok=False).text
    assert pulumi.resource()["id"] == secret_id and robot.live() == [secret_id]


def test_a_deletion_whose_answer_is_lost_is_repeated(pulumi, workspace, robot):
    started(pulumi, {"servicePrincipalId": robot.id})
    workspace.fault(SECRETS, {"drop": "after"}, method="DELETE")
    assert pulumi.destroy().changes == {"delete": 1}
    assert robot.live() == []


def test_whoever_is_no_admin_loses_nothing(pulumi, workspace, robot):
    secret_id = started(pulumi, {"servicePrincipalId": robot.id})["id"]
    pulumi.env["DATABRICKS_TOKEN"] = workspace.control("/users", {"user_name": "guest@example.com"})["token"]
    for operation in (pulumi.refresh, pulumi.destroy):
        assert "(403 " in operation(ok=False).text
        assert pulumi.resource()["id"] == secret_id
    assert robot.live() == [secret_id]


@pytest.mark.parametrize("knows", [True, False], ids=["state", "older state"])
def test_another_account_says_nothing_of_a_secret(pulumi, workspace, robot, knows):
    """The other account does not know the service principal."""
    account = account_admin(pulumi, workspace)
    secret_id = started(pulumi, {"servicePrincipalId": robot.id})["id"]
    assert pulumi.resource()["outputs"]["__accountId"] == account
    if not knows:
        pulumi.edit_state(lambda secret: secret["outputs"].pop("__accountId"))
    pulumi.unchanged()
    message = f"Service principal {robot.id} does not exist."
    unknown = {"status": 404, "error_code": "RESOURCE_DOES_NOT_EXIST", "message": message}
    other = "99999999-0000-4000-8000-000000000000"
    workspace.fault(f"/api/2.0/accounts/{other}/", unknown, times=0)
    pulumi.env["DATABRICKS_ACCOUNT_ID"] = other
    oidc = f"/oidc/accounts/{account}/.well-known/oauth-authorization-server"
    pulumi.env["DATABRICKS_DISCOVERY_URL"] = workspace.host + oidc
    if knows:
        for operation in (pulumi.refresh, pulumi.destroy):
            text = operation(ok=False).text
            assert f"belongs to account {account}, but the provider is configured for account {other}" in text
            assert pulumi.resource()["id"] == secret_id
    else:
        # The state forgets the secret, as with the official plugin, which does not warn.
        (warning,) = [text for severity, text in pulumi.refresh().diagnostics if severity == "warning"]
        assert f"account {other} has no service principal" in warning and "may live on" in warning
        assert pulumi.resource() is None
    assert robot.live() == [secret_id]


# --- Five places ---

FULL = "has 5 secrets already"


def test_the_preview_of_a_sixth_fails_before_anything_is_changed(pulumi, robot):
    robot.mint(5)
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id})
    pulumi.init()
    before = robot.operations()
    for operation in (pulumi.preview, pulumi.up):
        text = operation(ok=False).text
        assert FULL in text and f"databricks service-principal-secrets-proxy delete {robot.id} <secret id>" in text
        assert "  Delete" not in text
    assert robot.operations() == before


@pytest.mark.parametrize("refusal", [{}, {"status": 429, "error_code": "RESOURCE_EXHAUSTED"}], ids=["400", "429"])
def test_the_refusal_of_one_too_many_is_not_repeated(pulumi, workspace, robot, refusal):
    """Two are created at once where one place is left."""
    workspace.control("/secret-limit", {"limit": 5} | refusal)
    robot.mint(4)
    workspace.forget_requests()
    workspace.fault(SECRETS, {"delay_ms": 300}, method="POST", times=0)
    two(pulumi, {"servicePrincipalId": robot.id})
    pulumi.init()
    assert FULL in pulumi.up(ok=False).text
    assert len(robot.operations()) <= 2
    assert len(robot.live()) == 5


def test_throttling_is_waited_out(pulumi, workspace, robot):
    busy = {"status": 429, "error_code": "RESOURCE_EXHAUSTED", "retry_after": "1"}
    workspace.fault(SECRETS, busy, method="POST")
    started(pulumi, {"servicePrincipalId": robot.id})
    assert robot.operations() == ["POST", "POST"]
    assert len(robot.live()) == 1


def test_a_replacement_without_a_free_place_deletes_first(pulumi, robot):
    old = started(pulumi, {"servicePrincipalId": robot.id, "timeRotating": "1"})
    others = robot.mint(4)
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id, "timeRotating": "2"})
    before = robot.operations()
    preview = pulumi.preview()
    assert said(preview, "so the old one is deleted before the new one is created"), str(preview)
    assert robot.operations() == before
    assert pulumi.up().changes == {"delete-replaced": 1, "replace": 1, "create-replacement": 1}
    assert robot.operations() == [*before, "DELETE", "POST"]
    new = pulumi.outputs()
    assert set(robot.live()) == {*others, new["id"]}
    assert (robot.opens(old["value"]), robot.opens(new["value"])) == (False, True)
    pulumi.unchanged()


def test_a_full_service_principal_that_a_secret_moves_to_costs_it_nothing(pulumi, workspace, robot):
    """Deleting the old one would make no room there."""
    old = started(pulumi, {"servicePrincipalId": robot.id})
    other = str(workspace.control("/service-principals", {"application_id": OTHER})["id"])
    for _ in range(5):
        path = f"/api/2.0/accounts/servicePrincipals/{other}{SECRETS}"
        assert workspace.call("POST", path, {}, token=workspace.token)[0] == 200
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": other})
    assert FULL in pulumi.up(ok=False).text
    assert robot.opens(old["value"])


def test_two_replacements_share_one_free_place(pulumi, robot):
    def program(rotating):
        two(pulumi, {"servicePrincipalId": robot.id, "timeRotating": rotating})

    program("1")
    pulumi.init()
    pulumi.up()
    others = robot.mint(2)
    program("2")
    pulumi.preview()
    pulumi.up()
    live = set(robot.live())
    assert len(live) == 4 and set(others) < live
    pulumi.unchanged()


# --- Import, list, and states of the official plugin ---


def run_import(pulumi, import_id, **options):
    command = ("import", "--stack", "test", "--yes", "--protect=false", SECRET_TYPE, "t", import_id)
    return pulumi.run(*command, **options)


@pytest.mark.parametrize("separator", ["|", "/"])
def test_import(pulumi, robot, separator):
    (secret_id,) = robot.mint()
    pulumi.write()
    pulumi.init()
    result = run_import(pulumi, f"{robot.id}{separator}{secret_id}")
    assert "only when it is created" in result.text
    state = pulumi.resource(show_secrets=True)
    assert (state["id"], state["inputs"]["servicePrincipalId"]) == (secret_id, robot.id)
    assert state["outputs"]["secret"] == {SIGNATURE: SECRET_SIGNATURE, "plaintext": '""'}
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id})
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")
    assert pulumi.destroy().changes == {"delete": 1}
    assert robot.live() == []


def test_import_says_what_an_id_looks_like(pulumi, robot):
    (secret_id,) = robot.mint()
    pulumi.write()
    pulumi.init()
    for import_id in (secret_id, f"{robot.application_id}|{secret_id}", f"{robot.id}|"):
        text = run_import(pulumi, import_id, ok=False).text
        assert "its own id, joined by a bar: 1234567890|0123abcd" in text, text
    assert "does not exist" in run_import(pulumi, f"{robot.id}|none", ok=False).text


def test_a_list_tells_what_an_import_takes(provider, robot):
    ids = robot.mint(2)
    found = provider.list(token=SECRET_TYPE, query=struct({"servicePrincipalId": robot.id}))
    assert {it for it, _ in found} == {f"{robot.id}|{secret_id}" for secret_id in ids}
    with pytest.raises(grpc.RpcError) as refused:
        provider.list(token=SECRET_TYPE)
    assert "servicePrincipalId" in refused.value.details()


def official(pulumi, account):
    """Makes the state what the official plugin writes."""

    def edit(resource):
        ours = resource["outputs"]
        stated = ("servicePrincipalId", "lifetime", "timeRotating", "api")
        inputs = {"__defaults": []} | {name: it for name, it in resource["inputs"].items() if name in stated}
        same = ("createTime", "expireTime", "secret", "secretHash", "servicePrincipalSecretId", "status", "updateTime")
        outputs = {name: ours[name] for name in same} | {name: inputs.get(name) for name in stated}
        outputs["lifetime"] = inputs.get("lifetime", "")
        outputs["providerConfig"] = None if account else ours["providerConfig"]
        delta = {"renamed": {"servicePrincipalSecretId": "id"}}
        if not account:
            delta["ps"] = {"providerConfig": {"plu": {"i": {"obj": {}}}}}
        outputs["__pulumi_raw_state_delta"] = {"obj": delta}
        resource.update(inputs=inputs, outputs=outputs, additionalSecretOutputs=["secret"])

    pulumi.edit_state(edit)


@pytest.mark.parametrize("stated", [{}, {"lifetime": "3600s", "timeRotating": "1", "api": "{level}"}], ids=["bare", "full"])
@pytest.mark.parametrize("level", ["workspace", "account"])
def test_a_state_of_the_official_plugin_goes_on(pulumi, workspace, robot, level, stated):
    if level == "account":
        account_admin(pulumi, workspace)
    stated = {name: value.format(level=level) for name, value in stated.items()}
    before = started(pulumi, {"servicePrincipalId": robot.id} | stated)
    official(pulumi, account=level == "account")
    workspace.forget_requests()
    assert pulumi.preview("--expect-no-changes").changes == {"same": 1}
    pulumi.unchanged()
    assert workspace.requests(SECRETS) == []
    assert pulumi.refresh("--expect-no-changes").changes == {"refresh": 1}
    pulumi.unchanged()
    assert pulumi.outputs() == before
    pulumi.destroy()
    assert robot.live() == []


# --- Failures ---


@pytest.mark.parametrize(
    ("properties", "parts"),
    [
        ({}, ["servicePrincipalId"]),
        ({"servicePrincipalId": "5e3a1c0f-0000-4000-8000-000000000001"}, ["servicePrincipalId", "not its application id"]),
        ({"servicePrincipalId": "1", "lifetime": "30d"}, ["lifetime", "such as 3600s"]),
        ({"servicePrincipalId": "1", "lifetime": "0s"}, ["lifetime", "such as 3600s"]),
        ({"servicePrincipalId": "1", "api": "Account"}, ["api", "must be account or workspace"]),
        ({"servicePrincipalId": "1", "lifetimeSeconds": 3}, ["lifetimeSeconds"]),
    ],
    ids=["missing", "application id", "lifetime", "no lifetime", "api", "unknown key"],
)
def test_bad_inputs_are_refused_by_name(provider, properties, parts):
    _, failures = provider.check(properties, urn=URN)
    assert failures
    assert all(part in str(failures) for part in parts), failures


def test_a_create_whose_answer_is_lost_names_what_it_may_have_left(pulumi, workspace, robot):
    old = started(pulumi, {"servicePrincipalId": robot.id})
    others = robot.mint(1)
    before = robot.operations()
    workspace.fault(SECRETS, {"drop": "after"}, method="POST")
    pulumi.credential(SECRET_TYPE, {"servicePrincipalId": robot.id, "timeRotating": "1"})
    result = pulumi.up(ok=False)
    (orphan,) = set(robot.live()) - {old["id"], *others}
    assert orphan in result.text and not any(it in result.text for it in others)
    assert f"databricks service-principal-secrets-proxy delete {robot.id} <secret id>" in result.text
    assert robot.operations() == [*before, "POST"]
    assert pulumi.resource()["id"] == old["id"]
    assert robot.opens(old["value"])


def test_a_create_that_nobody_waits_for_is_undone(plugin, workspace, fake_engine, robot):
    client = plugin(engine=fake_engine.address).connect()
    client.handshake(engine_address=fake_engine.address)
    client.configure(host=workspace.host, token=secret(workspace.token))
    workspace.fault(SECRETS, {"delay_ms": 800, "work": True}, method="POST")
    request = provider_pb2.CreateRequest(urn=URN, properties=struct({"servicePrincipalId": robot.id}))
    call = client.stub.Create.future(request, timeout=60)
    wait_for(lambda: robot.live(), what="the create")
    call.cancel()
    wait_for(lambda: robot.operations() == ["POST", "DELETE"], what="the end of the new secret")
    assert robot.live() == []
