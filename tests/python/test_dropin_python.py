"""The official Python SDK, as PyPI has it, drives our plugin."""

import json
import urllib.error
import urllib.parse

import pytest
import support_dropin as dropin
from conftest import ROOT, is_secret, plugin_bin

WORKSPACE = "1234567890123456"


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return dropin.python_worker(tmp_path_factory)


@pytest.fixture(scope="module")
def shared():
    with dropin.workspace() as it:
        yield it


@pytest.fixture
def local(shared):
    shared.reset()
    return shared


@pytest.fixture
def stack(worker, local, tmp_path):
    """Makes stacks whose plugin is found on PATH."""

    def make(program, **arguments):
        environment = dropin.base_environment(tmp_path, plugin_bin()) | local.environment()
        return dropin.Stack(worker, tmp_path, program, environment, **arguments)

    return make


def test_the_users_program(stack, local):
    it = stack(ROOT / "tests" / "programs" / "users_program.py")
    preview = it.preview()
    assert preview.ops("my-databricks-token") == ["create"]
    assert local.tokens() == []
    up = it.up()
    assert up.secret == {"token_value"}
    token = local.by_id()[up.outputs["token_id"]]
    assert token["live"] and token["comment"] == "Token for accessing Databricks REST API"
    assert local.accepts(up.outputs["token_value"])
    it.unchanged()
    it.refresh()
    it.up(refresh=True, expect_no_changes=True)
    assert up.outputs["token_value"] not in str(it.export())
    it.destroy()
    assert local.live() == []
    assert not local.accepts(up.outputs["token_value"])


def test_every_input(stack, local):
    it = stack("every_input.py", workspace_id=WORKSPACE)
    up = it.up()
    out = up.outputs
    token = local.by_id()[out["token_id"]]
    assert out["comment"] == token["comment"] == "every input"
    assert (out["creation_time"], out["expiry_time"]) == (token["creation_time"], token["expiry_time"])
    assert token["expiry_time"] - token["creation_time"] == 8_640_000_000
    assert (out["lifetime_seconds"], out["workspace_id"]) == (8640000, WORKSPACE)
    state = it.tokens(secrets=True)
    assert is_secret(state["secret"]["inputs"]["comment"])
    assert "hidden comment" not in str(it.export())
    assert local.by_id()[state["zero"]["id"]]["comment"] in ("", None)
    assert state["dependent"]["inputs"]["comment"] == f"after {out['token_id']}"
    it.unchanged()
    it.refresh()
    it.unchanged()
    it.destroy()
    assert local.live() == []


def exchanged(workspace, application_id, value):
    """The access token that a service principal gets for one of its secrets; None where the secret is refused."""
    form = urllib.parse.urlencode({
        "grant_type": "client_credentials", "scope": "all-apis", "client_id": application_id, "client_secret": value,
    })
    try:
        with workspace._opener.open(workspace.host + "/oidc/v1/token", data=form.encode(), timeout=30) as response:
            return json.load(response)["access_token"]
    except urllib.error.HTTPError as error:
        error.close()
        return None


def signed_in(workspace, token):
    """The user name of whoever a token signs in as."""
    return workspace.call("GET", "/api/2.0/preview/scim/v2/Me", token=token)[1].get("userName")


def test_the_other_credentials(stack, local):
    robot = local.variables["DATABRICKS_CLIENT_ID"]
    (principal,) = [it["id"] for it in local.control("/state")["principals"] if it["user_name"] == robot]
    it = stack("credentials.py", application_id=robot, service_principal_id=str(principal))
    preview = it.preview()
    assert preview.ops("obo") == preview.ops("secret") == ["create"]
    assert local.tokens() == local.control("/state")["secrets"] == []
    up = it.up()
    out = up.outputs
    assert up.secret == {"token_value", "secret_value"}
    assert out["secret_status"] == "ACTIVE"
    (token,), (made,) = local.tokens(), local.control("/state")["secrets"]
    assert (token["id"], token["comment"]) == (out["token_id"], "for a service principal")
    assert made["id"] == out["secret_id"]
    assert signed_in(local, out["token_value"]) == robot
    assert signed_in(local, exchanged(local, robot, out["secret_value"])) == robot
    it.unchanged()
    it.up(refresh=True, expect_no_changes=True)
    exported = str(it.export())
    for value in (out["token_value"], out["secret_value"]):
        assert value not in exported
        assert value not in preview.everything() + up.everything()
    it.destroy()
    assert not local.accepts(out["token_value"])
    assert exchanged(local, robot, out["secret_value"]) is None


def comments(workspace):
    return sorted(token["comment"] for token in workspace.tokens() if token["live"])


