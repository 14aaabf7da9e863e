"""`pulumi up` with each way of signing in that a local workspace and this machine can offer, on the real engine."""

import pathlib
import re
import stat

import pytest

ADMIN = "admin@example.com"


class Setting:
    """Where a way to sign in can be set up: the stack's configuration, the environment, files of the home folder."""

    def __init__(self, pulumi, workspace):
        self.pulumi, self.workspace = pulumi, workspace
        self.home = pathlib.Path(pulumi.env["HOME"])
        self.robot = workspace.variables["DATABRICKS_CLIENT_ID"]
        self.secret = workspace.variables["DATABRICKS_CLIENT_SECRET"]
        self.provider = None
        self.files = []

    def config(self, **values):
        for name, value in values.items():
            mark = "--secret" if "ecret" in name or name == "token" else "--plaintext"
            self.pulumi.run("config", "set", "--stack", "test", mark, f"databricks:{name}", value)

    def environ(self, **values):
        self.pulumi.env.update(values)

    def file(self, name, text):
        path = self.home / name
        path.write_text(text, encoding="utf-8")
        self.files.append(path)
        return str(path)

    def profiles(self, text):
        return self.file(".databrickscfg", text)


def service_principal_by_configuration(it):
    it.config(host=it.workspace.host, clientId=it.robot, clientSecret=it.secret)
    return "oauth-m2m", it.robot


def service_principal_by_environment(it):
    it.environ(
        DATABRICKS_HOST=it.workspace.host, DATABRICKS_CLIENT_ID=it.robot, DATABRICKS_CLIENT_SECRET=it.secret
    )
    return "oauth-m2m", it.robot


def service_principal_by_an_explicit_provider(it):
    it.provider = {"host": it.workspace.host, "clientId": it.robot, "clientSecret": {"fn::secret": it.secret}}
    return "oauth-m2m", it.robot


def default_profile(it):
    it.profiles(f"[DEFAULT]\nhost = {it.workspace.host}\ntoken = {it.workspace.token}\n")
    return "pat", ADMIN


def profile_by_name(it):
    it.profiles(
        "[DEFAULT]\nhost = https://elsewhere.invalid\ntoken = none\n"
        f"[robot]\nhost = {it.workspace.host}\nclient_id = {it.robot}\nclient_secret = {it.secret}\n"
    )
    it.config(profile="robot")
    return "oauth-m2m", it.robot


def github_identity_token(it):
    it.config(host=it.workspace.host, clientId=it.robot)
    it.environ(
        ACTIONS_ID_TOKEN_REQUEST_URL=f"{it.workspace.host}/local/github-oidc?x=1",
        ACTIONS_ID_TOKEN_REQUEST_TOKEN="local-request-token",
    )
    return "github-oidc", it.robot


def azure_devops_identity_token(it):
    it.config(host=it.workspace.host, clientId=it.robot)
    it.environ(
        SYSTEM_ACCESSTOKEN="local-request-token",
        SYSTEM_TEAMFOUNDATIONCOLLECTIONURI=f"{it.workspace.host}/local/azure-devops/",
        SYSTEM_PLANID="plan",
        SYSTEM_JOBID="job",
        SYSTEM_TEAMPROJECTID="project",
        SYSTEM_HOSTTYPE="build",
    )
    return "azure-devops-oidc", it.robot


def identity_token_of_the_environment(it):
    it.workspace.control("/subject-tokens", {"token": "identity-of-a-job"})
    it.environ(DATABRICKS_HOST=it.workspace.host, DATABRICKS_CLIENT_ID=it.robot, DATABRICKS_OIDC_TOKEN="identity-of-a-job")
    return "env-oidc", it.robot


def identity_token_of_a_file(it):
    it.workspace.control("/subject-tokens", {"token": "identity-of-a-pod"})
    it.config(
        host=it.workspace.host,
        clientId=it.robot,
        authType="file-oidc",
        databricksIdTokenFilepath=it.file("identity", "identity-of-a-pod\n"),
    )
    return "file-oidc", it.robot


def metadata_service(it):
    it.config(host=it.workspace.host)
    it.environ(DATABRICKS_METADATA_SERVICE_URL=f"{it.workspace.host}/local/metadata-service")
    return "metadata-service", ADMIN


