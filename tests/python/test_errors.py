"""What goes wrong, as a user sees it: on the real engine, with a reason and a way out, and never with a secret.

The fixture `pulumi` looks for values of tokens in everything that is printed; these tests add other credentials.
"""

import contextlib
import gc
import socket

import pulumi as sdk
import pytest
from conftest import TOKEN_TYPE, secret
from pulumi import automation

# The SDK leaves behind coroutines of a program that failed, and Python complains when it collects them.
quiet = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def failed_up(pulumi, properties=None, env=None, without=(), config=None):
    """What the first `up` of a token, which must fail, prints."""
    pulumi.token({"comment": "c"} if properties is None else properties, config=config)
    pulumi.init()
    for name in without:
        del pulumi.env[name]
    result = pulumi.up(ok=False, env=env)
    assert pulumi.resource() is None
    return result.text


def assert_says(text, *phrases):
    for phrase in phrases:
        assert phrase in text, f"{phrase!r} is not in:\n{text}"


@contextlib.contextmanager
def black_hole():
    """The URL of a host that accepts connections and never answers, and a function that returns the requests to it."""
    # The system completes connections that nobody accepts yet.
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def requests():
            """First lines of the requests, once the one who sent them has gone."""
            listener.settimeout(0)
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    return
                with connection:
                    connection.settimeout(30)
                    yield connection.recv(4096).split(b" HTTP/", 1)[0].decode()

        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests


# --- Configuration ---


def test_no_host(pulumi):
    text = failed_up(pulumi, without=["DATABRICKS_HOST"])
    assert_says(text, "no host configured", "pulumi config set databricks:host", "DATABRICKS_HOST", "token=***")


def test_no_host_is_said_by_a_preview(pulumi):
    pulumi.token({})
    pulumi.init()
    del pulumi.env["DATABRICKS_HOST"]
    assert_says(pulumi.preview(ok=False).text, "no host configured")


def test_no_credentials(pulumi, workspace):
    text = failed_up(pulumi, without=["DATABRICKS_TOKEN"])
    assert_says(
        text,
        "cannot configure default credentials",
        "pulumi config set --secret databricks:token",
        "DATABRICKS_TOKEN",
        f"host={workspace.host}",
    )


def test_conflicting_credentials(pulumi, workspace):
    env = {"DATABRICKS_CLIENT_ID": "client", "DATABRICKS_CLIENT_SECRET": "dose-not-to-be-shown"}
    text = failed_up(pulumi, env=env)
    assert_says(
        text,
        "more than one authorization method configured: oauth and pat",
        "databricks:authType",
        "Env: DATABRICKS_HOST, DATABRICKS_TOKEN, DATABRICKS_CLIENT_ID, DATABRICKS_CLIENT_SECRET",
    )
    assert "not-to-be-shown" not in text
    assert workspace.requests("/api/") == []


def test_a_host_that_is_no_url(pulumi):
    text = failed_up(pulumi, env={"DATABRICKS_HOST": "my workspace"})
    assert_says(text, "is not the URL of a workspace", "https://")


def test_wrong_configuration_properties(pulumi):
    pulumi.token({}, config={"databricks:hots": "x", "databricks:rateLimit": "many"})
    pulumi.init()
    text = pulumi.up(ok=False).text
    assert_says(text, "no configuration property `hots`", "databricks:rateLimit: expected a whole number")
    # The engine says each once as it happens and once in the end, and nothing of the resources that need the provider.
    assert "cannot create token" not in text


def test_secrets_of_the_configuration_that_cannot_be_read(pulumi, workspace):
    """The engine prints the value of the property that a failure names."""
    pulumi.token({})
    pulumi.init()
    pulumi.run("config", "set", "--stack", "test", "--secret", "databricks:rateLimit", "not-to-be-shown")
    text = pulumi.up(ok=False).text
    assert_says(text, "databricks:rateLimit: expected a whole number")
    assert "not-to-be-shown" not in text


