"""Owners of tokens on the real engine: a token leaves the state, or counts as revoked, only if that is proved.

docs/reliability-and-security.md has these tests in its table "Gone is proved".
"""

import pytest
from conftest import CREATED_BY, ROOT, TOKEN_TYPE
from support_reliability import rows

DAY = 24 * 3600
ME = "/api/2.0/preview/scim/v2/Me"
MANAGEMENT = "/api/2.0/token-management/tokens/"
SWITCH = "PULUMI_DATABRICKS_REFRESH_BEFORE_UPDATE"


@pytest.fixture
def pulumi(pulumi):
    """Updates look at nothing that they don't need, unless a test says otherwise."""
    pulumi.env[SWITCH] = "off"
    return pulumi


def user(workspace, name, **flags):
    """Adds a user, and returns the environment variables that sign in as them."""
    made = workspace.control("/users", {"user_name": f"{name}@example.com", **flags})
    return {"DATABRICKS_TOKEN": made["token"]}


@pytest.fixture
def ada(workspace):
    return user(workspace, "ada")


@pytest.fixture
def bob(workspace):
    return user(workspace, "bob")


@pytest.fixture
def admin(workspace):
    return {"DATABRICKS_TOKEN": workspace.token}


@pytest.fixture
def robot(workspace):
    """A service principal that signs in with OAuth."""
    names = ("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET")
    return {"DATABRICKS_TOKEN": ""} | {name: workspace.variables[name] for name in names}