def databricks_cli(it):
    """The tool's answer is an access token; a token of the admin stands in for it."""
    _, value = it.workspace.mint()
    it.workspace.forget_requests()
    tool = pathlib.Path(
        it.file(
            "databricks",
            '#!/bin/sh\ncase "$1" in auth) cat "$0.answer" ;; *) echo "Databricks CLI v0.296.0" ;; esac\nexit\n'
            # A file smaller than the real tool is taken for its predecessor of the same name.
            + "#" * 2**20,
        )
    )
    it.file(
        "databricks.answer",
        f'{{"access_token": "{value}", "token_type": "Bearer", "expiry": "2100-01-01T00:00:00Z"}}',
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    it.config(host=it.workspace.host)
    it.environ(PATH=f"{it.home}:{it.pulumi.env['PATH']}")
    return "databricks-cli", ADMIN


WAYS = [
    service_principal_by_configuration,
    service_principal_by_environment,
    service_principal_by_an_explicit_provider,
    default_profile,
    profile_by_name,
    github_identity_token,
    azure_devops_identity_token,
    identity_token_of_the_environment,
    identity_token_of_a_file,
    metadata_service,
    databricks_cli,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_life_of_a_token(pulumi, workspace, way):
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        del pulumi.env[name]
    pulumi.token({"comment": "c", "lifetimeSeconds": 3600})
    pulumi.init()
    it = Setting(pulumi, workspace)
    auth, owner = way(it)
    if it.provider is not None:
        token = {
            "type": "databricks:Token",
            "properties": {"comment": "c", "lifetimeSeconds": 3600},
            "options": {"provider": "${p}"},
        }
        provider = {"type": "pulumi:providers:databricks", "properties": it.provider}
        pulumi.write({"p": provider, "t": token}, {"id": "${t.id}", "value": "${t.tokenValue}"})

    pulumi.up()
    outputs = pulumi.outputs()
    assert workspace.accepts(outputs["value"])
    (created,) = workspace.requests("/token/create")
    assert f" auth/{auth}" in created["headers"]["user-agent"]
    (token,) = [token for token in workspace.tokens() if token["id"] == outputs["id"]]
    assert token["owner"] == owner

    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")
    pulumi.destroy()
    assert not workspace.accepts(outputs["value"])
    # The state holds no credential in the clear.
    state = (pulumi.state_dir / ".pulumi").rglob("*.json")
    texts = [path.read_text(encoding="utf-8") for path in state]
    assert texts and not any(secret in text for text in texts for secret in (it.secret, workspace.token))
    # The test put values into these itself; its fixtures search all files for them.
    for path in it.files:
        path.unlink()


def test_nobody_takes_the_place_of_a_principal_whose_sign_in_fails(pulumi, workspace):
    """Somebody's login of the Databricks CLI is on the machine, and is never used while a principal is configured."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        del pulumi.env[name]
    pulumi.token({"comment": "c", "lifetimeSeconds": 3600})
    pulumi.init()
    it = Setting(pulumi, workspace)
    databricks_cli(it)
    service_principal_by_environment(it)
    refused = {"status": 401, "body": {"error": "invalid_client", "error_description": "no"}}
    workspace.fault("/oidc/v1/token", refused, times=0)
    end = pulumi.up(ok=False)
    assert "oauth-m2m auth: POST " in end.text and "It is configured, so no other way" in end.text, end
    assert not workspace.requests("/api/")
    workspace.control("/faults", method="DELETE")

    # A failure that may pass is waited out.
    workspace.fault("/oidc/v1/token", {"status": 500})
    pulumi.up()
    (created,) = workspace.requests("/token/create")
    assert " auth/oauth-m2m" in created["headers"]["user-agent"]
    pulumi.destroy()
    for path in it.files:
        path.unlink()


@pytest.mark.parametrize(
    "stated",
    [
        {"azureClientId": "app", "azureClientSecret": "s", "azureTenantId": "tenant"},
        {"googleServiceAccount": "robot@example.com"},
        {"googleCredentials": "{}"},
    ],
    ids=["azure", "google-id", "google-credentials"],
)
@pytest.mark.parametrize("where", ["stack", "profile"])
def test_nobody_takes_the_place_of_who_is_stated_for_another_cloud(pulumi, workspace, stated, where):
    """The host is not on that cloud, as far as anybody can tell, so that way cannot be taken."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        del pulumi.env[name]
    pulumi.token({"comment": "c"})
    pulumi.init()
    it = Setting(pulumi, workspace)
    databricks_cli(it)
    if where == "stack":
        it.config(**{name: value for name, value in stated.items()})
    else:
        keys = {re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", name): value for name, value in stated.items()}
        it.profiles("[work]\n" + "".join(f"{name} = {value}\n" for name, value in keys.items()))
        it.config(profile="work")
    end = pulumi.up(ok=False)
    assert "if it is, set databricks:cloud to" in end.text, end
    assert "Not tried, since the above is incomplete: databricks-cli" in end.text, end
    assert not workspace.requests("/api/")
    for path in it.files:
        path.unlink()


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 401},
        {"status": 403, "error_code": 403, "message": "Invalid access token."},
        {"status": 403, "error_code": "PERMISSION_DENIED", "message": "Token is expired"},
    ],
    ids=["401", "403", "expired"],
)
def test_an_access_token_that_is_refused_is_replaced(pulumi, workspace, refusal):
    """One that was revoked early is fetched anew, also for a create: the refusal says that nothing was done."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        del pulumi.env[name]
    pulumi.token({"comment": "c", "lifetimeSeconds": 3600})
    pulumi.init()
    service_principal_by_environment(Setting(pulumi, workspace))
    workspace.fault("/token/create", refusal)
    pulumi.up()
    refused, created = workspace.requests("/token/create")
    assert (refused["status"], created["status"]) == (refusal["status"], 200)
    assert refused["auth"]["fingerprint"] != created["auth"]["fingerprint"]
    (token,) = [token for token in workspace.tokens() if token["comment"] == "c"]
    assert token["live"]
    pulumi.destroy()

    # A new access token does not help where everybody is refused.
    workspace.forget_requests()
    workspace.fault("/token/create", refusal, times=0)
    assert f"({refusal['status']} " in pulumi.up(ok=False).text
    assert len(workspace.requests("/token/create")) == 2
    workspace.control("/faults", method="DELETE")


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": "before"}], ids=["500", "lost"])
def test_a_host_that_does_not_describe_itself_at_once_is_no_other(pulumi, workspace, fault):
    """A host of several workspaces is taken for no other: each request says which workspace is meant."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        del pulumi.env[name]
    pulumi.token({"comment": "c", "providerConfig": {"workspaceId": workspace.workspace_id}})
    pulumi.init()
    service_principal_by_environment(Setting(pulumi, workspace))
    workspace.control("/host-metadata", {"host_type": "unified"})
    workspace.fault("/.well-known/databricks-config", fault)
    pulumi.up()
    (created,) = workspace.requests("/token/create")
    assert created["headers"]["x-databricks-workspace-id"] == workspace.workspace_id
    pulumi.destroy()
