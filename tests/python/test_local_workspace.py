"""The local workspace, seen by the Databricks SDK for Python as it is published.

LOCAL_WORKSPACE_BIN names the program.
"""

import base64
import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from databricks.sdk import AccountClient, WorkspaceClient, errors
from databricks.sdk.common.types.fieldmask import FieldMask
from databricks.sdk.config import Config
from databricks.sdk.service import iam, oauth2, settings

DAY_MS = 24 * 60 * 60 * 1000
YEARS_2_S = 730 * 24 * 60 * 60


class LocalWorkspace:
    """A started program, and its control API."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [os.environ["LOCAL_WORKSPACE_BIN"], "--service-principal", "--exit-on-stdin-eof", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [self.process.stdout.readline().strip().split("=", 1) for _ in range(6 if "--tls" in options else 4)]
        self.variables = dict(lines)
        self.host = self.variables["DATABRICKS_HOST"]

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=10) == 0
        self.process.stdout.close()

    def control(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.host + "/local/control" + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def client(self, **config):
        config = config or {"token": self.variables["DATABRICKS_TOKEN"]}
        return WorkspaceClient(config=Config(host=self.host, retry_timeout_seconds=20, **config))

    def machine_client(self, **config):
        return self.client(
            client_id=self.variables["DATABRICKS_CLIENT_ID"],
            client_secret=self.variables["DATABRICKS_CLIENT_SECRET"],
            **config,
        )

    def requests(self, path):
        return [entry for entry in self.control("/requests")["requests"] if path in entry["path"]]


@pytest.fixture(autouse=True)
def no_ambient_credentials(monkeypatch, tmp_path):
    """The SDK reads DATABRICKS_* and ~/.databrickscfg; neither must reach these tests."""
    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "ARM_", "GOOGLE_", "ACTIONS_ID_TOKEN")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def shared():
    workspace = LocalWorkspace()
    yield workspace
    workspace.stop()


@pytest.fixture
def local(shared):
    shared.control("/reset", {})
    return shared


def test_create_list_and_delete(local):
    client = local.client()
    assert list(client.tokens.list()) == []

    before = int(time.time() * 1000)
    created = client.tokens.create(comment="c é", lifetime_seconds=300)
    assert created.token_value.startswith("dapi")
    info = created.token_info
    assert info.comment == "c é"
    assert before <= info.creation_time <= before + 60_000
    assert info.expiry_time == info.creation_time + 300_000
    assert list(client.tokens.list()) == [info]

    client.tokens.delete(info.token_id)
    assert list(client.tokens.list()) == []


def test_a_minted_token_works_until_it_is_deleted(local):
    admin = local.client()
    created = admin.tokens.create(lifetime_seconds=300)
    minted = local.client(token=created.token_value)
    assert minted.current_user.me() == admin.current_user.me()
    assert [info.token_id for info in minted.tokens.list()] == [created.token_info.token_id]
    admin.tokens.delete(created.token_info.token_id)
    with pytest.raises(errors.PermissionDenied, match="Invalid access token"):
        minted.current_user.me()


def test_no_lifetime_is_two_years(local):
    info = local.client().tokens.create().token_info
    assert info.expiry_time - info.creation_time == YEARS_2_S * 1000


@pytest.mark.parametrize(
    ("lifetime", "message"),
    [(0, "requirement failed: Invalid timeout: 0"), (-1, "Invalid timeout: -1"), (YEARS_2_S + 1, "maximum")],
)
def test_lifetimes_that_are_refused(local, lifetime, message):
    with pytest.raises(errors.InvalidParameterValue, match=message):
        local.client().tokens.create(lifetime_seconds=lifetime)


def test_zero_values_arrive(local):
    client = local.client()
    info = client.tokens.create(comment="", scopes=[], autoscope_enabled=False).token_info
    assert (info.comment, info.scopes) == ("", None)
    assert info.autoscope_state == iam.AutoscopeState.AUTOSCOPE_STATE_DISABLED
    assert client.tokens.create(lifetime_seconds=60).token_info.comment is None


def test_scopes_and_autoscope(local):
    client = local.client()
    chosen = client.tokens.create(scopes=["sql", "all-apis"]).token_info
    assert chosen.scopes == ["sql", "all-apis"]
    assert chosen.autoscope_state == iam.AutoscopeState.AUTOSCOPE_STATE_USER_SELECTED
    observed = client.tokens.create(autoscope_enabled=True)
    assert observed.token_info.autoscope_state == iam.AutoscopeState.AUTOSCOPE_STATE_RUNNING
    local.client(token=observed.token_value).current_user.me()
    local.control("/clock", {"advance_ms": 30 * DAY_MS})
    narrowed = {info.token_id: info for info in client.tokens.list()}[observed.token_info.token_id]
    assert narrowed.autoscope_state == iam.AutoscopeState.AUTOSCOPE_STATE_COMPLETED
    assert narrowed.inferred_scopes == ["scim"]


def test_update(local):
    client = local.client()
    token_id = client.tokens.create(comment="old", scopes=["sql"]).token_info.token_id
    new = settings.PublicTokenInfo(comment="new", scopes=["jobs"])
    client.tokens.update(token_id, new, FieldMask(["comment"]))
    (info,) = client.tokens.list()
    assert (info.comment, info.scopes) == ("new", ["sql"])
    client.tokens.update(token_id, new, FieldMask(["comment", "scopes"]))
    (info,) = client.tokens.list()
    assert info.scopes == ["jobs"]
    with pytest.raises(errors.InvalidParameterValue):
        client.tokens.update(token_id, new, FieldMask(["expiry_time"]))


def test_unknown_ids(local):
    client = local.client()
    with pytest.raises(errors.ResourceDoesNotExist):
        client.tokens.delete("0" * 64)
    with pytest.raises(errors.NotFound) as caught:
        client.tokens.update("0" * 64, settings.PublicTokenInfo(comment="x"), FieldMask(["comment"]))
    assert caught.value.error_code == "NOT_FOUND"
    with pytest.raises(errors.ResourceDoesNotExist):
        client.token_management.get("0" * 64)
    with pytest.raises(errors.ResourceDoesNotExist):
        client.token_management.delete("0" * 64)


def test_expired_tokens_are_not_listed(local):
    client = local.client()
    client.tokens.create(lifetime_seconds=60)
    local.control("/clock", {"advance_ms": 60_000})
    assert list(client.tokens.list()) == []


def test_quota(local):
    local.control("/quota", {"quota": 2})
    client = local.client()
    client.tokens.create()
    client.tokens.create()
    with pytest.raises(errors.BadRequest) as caught:
        client.tokens.create()
    assert caught.value.error_code == "QUOTA_EXCEEDED"


def test_bad_and_missing_credentials(local):
    with pytest.raises(errors.PermissionDenied, match="Invalid access token"):
        local.client(token="dapi0").current_user.me()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(local.host + "/api/2.0/token/list", timeout=10)
    assert caught.value.code == 401
    caught.value.close()


def test_client_credentials(local):
    client = local.machine_client()
    me = client.current_user.me()
    assert me.user_name == local.variables["DATABRICKS_CLIENT_ID"]
    created = client.tokens.create(comment="machine")
    assert [info.comment for info in client.tokens.list()] == ["machine"]
    # Tokens belong to whoever makes them.
    assert list(local.client().tokens.list()) == []
    assert local.client(token=created.token_value).current_user.me() == me
    assert len(local.requests("/oidc/v1/token")) == 1
    (asked,) = local.requests("/oidc/.well-known")
    assert asked["status"] == 200


def test_an_access_token_that_is_about_to_expire_is_fetched_again(local):
    local.control("/settings", {"access_token_seconds": 1})
    client = local.machine_client()
    client.current_user.me()
    client.current_user.me()
    assert len(local.requests("/oidc/v1/token")) >= 2


def test_the_clock_that_moves_is_not_that_of_the_client(local):
    client = local.machine_client()
    client.current_user.me()
    local.control("/clock", {"advance_ms": 2 * 60 * 60 * 1000})
    with pytest.raises(errors.PermissionDenied, match="Token is expired"):
        client.current_user.me()
    assert local.machine_client().current_user.me().active


def test_wrong_client_secret(local):
    config = {"client_id": local.variables["DATABRICKS_CLIENT_ID"], "client_secret": "wrong"}
    with pytest.raises(ValueError, match="invalid_client"):
        local.client(**config).current_user.me()


def test_client_credentials_without_host_metadata(local):
    local.control("/host-metadata", {"status": 404})
    discovery = local.host + "/oidc/.well-known/oauth-authorization-server"
    assert local.machine_client(discovery_url=discovery).current_user.me().active


def test_host_metadata_reaches_the_client(local):
    client = local.client()
    assert client.config.workspace_id == "1234567890123456"
    client.current_user.me()
    (asked,) = local.requests("/Me")
    assert asked["headers"]["x-databricks-workspace-id"] == "1234567890123456"
    assert client.get_workspace_id() == 1234567890123456


def test_id_tokens_are_exchanged(local, monkeypatch):
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", local.host + "/local/github-oidc?x=1")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "local-request-token")
    client_id = local.variables["DATABRICKS_CLIENT_ID"]
    client = local.client(client_id=client_id, auth_type="github-oidc")
    assert client.current_user.me().user_name == client_id

    local.control("/subject-tokens", {"token": "from-the-environment"})
    monkeypatch.setenv("DATABRICKS_OIDC_TOKEN", "from-the-environment")
    client = local.client(client_id=client_id, auth_type="env-oidc")
    assert client.current_user.me().user_name == client_id


def test_metadata_service(local):
    url = local.host + "/local/metadata-service"
    client = local.client(metadata_service_url=url, auth_type="metadata-service")
    assert client.current_user.me().user_name == "admin@example.com"


def test_token_management(local):
    client = local.client()
    robot = local.variables["DATABRICKS_CLIENT_ID"]
    own = client.tokens.create(comment="own").token_info.token_id
    made = client.token_management.create_obo_token(robot, comment="robot", lifetime_seconds=300)
    assert local.client(token=made.token_value).current_user.me().user_name == robot
    robots = made.token_info.token_id

    management = client.token_management
    assert [info.token_id for info in management.list()] == [own, robots]
    me = client.current_user.me()
    assert len(list(management.list(created_by_username=me.user_name))) == 2
    assert len(list(management.list(created_by_id=int(me.id)))) == 2
    assert list(management.list(created_by_username="a+b@x.y")) == []
    info = management.get(robots).token_info
    assert info.created_by_username == me.user_name
    assert info.owner_id != info.created_by_id == int(me.id)
    assert info.workspace_id == 1234567890123456
    assert info.last_used_day % DAY_MS == 0

    updated = management.update_token_management(
        robots, settings.TokenInfo(comment="renamed"), FieldMask(["comment"])
    )
    assert updated.comment == "renamed"
    management.delete(robots)
    assert [info.token_id for info in management.list()] == [own]
    for wrong in ["nobody", str(info.owner_id)]:
        with pytest.raises(errors.InvalidParameterValue, match="expected to have application id of the service"):
            management.create_obo_token(wrong)


def test_tokens_on_behalf_of_a_principal(local):
    management = local.client().token_management
    robot = local.variables["DATABRICKS_CLIENT_ID"]
    made = management.create_obo_token(robot, comment="c", lifetime_seconds=60, scopes=["scim"])
    token_id = made.token_info.token_id
    assert (made.token_info.comment, made.token_info.scopes) == ("c", ["scim"])
    assert made.token_info.expiry_time - made.token_info.creation_time == 60_000
    with pytest.raises(errors.InvalidParameterValue, match="requirement failed: Invalid timeout: 0"):
        management.create_obo_token(robot, lifetime_seconds=0)
    with pytest.raises(errors.PermissionDenied):
        local.machine_client().token_management.create_obo_token(robot)

    # An expired token is still found by its id, a deleted one is not.
    local.control("/clock", {"advance_ms": 60_000})
    with pytest.raises(errors.PermissionDenied, match="Invalid access token"):
        local.client(token=made.token_value).current_user.me()
    assert management.get(token_id).token_info.comment == "c"
    assert list(management.list()) == []
    management.delete(token_id)
    with pytest.raises(errors.ResourceDoesNotExist):
        management.get(token_id)


def test_a_second_user(local):
    second = local.client(token=local.control("/users", {"user_name": "second@example.com"})["token"])
    assert second.current_user.me().user_name == "second@example.com"
    token_id = second.tokens.create(comment="second's").token_info.token_id
    admin = local.client()
    assert list(admin.tokens.list()) == []
    with pytest.raises(errors.ResourceDoesNotExist):
        admin.tokens.delete(token_id)
    assert admin.token_management.get(token_id).token_info.created_by_username == "second@example.com"
    admin.token_management.delete(token_id)
    assert list(second.tokens.list()) == []


def robot_id(local):
    """Numeric id of the service principal that the program was started with."""
    robot = local.variables["DATABRICKS_CLIENT_ID"]
    (found,) = [one["id"] for one in local.control("/state")["principals"] if one["user_name"] == robot]
    return str(found)


def check_secrets(local, api):
    """Creates, lists, uses and deletes secrets through one of the two APIs."""
    robot = local.variables["DATABRICKS_CLIENT_ID"]
    principal = robot_id(local)
    assert list(api.list(principal)) == []
    made = api.create(principal, lifetime="3600s")
    assert re.fullmatch("dose[0-9a-f]{32}", made.secret)
    assert re.fullmatch("[0-9a-f]{64}", made.id)
    created, expires = (
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z") for text in (made.create_time, made.expire_time)
    )
    assert (expires - created).total_seconds() == 3600
    assert abs(created.timestamp() - time.time()) < 60
    (info,) = api.list(principal)
    listed = (info.id, info.secret_hash, info.create_time, info.expire_time, info.status)
    assert listed == (made.id, made.secret_hash, made.create_time, made.expire_time, "ACTIVE")

    client = local.client(client_id=robot, client_secret=made.secret)
    assert client.current_user.me().user_name == robot
    scoped = api.create(principal, scopes=["scim"])
    assert scoped.scopes == ["scim"]
    client = local.client(client_id=robot, client_secret=scoped.secret)
    assert client.current_user.me().user_name == robot
    with pytest.raises(errors.PermissionDenied, match="authentication"):
        list(client.tokens.list())

    for _ in range(3):
        api.create(principal)
    assert len(list(api.list(principal, page_size=2))) == 5
    with pytest.raises(errors.BadRequest) as caught:
        api.create(principal)
    assert caught.value.error_code == "QUOTA_EXCEEDED"
    api.delete(principal, made.id)
    assert made.id not in [info.id for info in api.list(principal)]
    with pytest.raises(ValueError, match="invalid_client"):
        local.client(client_id=robot, client_secret=made.secret).current_user.me()
    with pytest.raises(errors.ResourceDoesNotExist, match=made.id):
        api.delete(principal, made.id)
    with pytest.raises(errors.ResourceDoesNotExist, match="principal 1 does not exist"):
        api.create("1")
    # The secret that the program was started with is not one of those.
    assert local.machine_client().current_user.me().user_name == robot


def account_client(local):
    local.control("/host-metadata", {"host_type": "account"})
    return AccountClient(
        host=local.host,
        account_id=local.control("/state")["account_id"],
        client_id=local.variables["DATABRICKS_CLIENT_ID"],
        client_secret=local.variables["DATABRICKS_CLIENT_SECRET"],
    )


def test_secrets_of_the_account(local):
    api = account_client(local).service_principal_secrets
    with pytest.raises(errors.PermissionDenied, match="users without account admin status"):
        list(api.list(robot_id(local)))
    local.control("/principals/" + robot_id(local), {"account_admin": True})
    local.control("/host-metadata", {})
    check_secrets(local, api)


def test_secrets_through_the_workspace(local):
    check_secrets(local, local.client().service_principal_secrets_proxy)
    with pytest.raises(errors.PermissionDenied):
        list(local.machine_client().service_principal_secrets_proxy.list(robot_id(local)))


def test_only_admins_manage_tokens(local):
    with pytest.raises(errors.PermissionDenied):
        local.machine_client().token_management.list()


def test_permissions(local):
    client = local.client()
    machine = local.machine_client()
    machine.tokens.create()
    robot = local.variables["DATABRICKS_CLIENT_ID"]
    management = client.token_management
    (level,) = management.get_permission_levels().permission_levels
    assert level.permission_level == settings.TokenPermissionLevel.CAN_USE

    shown = management.set_permissions(access_control_list=[])
    assert [entry.group_name for entry in shown.access_control_list] == ["admins"]
    with pytest.raises(errors.PermissionDenied, match="User does not have permission to use tokens."):
        machine.tokens.create()
    entry = settings.TokenAccessControlRequest(
        service_principal_name=robot, permission_level=settings.TokenPermissionLevel.CAN_USE
    )
    management.update_permissions(access_control_list=[entry])
    machine.tokens.create()
    entries = management.get_permissions().access_control_list
    assert {entry.group_name or entry.service_principal_name for entry in entries} == {"admins", robot}
    levels = {permission.permission_level for entry in entries for permission in entry.all_permissions}
    assert levels == {settings.TokenPermissionLevel.CAN_USE}


def test_accounts(local):
    local.control("/workspaces", {"workspace_id": "42", "deployment_name": "dep"})
    account = account_client(local)
    workspace = account.workspaces.get(42)
    assert (workspace.workspace_id, workspace.deployment_name) == (42, "dep")
    assert {workspace.workspace_id for workspace in account.workspaces.list()} == {42, 1234567890123456}
    assert local.requests(f"/oidc/accounts/{account.config.account_id}/v1/token")


def test_a_workspace_behind_a_unified_host(local):
    local.control("/workspaces", {"workspace_id": "42"})
    local.control("/host-metadata", {"host_type": "unified"})
    account_id = local.control("/state")["account_id"]
    there = local.machine_client(account_id=account_id, workspace_id="42")
    there.tokens.create(comment="there")
    assert [info.comment for info in there.tokens.list()] == ["there"]
    assert there.get_workspace_id() == 42
    here = local.machine_client(account_id=account_id, workspace_id="1234567890123456")
    assert list(here.tokens.list()) == []


def test_throttled_requests_are_sent_again(local):
    local.control(
        "/faults", [{"match": {"path": "/token/create"}, "action": {"status": 429, "retry_after": "1"}}]
    )
    local.client().tokens.create()
    assert [entry["status"] for entry in local.requests("/token/create")] == [429, 200]


def test_a_create_whose_connection_was_reset_may_have_been_done(local):
    local.control("/faults", {"match": {"path": "/token/create"}, "action": {"drop": "after"}})
    client = local.client()
    client.tokens.create(comment="twice")
    assert [info.comment for info in client.tokens.list()] == ["twice", "twice"]


def test_a_login_page_in_place_of_json(local):
    local.control("/host-metadata", {"host_type": "account", "login_redirect": True})
    client = local.client(token=local.variables["DATABRICKS_TOKEN"])
    with pytest.raises(json.JSONDecodeError):
        client.tokens.list()


def test_service_principals_and_users(local):
    client = local.client()
    made = client.service_principals_v2.create(display_name="robot", active=True)
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made.application_id)
    assert client.service_principals_v2.get(made.id) == made
    (found,) = client.service_principals_v2.list(filter=f'applicationId eq "{made.application_id}"')
    assert found == made
    everybody = list(client.service_principals_v2.list())
    assert {it.application_id for it in everybody} == {made.application_id, local.variables["DATABRICKS_CLIENT_ID"]}
    secret = client.service_principal_secrets_proxy.create(made.id, lifetime="60s").secret
    signed_in = local.client(client_id=made.application_id, client_secret=secret)
    assert signed_in.current_user.me().user_name == made.application_id
    with pytest.raises(errors.PermissionDenied):
        signed_in.service_principals_v2.create(display_name="another")
    client.service_principals_v2.delete(made.id)
    with pytest.raises(errors.NotFound, match=made.id):
        client.service_principals_v2.get(made.id)

    user = client.users_v2.create(user_name="second@example.com")
    assert {it.user_name for it in client.users_v2.list()} == {"admin@example.com", "second@example.com"}
    with pytest.raises(errors.ResourceConflict):
        client.users_v2.create(user_name="second@example.com")
    client.users_v2.delete(user.id)
    with pytest.raises(errors.NotFound):
        client.users_v2.get(user.id)


def test_principals_of_the_account(local):
    local.control("/principals/" + robot_id(local), {"account_admin": True})
    account = account_client(local)
    made = account.service_principals_v2.create(display_name="robot")
    secret = account.service_principal_secrets.create(int(made.id)).secret
    local.control("/host-metadata", {})
    assert local.client(client_id=made.application_id, client_secret=secret).current_user.me().active
    account.service_principals_v2.delete(made.id)
    assert [it.user_name for it in account.users_v2.list()] == ["admin@example.com"]


def test_the_configuration_of_the_workspace(local):
    client = local.client()
    client.workspace_conf.set_status({"maxTokenLifetimeDays": "1"})
    with pytest.raises(errors.InvalidParameterValue, match="maximum"):
        client.tokens.create(lifetime_seconds=2 * DAY_MS // 1000)
    client.workspace_conf.set_status({"enableTokensConfig": "false"})
    with pytest.raises(errors.NotFound) as caught:
        client.tokens.create()
    assert caught.value.error_code == "FEATURE_DISABLED"
    values = client.workspace_conf.get_status("maxTokenLifetimeDays,enableTokensConfig")
    assert values == {"maxTokenLifetimeDays": "1", "enableTokensConfig": "false"}
    with pytest.raises(errors.PermissionDenied):
        local.machine_client().workspace_conf.get_status("enableTokensConfig")


@pytest.mark.parametrize("path", ["/oidc", "/oidc/accounts/{account}"])
def test_signatures(local, path):
    """Signatures are checked by a library that knows only the issuer's URL, which is how verifiers are set up."""
    account = local.control("/state")["account_id"]
    issuer = local.host + path.format(account=account)
    with urllib.request.urlopen(issuer + "/.well-known/openid-configuration", timeout=10) as answer:
        discovered = json.load(answer)
    form = {"grant_type": "client_credentials", "client_id": local.variables["DATABRICKS_CLIENT_ID"]}
    form["client_secret"] = local.variables["DATABRICKS_CLIENT_SECRET"]
    request = urllib.request.Request(discovered["token_endpoint"], urllib.parse.urlencode(form).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        bearer = json.load(answer)["access_token"]
    subject = local.control("/subject-tokens", {"audience": "a", "issuer": issuer})["token"]
    keys = jwt.PyJWKClient(discovered["jwks_uri"])
    for token, audience in ((bearer, "1234567890123456"), (subject, "a")):
        key = keys.get_signing_key_from_jwt(token)

        def verified(token, audience=audience, key=key):
            return jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=discovered["issuer"])

        assert verified(token)["sub"]
        with pytest.raises(jwt.InvalidAudienceError):
            verified(token, audience="another")
        head, claims, signature = token.split(".")
        changed = base64.urlsafe_b64encode(
            base64.urlsafe_b64decode(claims + "==").replace(b'"sub":"', b'"sub":"not-')
        )
        with pytest.raises(jwt.InvalidSignatureError):
            verified(f"{head}.{changed.decode().rstrip('=')}.{signature}")


