"""The functions on the real engine, in YAML and with the SDK of Python."""

import datetime
import json

import grpc
import pulumi as sdk
import pulumi_databricks as databricks
import pytest
import yaml
from conftest import is_secret, secret

CURRENT_USER = "databricks:index/getCurrentUser:getCurrentUser"
ACCESS_TOKEN = "databricks:index/getAccessToken:getAccessToken"


def refused(client, token, arguments=None, preview=False):
    with pytest.raises(grpc.RpcError) as error:
        client.invoke(token, arguments, preview)
    return error.value.details()


@pytest.fixture
def robot(workspace):
    """The environment of a service principal, which signs in with OAuth."""
    return {name: workspace.variables[name] for name in ("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET")}


@pytest.fixture
def oauth(plugin, workspace, fake_engine, robot):
    """A client that signs in with OAuth."""
    client = plugin(engine=fake_engine.address, env=robot).connect()
    client.handshake(engine_address=fake_engine.address)
    client.configure(host=workspace.host)
    return client


# --- Over gRPC ---


def test_who_signs_in(provider, workspace):
    me = next(it for it in workspace.control("/state")["principals"] if it["user_name"] == "admin@example.com")
    place = {"workspaceId": workspace.workspace_id}
    for arguments in ({}, {"providerConfig": place}):
        for preview in (False, True):
            assert provider.invoke(CURRENT_USER, arguments, preview) == {
                "aclPrincipalId": "users/admin@example.com",
                "alphanumeric": "admin",
                "externalId": "",
                "home": "/Users/admin@example.com",
                "id": str(me["id"]),
                "providerConfig": place,
                "repos": "/Repos/admin@example.com",
                "userName": "admin@example.com",
                "workspaceUrl": workspace.host,
            }
    assert "workspace_id mismatch" in refused(provider, CURRENT_USER, {"providerConfig": {"workspaceId": "4711"}})
    assert "has no property `bogus`" in refused(provider, CURRENT_USER, {"bogus": 1})


def test_who_signs_in_as_a_service_principal(oauth, robot):
    name = robot["DATABRICKS_CLIENT_ID"]
    answer = oauth.invoke(CURRENT_USER)
    assert answer["aclPrincipalId"] == f"servicePrincipals/{name}"
    assert answer["alphanumeric"] == name.replace("-", "_")


def test_the_access_token_in_use(oauth, workspace):
    answer = oauth.invoke(ACCESS_TOKEN)
    assert is_secret(answer["accessToken"])
    assert workspace.accepts(answer["accessToken"]["value"])
    assert answer["tokenType"] == "Bearer"
    expires = datetime.datetime.fromisoformat(answer["expiresAt"])
    assert round(expires.timestamp() * 1000) == answer["expiryTime"]
    assert answer["expiryTime"] > workspace.control("/state")["now_ms"]


def test_a_preview_gets_no_access_token(oauth, workspace):
    workspace.forget_requests()
    answer = oauth.invoke(ACCESS_TOKEN, preview=True)
    assert answer == {"accessToken": secret(""), "expiresAt": "", "expiryTime": 0, "tokenType": "Bearer"}
    assert workspace.requests() == []


@pytest.mark.parametrize("preview", [True, False])
def test_a_personal_access_token_is_none(provider, preview):
    text = refused(provider, ACCESS_TOKEN, preview=preview)
    assert "the provider signs in with pat, which has no OAuth access token" in text
    assert "databricks:clientId" in text


def test_an_unknown_function_is_named(plugin, workspace):
    client = plugin(env={"PULUMI_DATABRICKS_OFFICIAL_PLUGIN": "off"}).connect()
    client.configure(host=workspace.host, token=secret(workspace.token))
    assert "has no function databricks:index/getCluster:getCluster" in refused(client, "databricks:index/getCluster:getCluster")


# --- On the engine ---


def function(name, field):
    return {"fn::invoke": {"function": f"databricks:{name}", "return": field}}


def test_a_program_uses_both(pulumi, workspace, robot):
    del pulumi.env["DATABRICKS_TOKEN"]
    pulumi.env |= robot
    pulumi.token({"comment": function("getCurrentUser", "userName")})
    project = pulumi.project_dir / "Pulumi.yaml"
    text = yaml.safe_load(project.read_text())
    text["outputs"] |= {"access": function("getAccessToken", "accessToken"), "until": function("getAccessToken", "expiresAt")}
    project.write_text(yaml.safe_dump(text))
    pulumi.init()
    pulumi.preview()
    pulumi.up()
    outputs = pulumi.outputs()
    assert workspace.tokens()[-1]["comment"] == robot["DATABRICKS_CLIENT_ID"]
    assert workspace.accepts(outputs["access"])
    first = outputs["access"]
    # What is stored is encrypted, and what is printed is masked.
    assert first not in json.dumps(pulumi.export())
    assert not [result for result in pulumi.results if first in result.text]
    # Each update gets another access token, and nothing but the output changes.
    assert set(pulumi.up().changes) == {"same"}
    assert pulumi.outputs()["access"] != first


def test_the_python_sdk(pulumi, python_program, workspace, robot):
    def program():
        token = databricks.get_access_token_output()
        sdk.export("me", databricks.get_current_user_output().user_name)
        sdk.export("access", token.access_token)

    pulumi.env.pop("DATABRICKS_TOKEN")
    it = python_program(program)
    it.stack.workspace.env_vars |= robot | {"DATABRICKS_TOKEN": ""}
    it.preview()
    it.up()
    outputs = it.stack.outputs()
    assert outputs["me"].value == robot["DATABRICKS_CLIENT_ID"]
    assert outputs["access"].secret and workspace.accepts(outputs["access"].value)
    assert not [text for text in it.output if outputs["access"].value in text]