def test_resource_options(stack, local):
    adopted, _ = local.mint(comment="made elsewhere")
    got, _ = local.mint(comment="only read", lifetime_seconds=60)
    it = stack("options.py", phase=1, adopted=adopted, got=got, host=local.host, token=local.token)
    up = it.up()
    assert up.ops("adopted") == ["import"]
    assert up.ops("got") == ["read"]
    assert up.outputs == {"got": "only read", "got_expiry": local.by_id()[got]["expiry_time"]}
    before = it.tokens()
    assert before["adopted"]["id"] == adopted
    assert local.by_id()[before["transformed"]["id"]]["comment"] == "transformed"
    assert is_secret(before["additional"]["outputs"]["comment"])
    assert before["patient"]["customTimeouts"] == {"create": 50, "delete": 50}
    it.unchanged()

    it.arguments["phase"] = 2
    local.forget_requests()
    up = it.up()
    after = it.tokens()
    for name in ("new-provider", "new-name", "moved", "ignored", "protected", "team-token", "transformed", "adopted",
                 "patient", "additional", "after"):
        assert up.ops(name) == ["same"], name
    for name, old in {"new-name": "old-name", "moved": "moved", "ignored": "ignored"}.items():
        assert after[name]["id"] == before[old]["id"]
    for name in ("replaced", "deleted-first", "replaced-on-changes"):
        assert after[name]["id"] != before[name]["id"]
        assert not local.by_id()[before[name]["id"]]["live"]
    assert up.ops("replaced") == ["create-replacement", "replace", "delete-replaced"]
    assert up.ops("deleted-first") == ["delete-replaced", "replace", "create-replacement"]
    assert up.ops("replaced-on-changes")[0] == "create-replacement"
    assert up.ops("retained") == ["delete"]
    assert before["retained"]["id"] in local.live()
    # The provider moves, and with it the reference that each of its tokens keeps, but nothing is sent for that.
    assert sorted(local.operations()) == ["create"] * 3 + ["delete"] * 3
    it.unchanged()

    refused = it.run("destroy")
    assert not refused.ok and "protected" in refused.everything()
    it.pulumi("state", "unprotect", "--all", "--yes")
    it.destroy()
    assert comments(local) == ["only read", "retained"]


@pytest.fixture(scope="module")
def elsewhere():
    with dropin.workspace("--workspace-id", "2222222222222222") as it:
        yield it


def several_workspaces(it, local, elsewhere, secrets):
    preview = it.preview()
    assert all(preview.ops(name) == ["create"] for name in ("in-one", "in-two", "in-default", "by-token"))
    assert local.tokens() == elsewhere.tokens() == []
    up = it.up()
    state = it.tokens(secrets=True)
    owner = state["in-one"]["id"]
    assert comments(local) == ["in default", "in one", f"made by {owner}"]
    assert comments(elsewhere) == ["in two"]
    assert state["in-two"]["outputs"]["providerConfig"] == {"workspaceId": "2222222222222222"}
    # The bootstrapped provider really signed in with the token that the program made.
    minted = [entry for entry in local.requests("/token/create") if entry["body"]["comment"] == f"made by {owner}"]
    assert [entry["auth"]["fingerprint"] for entry in minted] == [owner[:12]]
    stated = {
        "authType": "pat", "clientId": "not used", "debugHeaders": "true", "debugTruncateBytes": "96",
        "host": local.host, "httpTimeoutSeconds": "30", "retryTimeoutSeconds": "20", "skipVerify": "false",
        "version": "1.118.0", "workspaceId": WORKSPACE,
    }
    inputs = it.provider_inputs("one")
    assert {name: inputs[name] for name in stated} == stated
    hidden = {"clientSecret": "not used either", "rateLimit": "50", "scopes": '["sql", "all-apis"]', "token": local.token}
    assert set(inputs) == set(stated) | set(hidden)
    for name, value in hidden.items():
        assert is_secret(inputs[name]) and dropin.revealed(inputs[name]) == value
    exported = str(it.export())
    for value in [*secrets, "not used either", dropin.revealed(state["in-one"]["outputs"]["tokenValue"])]:
        assert value not in exported
        assert value not in preview.everything() + up.everything()
    it.unchanged()
    it.refresh()
    it.unchanged()
    it.destroy()
    assert local.live() == elsewhere.live() == []


def workspaces(*places):
    return [{"host": it.host, "token": it.token, "workspace_id": it.workspace_id} for it in places]


def test_several_workspaces(stack, local, elsewhere):
    elsewhere.reset()
    it = stack("providers.py", workspaces=workspaces(local, elsewhere))
    several_workspaces(it, local, elsewhere, [local.token, elsewhere.token])


def test_one_attached_process_serves_several_workspaces(worker, local, elsewhere, tmp_path):
    elsewhere.reset()
    with dropin.attached(tmp_path, **local.environment()) as plugin:
        environment = dropin.base_environment(tmp_path) | {"PULUMI_DEBUG_PROVIDERS": f"databricks:{plugin.port}"}
        it = dropin.Stack(worker, tmp_path, "providers.py", environment, workspaces=workspaces(local, elsewhere))
        several_workspaces(it, local, elsewhere, [local.token, elsewhere.token])
        assert plugin.process.poll() is None