def test_federation(local, monkeypatch):
    """A policy made by the SDK, and id tokens of an issuer that is not the workspace."""
    local.control("/principals/" + robot_id(local), {"account_admin": True})
    account = account_client(local)
    robot = int(account.service_principals_v2.create(display_name="job").id)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    policies = account.service_principal_federation_policy
    oidc = oauth2.OidcFederationPolicy(
        issuer="https://idp.example.com",
        audiences=["databricks"],
        subject="job:1",
        jwks_json=json.dumps({"keys": [public | {"kid": "1"}]}),
    )
    made = policies.create(robot, oauth2.FederationPolicy(description="d", oidc_policy=oidc), policy_id="ci")
    assert (made.policy_id, made.service_principal_id, made.oidc_policy) == ("ci", robot, oidc)
    assert list(policies.list(robot)) == [made] == [policies.get(robot, "ci")]
    assert list(account.federation_policy.list()) == []
    application_id = account.service_principals_v2.get(str(robot)).application_id
    local.control("/host-metadata", {})

    def signed_in(key=key, **claims):
        claims = {"iss": oidc.issuer, "aud": "databricks", "sub": "job:1", "exp": int(time.time()) + 600} | claims
        monkeypatch.setenv("DATABRICKS_OIDC_TOKEN", jwt.encode(claims, key, "RS256", headers={"kid": "1"}))
        return local.client(client_id=application_id, auth_type="env-oidc").current_user.me().user_name

    assert signed_in() == application_id
    with pytest.raises(ValueError, match="signature"):
        signed_in(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with pytest.raises(ValueError, match="subject"):
        signed_in(sub="job:2")
    with pytest.raises(ValueError, match="expired"):
        signed_in(exp=int(time.time()) - 1)

    local.control("/host-metadata", {"host_type": "account"})
    changed = oauth2.FederationPolicy(oidc_policy=oauth2.OidcFederationPolicy(subject="job:2"))
    assert policies.update(robot, "ci", changed, update_mask="oidc_policy.subject").oidc_policy.subject == "job:2"
    local.control("/host-metadata", {})
    assert signed_in(sub="job:2") == application_id
    local.control("/host-metadata", {"host_type": "account"})
    policies.delete(robot, "ci")
    with pytest.raises(errors.NotFound):
        policies.get(robot, "ci")
    # A policy of the account belongs to no principal: the subject is somebody's name.
    whole = oauth2.OidcFederationPolicy(issuer=oidc.issuer, audiences=["databricks"], jwks_json=oidc.jwks_json)
    account.federation_policy.create(oauth2.FederationPolicy(oidc_policy=whole))
    assert local.control("/state")["federation_policies"][0]["principal"] is None


def test_tls(monkeypatch):
    workspace = LocalWorkspace("--tls")
    try:
        assert workspace.host.startswith("https://127.0.0.1:")
        certificate = workspace.variables["SSL_CERT_FILE"]
        context = ssl.create_default_context(cafile=certificate)
        # Newer versions of Python switch these on by themselves.
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        for name in ("127.0.0.1", "localhost"):
            url = workspace.host.replace("127.0.0.1", name) + "/.well-known/databricks-config"
            with urllib.request.urlopen(url, timeout=10, context=context) as answer:
                assert json.load(answer)["oidc_endpoint"] == url.replace("/.well-known/databricks-config", "/oidc")
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(url, timeout=10, context=ssl.create_default_context())
        for protocol in ("h2", "http/1.1"):
            context.set_alpn_protocols([protocol])
            address = ("127.0.0.1", int(workspace.host.rsplit(":", 1)[1]))
            with socket.create_connection(address) as plain, context.wrap_socket(plain, server_hostname="localhost") as tls:
                assert tls.selected_alpn_protocol() == protocol
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
        assert workspace.client().current_user.me().user_name == "admin@example.com"
        assert workspace.machine_client().tokens.create(lifetime_seconds=60).token_value
    finally:
        workspace.stop()
    assert not os.path.exists(certificate)