# --- The way to the workspace ---


def test_a_token_that_is_refused(pulumi):
    wrong = "dapi" + "0" * 32
    text = failed_up(pulumi, env={"DATABRICKS_TOKEN": wrong})
    assert_says(
        text,
        "Invalid access token (403 from POST /api/2.0/token/create)",
        "wrong, expired, revoked or of another workspace",
        "pulumi config set --secret databricks:token",
    )


def test_nobody_listens(pulumi):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = failed_up(pulumi, env={"DATABRICKS_HOST": f"http://127.0.0.1:{port}"})
    assert_says(text, f"cannot connect to http://127.0.0.1:{port}", "refused", "databricks:host")


def test_a_host_that_does_not_answer(pulumi):
    with black_hole() as (host, requests):
        text = failed_up(pulumi, config={"databricks:host": host, "databricks:httpTimeoutSeconds": 2})
        # The create is sent once and never again, so a dead host is waited for once.
        assert list(requests()).count("POST /api/2.0/token/create") == 1
    assert_says(
        text,
        f"POST /api/2.0/token/create to {host} got no complete answer: timed out",
        # Nobody knows whether a token was made, so the error says what to look for.
        'with the comment "c"',
        "revoke it",
    )


def test_an_account_console(pulumi, workspace):
    workspace.control("/host-metadata", {"host_type": "account", "login_redirect": True})
    text = failed_up(pulumi)
    assert_says(text, "the host is an account console", "workspace_id", "databricks:host to the workspace's own URL")


def test_an_account_console_that_says_nothing_of_itself(pulumi, workspace):
    workspace.control("/host-metadata", {"status": 404, "login_redirect": True})
    text = failed_up(pulumi)
    assert_says(text, "redirected to a login page", "account console", "databricks:host")
    assert workspace.live() == []


def test_a_page_in_place_of_an_answer(pulumi, workspace):
    workspace.fault("/token/create", {"html": True, "message": "Welcome"})
    text = failed_up(pulumi)
    assert_says(text, "received HTML response instead of JSON", workspace.host, "databricks:host")


def test_a_page_with_an_error(pulumi, workspace):
    workspace.fault("/token/create", {"html": True, "status": 403, "message": "IP address 192.0.2.7 is blocked"})
    assert_says(failed_up(pulumi), "IP address 192.0.2.7 is blocked", "403")


# --- What the workspace refuses ---


def test_quota(pulumi, workspace):
    workspace.control("/quota", {"quota": 0})
    text = failed_up(pulumi)
    assert_says(text, "QUOTA_EXCEEDED", "Revoke some under Settings > Developer > Access tokens")
    # Waiting would not help.
    assert workspace.operations() == ["create"]


def test_quota_that_looks_like_throttling(pulumi, workspace):
    workspace.control("/quota", {"quota": 0, "status": 429})
    assert_says(failed_up(pulumi), "QUOTA_EXCEEDED")
    assert workspace.operations() == ["create"]


def test_a_longer_lifetime_than_the_workspace_allows(pulumi, workspace):
    workspace.control("/settings", {"max_token_lifetime_days": 1})
    text = failed_up(pulumi, {"lifetimeSeconds": 10 * 24 * 3600})
    assert_says(text, "exceeds the maximum token lifetime of this workspace")


def test_a_user_who_may_not_have_tokens(pulumi, workspace):
    workspace.control("/permissions", {"can_use": False})
    assert_says(failed_up(pulumi), "does not have permission to use tokens", "ask an admin")


def test_tokens_are_switched_off(pulumi, workspace):
    workspace.control("/permissions", {"tokens_enabled": False})
    assert_says(failed_up(pulumi), "FEATURE_DISABLED")


# --- What a program states ---


def test_a_negative_lifetime(pulumi, workspace):
    text = failed_up(pulumi, {"lifetimeSeconds": -5})
    assert_says(text, "property lifetimeSeconds value {-5}", "must be a positive number of seconds")
    assert workspace.requests("/api/") == []