def test_configuration_of_the_stack(stack, local):
    """`pulumi config` for the default provider: every value is text, and secrets are encrypted in the state too."""
    it = stack("tokens.py", tokens={"t": {"arguments": {"comment": "c"}}})
    it.environment = {name: value for name, value in it.environment.items() if not name.startswith("DATABRICKS_")}
    it.init()
    it.pulumi("config", "set", "databricks:host", local.host)
    it.pulumi("config", "set", "--secret", "databricks:token", local.token)
    it.pulumi("config", "set", "databricks:debugHeaders", "true")
    it.pulumi("config", "set", "databricks:rateLimit", "30")
    it.pulumi("config", "set", "--path", "databricks:scopes[0]", "all-apis")
    it.up()
    assert comments(local) == ["c"]
    inputs = it.provider_inputs("default_1_118_0")
    assert dropin.revealed(inputs) == {
        "host": local.host, "token": local.token, "debugHeaders": "true", "rateLimit": "30", "scopes": '["all-apis"]',
        "version": "1.118.0",
    }
    assert is_secret(inputs["token"])
    assert local.token not in str(it.export())
    it.unchanged()
    # Another host name of the same workspace, and an option that is gone: the provider changes, the token does not.
    it.pulumi("config", "set", "databricks:host", local.host.replace("127.0.0.1", "localhost"))
    it.pulumi("config", "rm", "databricks:rateLimit")
    up = it.up()
    assert up.ops("t") == ["same"]
    it.unchanged()
    it.destroy()
    assert local.live() == []


def test_nothing_of_the_environment_enters_the_state(stack, local, tmp_path):
    it = stack("tokens.py", tokens={"t": {"arguments": {"comment": "c"}}})
    noise = {
        "DATABRICKS_CLUSTER_ID": "cluster-of-the-environment",
        "DATABRICKS_WAREHOUSE_ID": "warehouse-of-the-environment", "DATABRICKS_ACCOUNT_ID": "account-of-the-environment",
    }
    it.environment |= noise
    it.up()
    exported = str(it.export(secrets=True))
    for value in [*noise.values(), *local.environment().values()]:
        assert value not in exported
    assert it.provider_inputs("default_1_118_0") == {"version": "1.118.0"}
    # Elsewhere the same stack signs in by a profile. Nothing changes, and the state has nothing that is out of date.
    home = tmp_path / "home"
    (home / ".databrickscfg").write_text(f"[work]\nhost = {local.host}\ntoken = {local.token}\n")
    it.environment = {name: value for name, value in it.environment.items() if not name.startswith("DATABRICKS_")}
    it.environment["DATABRICKS_CONFIG_PROFILE"] = "work"
    it.unchanged()
    it.destroy()
    assert local.live() == []


def test_a_resource_that_we_do_not_have(stack):
    it = stack("cluster.py")
    for operation in ("preview", "up"):
        result = it.run(operation)
        assert not result.ok
        errors = [entry["message"] for entry in result.diagnostics if entry["severity"] == "error"]
        (message,) = [text for text in errors if "cluster" in text]
        assert "`pulumi plugin install resource databricks 1.118.0`" in message
        page = (ROOT / "docs" / "coming-from-official.md").read_text()
        assert message.strip().split(". ")[0].split("rpc error: code = FailedPrecondition desc = ")[-1] in page


def test_an_expired_token_is_replaced(stack, local):
    """The official plugin notices only on a refresh."""
    it = stack("tokens.py", tokens={"t": {"arguments": {"comment": "c", "lifetime_seconds": 3600}}})
    it.up()
    before = it.tokens()["t"]["id"]
    # As if the hour had passed: in the state, and in the workspace.
    state = it.export()
    (token,) = [entry for entry in state["deployment"]["resources"] if entry["type"] == dropin.TOKEN]
    token["outputs"]["creationTime"] -= 3_600_000
    token["outputs"]["expiryTime"] -= 3_600_000
    it.load(state)
    local.revoke(before)
    up = it.up()
    assert up.ops("t") == ["create-replacement", "replace", "delete-replaced"]
    assert list(up.step("t")["diff"]) == ["expiryTime"]
    assert it.tokens()["t"]["id"] != before
    it.unchanged()


def test_refresh_sees_what_happened_outside(stack, local):
    names = ("kept", "commented", "revoked")
    it = stack("tokens.py", tokens={name: {"arguments": {"comment": name}} for name in names})
    it.up()
    ids = {name: token["id"] for name, token in it.tokens().items()}
    body = {"token": {"comment": "by hand"}, "update_mask": "comment"}
    status, _ = local.call("PATCH", f"/api/2.0/token/{ids['commented']}", body, token=local.token)
    assert status == 200
    local.revoke_later(ids["revoked"])
    refreshed = it.refresh()
    assert refreshed.outcome("kept") == ("same", {})
    result, diff = refreshed.outcome("commented")
    assert result == "update" and set(diff) == {"comment"}
    assert refreshed.outcome("revoked")[0] == "delete"
    assert set(it.tokens()) == {"kept", "commented"}
    up = it.up()
    assert up.ops("kept") == ["same"]
    assert up.ops("commented") == ["create-replacement", "replace", "delete-replaced"]
    assert up.ops("revoked") == ["create"]
    assert comments(local) == sorted(names)
    it.unchanged()