@pytest.fixture
def stack(pulumi, ada):
    """A stack whose token ada created; returns the token's id."""
    pulumi.token({"comment": "first", "lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 7 * DAY})
    pulumi.init()
    assert pulumi.up(env=ada).changes == {"create": 1}
    return pulumi.resource()["id"]


def said(result, *texts):
    """Fails unless one message of the engine holds all of these texts; returns its severity."""
    found = [severity for severity, message in result.diagnostics if all(text in message for text in texts)]
    assert found, f"{texts}: {result}"
    return found[0]


def forget_owner(pulumi):
    """The state as the official plugin writes it, which does not know who created the token."""
    pulumi.edit_state(lambda token: [token["outputs"].pop(name) for name in CREATED_BY])


def owner(pulumi):
    return pulumi.resource()["outputs"].get("__createdByUsername")


def refused(result, me):
    """The error names both identities, what to do, and says nothing false."""
    what = ("created by ada@example.com", f"signs in as {me}", "admin of the workspace", "pulumi state delete")
    assert said(result, *what) == "error"
    assert "no longer exists" not in result.text
    assert "<urn>" not in result.text


@pytest.mark.parametrize("who", ["bob", "robot"])
def test_another_identity_drops_revokes_and_changes_nothing(pulumi, workspace, stack, request, who):
    other = request.getfixturevalue(who)
    me = {"bob": "bob@example.com", "robot": workspace.variables["DATABRICKS_CLIENT_ID"]}[who]
    refused(pulumi.refresh(env=other, ok=False), me)
    refused(pulumi.destroy(env=other, ok=False), me)
    pulumi.token({"comment": "changed", "lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 7 * DAY})
    refused(pulumi.up(env=other, ok=False), me)
    assert pulumi.resource()["id"] == stack and stack in workspace.live()
    # The owner can still do all of it.
    assert pulumi.up(env=request.getfixturevalue("ada")).changes == {"update": 1}
    pulumi.destroy(env=request.getfixturevalue("ada"))
    assert stack not in workspace.live()


def test_an_update_only_warns_of_what_another_identity_cannot_see(pulumi, workspace, ada, bob):
    """A token that rotates is looked at before each update, even if whoever runs it cannot see the token."""
    del pulumi.env[SWITCH]
    pulumi.token({"comment": "first", "lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 7 * DAY})
    pulumi.init()
    pulumi.up(env=ada)
    before = pulumi.resource(show_secrets=True)
    result = pulumi.up("--expect-no-changes", env=bob)
    assert result.changes == {"same": 1}
    assert said(result, "created by ada@example.com", "signs in as bob@example.com") == "warning"
    after = pulumi.resource(show_secrets=True)
    assert (after["id"], after["inputs"], after["outputs"]) == (before["id"], before["inputs"], before["outputs"])
    # The next update by somebody who can see the token looks again.
    workspace.revoke_later(before["id"])
    assert pulumi.up(env=ada).changes == {"create": 1}


def test_an_administrator_works_on_tokens_of_others(pulumi, workspace, stack, admin):
    assert pulumi.refresh(env=admin).changes in ({}, {"same": 1}, {"refresh": 1})
    assert (pulumi.resource()["id"], owner(pulumi)) == (stack, "ada@example.com")
    pulumi.token({"comment": "changed", "lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 7 * DAY})
    assert pulumi.up(env=admin).changes == {"update": 1}
    (token,) = [token for token in workspace.tokens() if token["id"] == stack]
    assert token["comment"] == "changed" and owner(pulumi) == "ada@example.com"
    pulumi.destroy(env=admin)
    assert stack not in workspace.live()
    sent = [entry["method"] for entry in workspace.requests(MANAGEMENT)]
    assert [method for method in sent if method != "GET"] == ["PATCH", "DELETE"]


@pytest.mark.parametrize("who", ["ada", "admin"])
def test_a_revocation_whose_answer_is_lost_is_repeated(pulumi, workspace, stack, request, who):
    """The second answer is that there is no such token."""
    workspace.advance(60)
    path = {"ada": "/api/2.0/token/delete", "admin": MANAGEMENT}[who]
    workspace.fault(path, {"drop": "after"}, method={"ada": "POST", "admin": "DELETE"}[who])
    pulumi.destroy(env=request.getfixturevalue(who))
    assert pulumi.resource() is None and stack not in workspace.live()


def test_a_stack_moves_to_an_administrator(pulumi, workspace, stack, robot):
    """docs/changing-identity.md has this way and those below."""
    robot_id = robot["DATABRICKS_CLIENT_ID"]
    workspace.control(f"/principals/{robot_id}", {"admin": True})
    assert pulumi.up(env=robot).changes == {"same": 1}
    result = pulumi.up("--replace", pulumi.resource()["urn"], env=robot)
    assert result.changes == {"create-replacement": 1, "replace": 1, "delete-replaced": 1}
    assert owner(pulumi) == robot_id
    assert stack not in workspace.live() and pulumi.resource()["id"] in workspace.live()


def test_a_stack_moves_whose_configuration_has_the_token(pulumi, workspace, ada, robot):
    workspace.control(f"/principals/{robot['DATABRICKS_CLIENT_ID']}", {"admin": True})
    pulumi.token({"comment": "c"})
    pulumi.init()
    pulumi.run("config", "set", "--secret", "databricks:token", ada["DATABRICKS_TOKEN"])
    pulumi.up(env={"DATABRICKS_TOKEN": ""})
    pulumi.run("config", "rm", "databricks:token")
    # What a refresh signs in with, the engine takes from the state. Newer engines print the error without a diagnostic.
    both = "more than one authorization method configured: oauth and pat"
    assert both in pulumi.refresh(env=robot, ok=False).text
    assert pulumi.up(env=robot).changes == {"same": 1}
    assert pulumi.refresh(env=robot).changes in ({"same": 1}, {"refresh": 1})
    assert owner(pulumi) == "ada@example.com"


def test_a_stack_moves_without_an_administrator(pulumi, workspace, stack, ada, robot):
    assert pulumi.up(env=robot).changes == {"same": 1}
    refused(pulumi.up("--replace", pulumi.resource()["urn"], env=robot, ok=False), robot["DATABRICKS_CLIENT_ID"])
    new = pulumi.resource()["id"]
    assert {stack, new} <= set(workspace.live()) and stack != new
    # The old token waits for its owner, whom the new one does not concern.
    assert pulumi.up(env=ada).changes == {"delete-replaced": 1, "same": 1}
    assert stack not in workspace.live() and new in workspace.live()
    assert owner(pulumi) == robot["DATABRICKS_CLIENT_ID"]
    assert pulumi.up("--expect-no-changes", "--refresh", env=robot).changes in ({"same": 1}, {"same": 1, "refresh": 1})


def test_a_stack_moves_with_a_gap(pulumi, workspace, stack, ada, robot):
    pulumi.destroy("--target", pulumi.resource()["urn"], env=ada)
    assert stack not in workspace.live()
    assert pulumi.up(env=robot).changes == {"create": 1}
    assert owner(pulumi) == robot["DATABRICKS_CLIENT_ID"]


def test_a_token_that_its_owner_no_longer_has_leaves_the_state(pulumi, workspace, stack, ada):
    workspace.revoke_later(stack)
    result = pulumi.refresh(env=ada)
    assert pulumi.resource() is None
    assert said(result, stack, "leaves the state", "ada@example.com", "was revoked") == "info"
    assert workspace.requests(MANAGEMENT) == []


def test_a_token_that_has_expired_leaves_the_state_whoever_asks(pulumi, workspace, stack, bob):
    workspace.advance(91 * DAY)
    result = pulumi.refresh(env=bob)
    assert pulumi.resource() is None
    assert said(result, stack, "leaves the state", "it expired on 2") == "info"


def test_a_token_that_has_expired_is_replaced_by_anybody(pulumi, workspace, stack, bob):
    workspace.advance(91 * DAY)
    result = pulumi.up(env=bob)
    assert result.changes == {"create-replacement": 1, "replace": 1, "delete-replaced": 1}
    assert pulumi.resource()["id"] != stack and owner(pulumi) == "bob@example.com"


def test_an_administrator_sees_that_a_token_of_others_is_gone(pulumi, workspace, stack, admin):
    workspace.revoke_later(stack)
    result = pulumi.refresh(env=admin)
    assert pulumi.resource() is None
    assert said(result, "admin@example.com", "an administrator of the workspace", "does not exist") == "info"


def test_state_without_an_owner_learns_it_without_a_diff(pulumi, workspace, stack, ada):
    forget_owner(pulumi)
    workspace.forget_requests()
    assert pulumi.up("--expect-no-changes", env=ada).changes == {"same": 1}
    assert pulumi.preview(env=ada).changes == {"same": 1}
    assert workspace.requests(ME) == [], "an unchanged stack asks for nobody"
    result = pulumi.refresh("--expect-no-changes", env=ada)
    assert set(result.changes) <= {"same", "refresh"}
    assert owner(pulumi) == "ada@example.com"
    assert len(workspace.requests(ME)) == 1
    pulumi.unchanged()


def test_state_without_an_owner_learns_it_from_an_administrator(pulumi, stack, admin):
    forget_owner(pulumi)
    pulumi.refresh(env=admin)
    assert (pulumi.resource()["id"], owner(pulumi)) == (stack, "ada@example.com")


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"drop": "before"}], ids=["500", "429", "lost"])
def test_a_busy_workspace_still_says_who_creates(pulumi, workspace, ada, fault):
    """Otherwise the first refresh by somebody else would take the token out of the state."""
    workspace.fault(ME, fault)
    pulumi.token({"comment": "c"})
    pulumi.init()
    pulumi.up(env=ada)
    assert owner(pulumi) == "ada@example.com"


@pytest.mark.parametrize("who", ["ada", "admin"])
def test_a_state_that_knows_no_workspace_proves_nothing_elsewhere(pulumi, workspace, stack, request, who):
    """As older versions of the official plugin wrote it, at the host of another workspace of the same people."""
    pulumi.edit_state(lambda token: [token[part].pop("providerConfig", None) for part in ("inputs", "outputs")])
    workspace.advance(60)
    workspace.revoke(stack)
    result = pulumi.refresh(env=request.getfixturevalue(who))
    assert said(result, stack, "leaves the state", "does not say which workspace", workspace.host, "may live on") == "warning"


def test_where_nobody_can_tell_a_warning_says_so(pulumi, workspace, stack, bob):
    forget_owner(pulumi)
    result = pulumi.refresh(env=bob)
    assert pulumi.resource() is None, "as the official plugin does"
    assert said(result, stack, "bob@example.com (user 7", "has no such token", "may live on") == "warning"
    assert stack in workspace.live()


def test_where_nobody_can_tell_a_destroy_says_so(pulumi, workspace, stack, bob):
    forget_owner(pulumi)
    result = pulumi.destroy(env=bob)
    assert said(result, stack, "did not have to be revoked", "bob@example.com (user 7", "may live on") == "warning"


def test_where_nobody_can_tell_an_update_claims_nothing(pulumi, workspace, stack, ada, bob):
    """To say that the token no longer exists would be false, and a refresh by the same identity would forget it."""
    forget_owner(pulumi)
    pulumi.token({"comment": "changed", "lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 7 * DAY})
    result = pulumi.up(env=bob, ok=False)
    assert said(result, stack, "bob@example.com (user 7", "may live on", "Sign in as whoever created it") == "error"
    assert "no longer exists" not in result.text and "to create a new one" not in result.text
    assert pulumi.up(env=ada).changes == {"update": 1}
    assert pulumi.resource()["id"] == stack


DOUBTFUL = {
    "another thing does not exist": (404, "RESOURCE_DOES_NOT_EXIST", "Workspace 111 does not exist"),
    "words only": (400, "INVALID_PARAMETER_VALUE", "Token does not exist"),
    "no such API": (404, "ENDPOINT_NOT_FOUND", "No API found"),
    "no such path": (404, "NOT_FOUND", "nothing is at /api/2.0/token-management/tokens/{id}"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_an_error_about_something_else_revokes_nothing(pulumi, workspace, stack, ada, name):
    status, code, message = DOUBTFUL[name]
    message = message.format(id=stack)
    workspace.fault("/token/delete", {"status": status, "error_code": code, "message": message})
    result = pulumi.destroy(env=ada, ok=False)
    assert said(result, message) == "error"
    assert pulumi.resource()["id"] == stack and stack in workspace.live()
    pulumi.destroy(env=ada)
    assert stack not in workspace.live()


@pytest.mark.parametrize("name", DOUBTFUL)
def test_an_error_about_something_else_forgets_nothing(pulumi, workspace, stack, admin, name):
    status, code, message = DOUBTFUL[name]
    message = message.format(id=stack)
    action = {"status": status, "error_code": code, "message": message}
    workspace.fault(MANAGEMENT, action, times=0)
    workspace.fault("/api/2.0/token/list", action, times=0)
    assert said(pulumi.refresh(env=admin, ok=False), message) == "error"
    assert pulumi.resource()["id"] == stack and stack in workspace.live()


def test_a_list_that_lags_behind_a_create_loses_nothing(pulumi, workspace, ada):
    workspace.control("/settings", {"list_lag_ms": 8000})
    pulumi.token({"comment": "new"})
    pulumi.init()
    pulumi.up(env=ada)
    pulumi.refresh(env=ada)
    assert pulumi.resource()["id"] in workspace.live()


def test_a_look_up_that_lags_behind_a_create_loses_nothing(pulumi, workspace, stack, admin):
    unknown = {"status": 404, "error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"Token with id {stack} does not exist."}
    workspace.fault(MANAGEMENT + stack, unknown, method="GET")
    pulumi.refresh(env=admin)
    assert pulumi.resource()["id"] == stack


def test_an_import_says_who_did_not_find_it(pulumi, workspace, ada, bob):
    made = workspace.call("POST", "/api/2.0/token/create", {"comment": "x"}, token=ada["DATABRICKS_TOKEN"])[1]
    token_id = made["token_info"]["token_id"]
    pulumi.write()
    pulumi.init()
    result = pulumi.run("import", "--stack", "test", "--yes", TOKEN_TYPE, "t", token_id, env=bob, ok=False)
    assert f"the token {token_id} was not found: bob@example.com (user 7" in result.text
    pulumi.write({"t": {"type": "databricks:Token", "get": {"id": token_id}}})
    assert said(pulumi.up(env=bob, ok=False), "was not found", "bob@example.com", "may live on") == "warning"


OVERLAPPING = {
    "comment": "first",
    "lifetimeSeconds": 90 * DAY,
    "rotateBeforeSeconds": 14 * DAY,
    "overlapSeconds": 7 * DAY,
}


@pytest.fixture
def overlapping(pulumi, workspace, ada, bob):
    """A stack whose token bob has rotated, while ada's lives on, its overlap over. Returns the ids of both."""
    pulumi.token(OVERLAPPING)
    pulumi.init()
    pulumi.up(env=ada)
    workspace.advance(80 * DAY)
    assert pulumi.up(env=bob).changes == {"update": 1}
    outputs = pulumi.resource()["outputs"]
    assert owner(pulumi) == "bob@example.com"
    workspace.advance(7 * DAY + 3600)
    return outputs["previousTokenId"], outputs["tokenId"]


def waits_for_ada(result, old):
    """The error is about the old token, and gives no advice that would forget the new one."""
    what = (f"the token {old} was created by ada@example.com", "signs in as bob@example.com", "`pulumi up` as ada@example.com")
    assert said(result, *what) == "error"
    assert "pulumi state delete" not in result.text and "Nothing was changed" not in result.text


def test_an_old_token_in_its_overlap_waits_for_its_owner(pulumi, workspace, overlapping, ada, bob):
    old, new = overlapping
    # Everything else goes on.
    pulumi.token(OVERLAPPING | {"scopes": ["sql"]})
    waits_for_ada(pulumi.up(env=bob, ok=False), old)
    (token,) = [token for token in workspace.tokens() if token["id"] == new]
    assert token["scopes"] == ["sql"] and pulumi.resource()["outputs"]["scopes"] == ["sql"]
    waits_for_ada(pulumi.destroy(env=bob, ok=False), old)
    assert {old, new} <= set(workspace.live()) and pulumi.resource()["outputs"]["previousTokenId"] == old

    pulumi.up(env=ada)
    assert old not in workspace.live() and new in workspace.live()
    assert "previousTokenId" not in pulumi.resource()["outputs"]
    pulumi.up(env=bob)
    pulumi.refresh(env=bob)
    pulumi.up(env=bob)
    (token,) = [token for token in workspace.tokens() if token["id"] == new]
    assert token["comment"] == "first", "without the mark"
    assert pulumi.up("--expect-no-changes", env=bob).changes == {"same": 1}
    pulumi.destroy(env=bob)
    assert not {old, new} & set(workspace.live())


def test_an_administrator_ends_the_overlap_of_others(pulumi, workspace, overlapping, admin):
    old, new = overlapping
    pulumi.up(env=admin)
    assert old not in workspace.live() and new in workspace.live()
    assert pulumi.up("--expect-no-changes", env=admin).changes == {"same": 1}
    pulumi.destroy(env=admin)
    assert new not in workspace.live()


def test_an_old_token_in_its_overlap_that_has_expired_is_nobodys(pulumi, workspace, overlapping, bob):
    old, new = overlapping
    workspace.advance(3 * DAY)
    pulumi.up(env=bob)
    assert "previousTokenId" not in pulumi.resource()["outputs"] and new in workspace.live()


def test_a_workspace_without_changes_in_place(pulumi, workspace, stack, ada):
    workspace.control("/settings", {"patch": False})
    pulumi.token({"comment": "changed", "lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 7 * DAY})
    result = pulumi.up(env=ada, ok=False)
    assert said(result, "No API found for 'PATCH") == "error" and "no longer exists" not in result.text
    assert pulumi.resource()["id"] == stack and stack in workspace.live()


@pytest.mark.parametrize("seconds", [3600, -3600, 365 * DAY, -365 * DAY])
def test_time_is_the_workspaces(pulumi, workspace, ada, seconds):
    """The machine's clock is off by so much: nothing rotates in a storm, and nothing that is due is kept."""
    workspace.advance(seconds)
    pulumi.token({"comment": "c", "lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 7 * DAY})
    pulumi.init()
    pulumi.up(env=ada)
    first = pulumi.resource()["id"]
    for _ in range(2):
        assert pulumi.up("--expect-no-changes", env=ada).changes == {"same": 1}
    workspace.advance(84 * DAY)
    assert pulumi.preview(env=ada).changes == {"create-replacement": 1, "replace": 1, "delete-replaced": 1}
    pulumi.up(env=ada)
    assert pulumi.resource()["id"] != first
    assert pulumi.up("--expect-no-changes", env=ada).changes == {"same": 1}
    workspace.advance(91 * DAY)
    assert "create-replacement" in pulumi.preview(env=ada).changes, "one that has expired is not kept"


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_lost_create_is_found_by_the_clock_of_the_workspace(pulumi, workspace, ada, seconds):
    workspace.advance(seconds)
    older = workspace.call("POST", "/api/2.0/token/create", {"comment": "lost"}, token=ada["DATABRICKS_TOKEN"])[1]
    workspace.advance(60)
    workspace.fault("/token/create", {"drop": "after"})
    pulumi.token({"comment": "lost"})
    pulumi.init()
    result = pulumi.up(env=ada, ok=False)
    older = older["token_info"]["token_id"]
    (orphan,) = [it["id"] for it in workspace.tokens() if it["comment"] == "lost" and it["id"] != older]
    assert said(result, f"token id {orphan}") == "error"
    assert older not in result.text, "it was there before the request"


def test_work_that_is_done_after_the_client_has_gone(pulumi, workspace, ada):
    """The search is over before the token appears: the error says what to look for."""
    workspace.fault("/token/create", {"delay_ms": 3000, "detached": True})
    pulumi.token({"comment": "late"})
    pulumi.init()
    pulumi.run("config", "set", "databricks:httpTimeoutSeconds", "1")
    result = pulumi.up(env=ada, ok=False)
    assert said(result, 'with the comment "late" created after', "shows up later") == "error"


@pytest.mark.parametrize(
    "wrong",
    [
        {"DATABRICKS_TOKEN": "dapiwrong"},
        {"DATABRICKS_TOKEN": "", "DATABRICKS_CLIENT_ID": "x", "DATABRICKS_CLIENT_SECRET": "y"},
    ],
    ids=["token", "client"],
)
def test_a_preview_says_that_nobody_can_sign_in(pulumi, wrong):
    pulumi.token({"comment": "c"})
    pulumi.init()
    result = pulumi.preview(env=wrong, ok=False)
    assert said(result, "cannot create token") == "error"


def test_long_and_foreign_comments(pulumi, workspace, ada):
    comment = "schöner 🔑 " * 20 + "\u200d end"
    pulumi.token({"comment": comment})
    pulumi.init()
    pulumi.up(env=ada)
    pulumi.refresh("--expect-no-changes", env=ada)
    workspace.fault("/token/create", {"drop": "after"})
    pulumi.token({"comment": comment + "!"})
    result = pulumi.up(env=ada, ok=False)
    (orphan,) = [token["id"] for token in workspace.tokens() if token["comment"] == comment + "!"]
    assert said(result, orphan) == "error"


def test_the_page_has_these_tests():
    tests = [name.removeprefix("test_").replace("_", " ") for name in globals() if name.startswith("test_")]
    tests.remove("the page has these tests")
    assert sorted(rows(ROOT / "docs/reliability-and-security.md", "### Gone is proved")) == sorted(tests)
