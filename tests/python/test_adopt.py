"""Adopting what is there: lists with filters, and imports with a value, on the real engine."""

import json

import grpc
import pytest
from conftest import OBO_TOKEN_TYPE, SECRET_TYPE, TOKEN_TYPE, plugin_bin, struct

DAY = 86_400


def listed(pulumi, *arguments, type=TOKEN_TYPE, ok=True):
    """Ids of what `pulumi do … list` prints; of a failure, all that it printed."""
    package = ["--stateless", "--package", plugin_bin()]
    result = pulumi.run("do", *package, type, "list", *arguments, "--output", "json", ok=ok)
    return [entry["id"] for entry in json.loads(result.stdout)] if ok else result.text


def guest(workspace):
    """The token of a user who is no administrator."""
    return workspace.control("/users", {"user_name": "guest@example.com"})["token"]


def time_of(workspace, days=0):
    """The date that it will be in so many days, by the workspace's clock."""
    import datetime

    now = datetime.datetime.fromtimestamp(workspace.control("/state")["now_ms"] / 1000, datetime.UTC)
    return (now + datetime.timedelta(days=days)).isoformat()


def test_a_list_of_tokens_by_comment_and_expiry(pulumi, workspace):
    week, _ = workspace.mint(comment="ci: a", lifetime_seconds=7 * DAY)
    month, _ = workspace.mint(comment="ci: b", lifetime_seconds=30 * DAY)
    other, _ = workspace.mint(comment="other", lifetime_seconds=7 * DAY)
    assert listed(pulumi, "--comment-prefix", "ci:") == [week, month]
    soon = time_of(workspace, days=14)
    assert listed(pulumi, "--expires-before", soon) == [week, other]
    assert listed(pulumi, "--expires-before", soon[:10], "--comment-prefix", "ci") == [week]
    assert listed(pulumi, "--workspace-id", workspace.workspace_id) == [week, month, other]


def test_a_list_for_administrators(pulumi, workspace):
    guests = guest(workspace)
    used, value = workspace.mint(comment="used")
    unused, _ = workspace.mint(comment="not used")
    status, answer = workspace.call("POST", "/api/2.0/token/create", {"comment": "of the guest"}, token=guests)
    assert status == 200
    theirs = answer["token_info"]["token_id"]
    assert theirs not in listed(pulumi)
    assert theirs in listed(pulumi, "--created-by-username", "guest@example.com")
    assert used not in listed(pulumi, "--created-by-username", "guest@example.com")
    workspace.advance(10 * DAY)
    since = time_of(workspace, days=-1)
    assert workspace.accepts(value)
    found = listed(pulumi, "--unused-since", since)
    assert unused in found and theirs in found and used not in found
    assert listed(pulumi, "--unused-since", since, "--comment-prefix", "not") == [unused]


def test_a_list_for_administrators_is_refused_to_others(pulumi, workspace):
    pulumi.env["DATABRICKS_TOKEN"] = guest(workspace)
    for flag, property in (("--created-by-username", "createdByUsername"), ("--unused-since", "unusedSince")):
        value = "2026-01-01" if flag == "--unused-since" else "somebody@example.com"
        text = listed(pulumi, flag, value, ok=False)
        assert f"{property}: only administrators of the workspace" in text, text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"expiresBefore": "soon"}, "expiresBefore: expected a time as in RFC 3339"),
        ({"unusedSince": True}, "unusedSince: expected a time"),
        ({"workspaceId": ""}, "workspaceId: must not be empty"),
        ({"createdByUsername": ""}, "createdByUsername: must not be empty"),
        ({"commentPrefx": "x"}, "commentPrefx: a list of tokens has no property `commentPrefx`; did you mean `commentPrefix`?"),
    ],
)
def test_a_filter_that_is_wrong_is_named(provider, query, message):
    with pytest.raises(grpc.RpcError) as error:
        provider.list(query=struct(query))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in error.value.details()


def test_a_list_of_another_workspace_is_refused(pulumi):
    assert "workspace_id mismatch" in listed(pulumi, "--workspace-id", "4711", ok=False)


def test_a_list_of_tokens_on_behalf(pulumi, workspace):
    robot = workspace.variables["DATABRICKS_CLIENT_ID"]

    def mint(comment, days):
        fields = {"application_id": robot, "comment": comment, "lifetime_seconds": days * DAY}
        path = "/api/2.0/token-management/on-behalf-of/tokens"
        status, answer = workspace.call("POST", path, fields, token=workspace.token)
        assert status == 200, answer
        return answer["token_info"]["token_id"]

    workspace.mint(comment="job: own")
    week, month = mint("job: a", 7), mint("job: b", 30)
    assert listed(pulumi, "--comment-prefix", "job:", type=OBO_TOKEN_TYPE) == [week, month]
    assert listed(pulumi, "--expires-before", time_of(workspace, days=14), type=OBO_TOKEN_TYPE) == [week]
    assert listed(pulumi, "--created-by-username", "guest@example.com", type=OBO_TOKEN_TYPE) == []


def test_a_list_of_secrets_by_expiry(pulumi, workspace):
    robot = next(it["id"] for it in workspace.control("/state")["principals"] if it["service_principal"])
    path = f"/api/2.0/accounts/servicePrincipals/{robot}/credentials/secrets"
    for days in (7, 30):
        status, answer = workspace.call("POST", path, {"lifetime": f"{days * DAY}s"}, token=workspace.token)
        assert status == 200, answer
    query = ["--service-principal-id", robot]
    everything = listed(pulumi, *query, type=SECRET_TYPE)
    soon = listed(pulumi, *query, "--expires-before", time_of(workspace, days=14), type=SECRET_TYPE)
    assert len(soon) == 1 and set(soon) < set(everything)