def test_half_a_second(pulumi):
    text = failed_up(pulumi, {"lifetimeSeconds": 1.5})
    assert_says(text, "property lifetimeSeconds value {1.5}", "expected a whole number")


def test_a_window_that_is_no_shorter_than_the_lifetime(pulumi):
    text = failed_up(pulumi, {"lifetimeSeconds": 600, "rotateBeforeSeconds": 600})
    assert_says(text, "property rotateBeforeSeconds", "must be less than lifetimeSeconds")


@pytest.mark.parametrize(
    ("property_name", "value", "reason"),
    [
        ("lifetimeSeconds", -5, "must be a positive number"),
        ("lifetimeSeconds", 1.5, "expected a whole number"),
        ("lifetimeSeconds", "abc", "expected a whole number"),
        ("lifetimeSeconds", "1.5", "expected a whole number"),
        ("lifetimeSeconds", 1e30, "expected a whole number"),
        ("lifetimeSeconds", True, "expected a whole number"),
        ("lifetimeSeconds", [60], "expected a whole number"),
        ("comment", {"a": "b"}, "expected a string"),
        ("scopes", "sql", "expected a list"),
        ("scopes", [], "must not be empty"),
        ("scopes", ["sql", "sql"], "listed twice"),
        ("rotateBeforeSeconds", 0, "must be a positive number"),
        ("rotateWhenChanged", "2026", "expected a map"),
        ("autoscopeEnabled", "perhaps", "expected a boolean"),
        ("providerConfig", {"workspaceId": ""}, "must not be an empty string"),
    ],
)
def test_wrong_values(provider, property_name, value, reason):
    """YAML and typed SDKs may catch these on their own; other programs send anything."""
    _, failures = provider.check({property_name: value})
    ((named, said),) = failures
    assert named == property_name
    assert reason in said
    # The same value as a secret: only the reason names the property, since the engine prints the value of a property
    # that the failure names.
    _, failures = provider.check({property_name: secret(value)})
    ((named, said),) = failures
    assert named == ""
    assert property_name in said and reason in said
    if isinstance(value, str) and value:
        assert value not in said


@pytest.mark.parametrize("value", [60, 60.0, "60", " 60 ", 0, None])
def test_lifetimes_that_are_fine(provider, value):
    _, failures = provider.check({"lifetimeSeconds": value})
    assert failures == []


def fails_in_python(python_program, program):
    """What an inline program that must fail prints."""
    stack = python_program(program)
    with pytest.raises(automation.CommandError) as caught:
        stack.up()
    gc.collect()
    return str(caught.value) + "".join(stack.output)


@quiet
def test_a_property_that_does_not_exist(python_program):
    text = fails_in_python(
        python_program, lambda: sdk.CustomResource(TOKEN_TYPE, "t", {"commnet": "c", "lifetime": 60, "bogus": 1})
    )
    assert_says(text, "commnet", "did you mean `comment`?", "bogus")


@quiet
def test_a_secret_lifetime_is_never_printed(python_program):
    text = fails_in_python(
        python_program, lambda: sdk.CustomResource(TOKEN_TYPE, "t", {"lifetimeSeconds": sdk.Output.secret("hidden-one")})
    )
    assert_says(text, "lifetimeSeconds", "expected a whole number")
    assert "hidden-one" not in text


@quiet
def test_a_resource_of_the_official_plugin(python_program):
    cluster = "databricks:index/cluster:Cluster"
    text = fails_in_python(python_program, lambda: sdk.CustomResource(cluster, "c", {"clusterName": "c"}))
    assert_says(text, cluster, "official databricks plugin", "pulumi plugin install resource databricks 1.118.0")


@quiet
def test_a_function_of_the_official_plugin(python_program):
    function = "databricks:index/getCluster:getCluster"
    text = fails_in_python(python_program, lambda: sdk.runtime.invoke(function, {}))
    assert_says(text, function, "official databricks plugin")
