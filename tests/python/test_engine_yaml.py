"""The life of tokens on the real engine, with programs in YAML."""

import os
import re
import signal
import subprocess
import time

import pytest
from conftest import (
    SECRET_SIGNATURE,
    SIGNATURE,
    TOKEN_TYPE,
    TOKEN_VALUE,
    UNKNOWN,
    LocalWorkspace,
    engine_bin_dir,
    fingerprint,
    plugin_bin,
    wait_for,
)

HOUR = 3600


def said(result, text):
    """Whether the engine told the user so."""
    return any(text in message for _, message in result.diagnostics)


def started(pulumi, properties, options=None):
    """Starts a stack with one token, and returns its outputs."""
    pulumi.token(properties, options)
    pulumi.init()
    assert pulumi.up().changes == {"create": 1}
    return pulumi.outputs()


def replaced(result):
    """Whether the one token was replaced, the new one created before the old one was deleted."""
    return result.changes == {"create-replacement": 1, "replace": 1, "delete-replaced": 1}


def detailed(result, op):
    """What changed, such as {"comment": "update-replace"}."""
    return {path: change["diffKind"] for path, change in result.step(op)["detailedDiff"].items()}


# --- Create, destroy ---


def test_the_whole_life(pulumi, workspace):
    pulumi.token({"comment": "c", "lifetimeSeconds": 8_640_000})
    pulumi.init()

    preview = pulumi.preview()
    assert preview.changes == {"create": 1}
    planned = preview.planned()
    assert (planned["comment"], planned["lifetimeSeconds"]) == ("c", 8_640_000)
    for name in ("tokenId", "creationTime", "expiryTime", "providerConfig"):
        assert planned[name] == UNKNOWN, name
    assert planned["tokenValue"][SIGNATURE] == SECRET_SIGNATURE
    assert workspace.requests("/token/") == []

    assert pulumi.up().changes == {"create": 1}
    outputs = pulumi.outputs()
    assert workspace.live() == [outputs["id"]] == [fingerprint(outputs["value"])]
    assert workspace.accepts(outputs["value"])
    assert pulumi.preview("--expect-no-changes").changes == {"same": 1}
    pulumi.unchanged()
    assert pulumi.refresh("--expect-no-changes").changes == {"refresh": 1}
    assert pulumi.outputs() == outputs

    assert pulumi.destroy().changes == {"delete": 1}
    assert workspace.live() == []
    assert not workspace.accepts(outputs["value"])
    assert workspace.operations() == ["create", "delete"]


def test_the_state_holds_the_value_only_encrypted(pulumi):
    value = started(pulumi, {"comment": "c"})["value"]
    # The search for leaks after every test relies on values that look like this.
    assert TOKEN_VALUE.fullmatch(value)
    encrypted = pulumi.resource()["outputs"]["tokenValue"]
    assert encrypted[SIGNATURE] == SECRET_SIGNATURE
    assert set(encrypted) == {SIGNATURE, "ciphertext"}
    files = [path for path in pulumi.state_dir.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    assert not any(value in path.read_text(encoding="utf-8") for path in files)


def test_nothing_of_the_environment_enters_the_state(pulumi, workspace):
    started(pulumi, {})
    assert workspace.host not in pulumi.results[-1].stdout
    exported = pulumi.export(show_secrets=True)
    assert workspace.host not in str(exported)
    assert workspace.token not in str(exported)


def test_the_most_verbose_logs_hold_no_value(pulumi, workspace):
    pulumi.token({"comment": "c"})
    pulumi.init()
    verbose = ("--debug", "-v=9", "--logtostderr", "--logflow")
    result = pulumi.up(*verbose, "--diff")
    # The plugin's own log is part of the output.
    assert "token/create" in result.text
    pulumi.token({"comment": "d"})
    pulumi.up(*verbose)
    pulumi.refresh(*verbose)
    pulumi.destroy(*verbose)
    assert workspace.operations() == ["create", "create", "delete", "delete"]
    assert not pulumi.leaks()


def test_configuration_of_the_stack_and_of_an_explicit_provider(pulumi, workspace):
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        del pulumi.env[name]
    provider = {
        "type": "pulumi:providers:databricks",
        "properties": {"host": workspace.host, "token": "${token}", "httpTimeoutSeconds": 30},
    }
    explicit = {
        "type": "databricks:Token",
        "properties": {"comment": "explicit"},
        "options": {"provider": "${provider}"},
    }
    default = {"type": "databricks:Token", "properties": {"comment": "default"}}
    pulumi.write(
        {"provider": provider, "explicit": explicit, "default": default},
        config={"token": {"type": "string", "secret": True}},
    )
    pulumi.init()
    pulumi.run("config", "set", "--stack", "test", "databricks:host", workspace.host)
    for name in ("databricks:token", "token"):
        pulumi.run("config", "set", "--stack", "test", "--secret", name, workspace.token)
    assert pulumi.up().changes == {"create": 2}
    assert sorted(token["comment"] for token in workspace.tokens()) == ["default", "explicit"]
    pulumi.unchanged()
    # A refresh and a destroy get the configuration that the state has.
    pulumi.refresh("--expect-no-changes")
    pulumi.destroy()
    assert workspace.live() == []


# --- Changes ---


def test_a_changed_comment_replaces_and_the_new_token_comes_first(pulumi, workspace):
    old = started(pulumi, {"comment": "old"})
    pulumi.token({"comment": "new"})
    preview = pulumi.preview()
    assert replaced(preview)
    assert detailed(preview, "replace") == {"comment": "update-replace"}
    assert workspace.operations() == ["create"]

    assert replaced(pulumi.up())
    assert workspace.operations() == ["create", "create", "delete"]
    new = pulumi.outputs()
    assert new["id"] != old["id"]
    assert workspace.live() == [new["id"]]
    assert (workspace.accepts(old["value"]), workspace.accepts(new["value"])) == (False, True)
    pulumi.unchanged()


def test_delete_before_replace_is_the_users_to_ask_for(pulumi, workspace):
    started(pulumi, {"comment": "old"}, {"deleteBeforeReplace": True})
    pulumi.token({"comment": "new"}, {"deleteBeforeReplace": True})
    pulumi.up()
    assert workspace.operations() == ["create", "delete", "create"]


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"lifetimeSeconds": 600}, {"lifetimeSeconds": 700}, {"lifetimeSeconds": "update-replace"}),
        ({}, {"lifetimeSeconds": 700}, {"lifetimeSeconds": "add-replace"}),
        ({"comment": "c"}, {}, {"comment": "delete-replace"}),
        ({"autoscopeEnabled": True}, {"autoscopeEnabled": False}, {"autoscopeEnabled": "update-replace"}),
        (
            {"rotateWhenChanged": {"quarter": "1"}},
            {"rotateWhenChanged": {"quarter": "2"}},
            {"rotateWhenChanged": "update-replace"},
        ),
    ],
    ids=["lifetime changed", "lifetime added", "comment removed", "autoscope", "rotateWhenChanged"],
)
def test_other_changes_that_replace(pulumi, workspace, before, after, changed):
    started(pulumi, before)
    pulumi.token(after)
    result = pulumi.up()
    assert replaced(result), str(result)
    assert detailed(result, "replace") == changed
    assert workspace.operations() == ["create", "create", "delete"]
    pulumi.unchanged()


def test_stating_rotation_replaces_nothing(pulumi, workspace):
    started(pulumi, {"comment": "c", "lifetimeSeconds": HOUR})
    for properties in (
        {"rotateWhenChanged": {"a": "1"}},
        {"rotateWhenChanged": {"a": "1"}, "rotateBeforeSeconds": 60},
        {"rotateBeforeSeconds": 120},
        {},
    ):
        pulumi.token({"comment": "c", "lifetimeSeconds": HOUR} | properties)
        result = pulumi.up()
        assert set(result.changes) <= {"same", "update"}, str(result)
        pulumi.unchanged()
    assert workspace.operations() == ["create"]


def test_the_comment_changes_in_place_where_rotation_is_stated(pulumi, workspace):
    rotation = {"rotateWhenChanged": {"quarter": "1"}}
    before = started(pulumi, {"comment": "typpo"} | rotation)
    pulumi.token({"comment": "typo"} | rotation)
    preview = pulumi.preview()
    assert detailed(preview, "update") == {"comment": "update"}
    assert pulumi.up().changes == {"update": 1}
    assert workspace.operations() == ["create", "update"]
    assert workspace.tokens()[0]["comment"] == "typo"
    assert pulumi.outputs() == before
    pulumi.unchanged()


def test_scopes_change_in_place(pulumi, workspace):
    before = started(pulumi, {"comment": "c", "scopes": ["sql"]})
    pulumi.token({"comment": "c", "scopes": ["sql", "clusters"]})
    assert set(pulumi.preview().changes) == {"update"}
    assert pulumi.up().changes == {"update": 1}
    assert workspace.operations() == ["create", "update"]
    assert workspace.tokens()[0]["scopes"] == ["sql", "clusters"]
    assert pulumi.outputs() == before
    pulumi.unchanged()
    pulumi.refresh("--expect-no-changes")


def test_ignored_changes_are_none(pulumi, workspace):
    started(pulumi, {"comment": "old"}, {"ignoreChanges": ["comment"]})
    pulumi.token({"comment": "new"}, {"ignoreChanges": ["comment"]})
    pulumi.unchanged()
    assert workspace.operations() == ["create"]


def test_a_value_that_another_token_will_give(pulumi, workspace):
    def program(comment):
        first = {"type": "databricks:Token", "properties": {"comment": comment}}
        second = {"type": "databricks:Token", "properties": {"comment": "after ${first.id}"}}
        pulumi.write({"first": first, "second": second})

    program("one")
    pulumi.init()
    assert pulumi.preview().changes == {"create": 2}
    pulumi.up()
    first, second = workspace.tokens()
    assert second["comment"] == f"after {first['id']}"
    pulumi.unchanged()
    program("two")
    assert pulumi.preview().changes == {"create-replacement": 2, "replace": 2, "delete-replaced": 2}
    pulumi.up()
    assert len(workspace.live()) == 2
    assert workspace.operations()[2:] == ["create", "create", "delete", "delete"]
    pulumi.unchanged()


# --- Time, and what others do ---


def test_a_token_that_was_revoked_behind_our_back(pulumi, workspace):
    old = started(pulumi, {"comment": "c"})
    workspace.revoke_later(old["id"])
    # The engine compares with the state alone, unless it is asked to refresh.
    pulumi.unchanged()
    assert pulumi.refresh().changes == {"refresh": 1}
    assert pulumi.resource() is None
    assert pulumi.up().changes == {"create": 1}
    new = pulumi.outputs()
    assert workspace.live() == [new["id"]]
    pulumi.unchanged()


def test_refresh_as_part_of_up_replaces_a_revoked_token(pulumi, workspace):
    old = started(pulumi, {"comment": "c"})
    workspace.revoke_later(old["id"])
    pulumi.up("--refresh")
    new = pulumi.outputs()
    assert workspace.live() == [new["id"]] != [old["id"]]


def test_destroying_a_token_that_is_gone_succeeds(pulumi, workspace):
    workspace.revoke_later(started(pulumi, {"comment": "c"})["id"])
    assert pulumi.destroy().changes == {"delete": 1}


def test_a_refresh_that_the_workspace_refuses_forgets_nothing(pulumi, workspace):
    started(pulumi, {"comment": "c"})
    workspace.fault("/token/list", {"status": 403, "error_code": "PERMISSION_DENIED", "message": "not today"}, times=0)
    assert "not today" in pulumi.refresh(ok=False).text
    assert pulumi.resource()["id"] == workspace.live()[0]


def test_a_plain_up_replaces_an_expired_token(pulumi, workspace):
    workspace.advance(-2 * HOUR)
    old = started(pulumi, {"comment": "c", "lifetimeSeconds": HOUR})
    workspace.advance(2 * HOUR)
    assert not workspace.accepts(old["value"])
    preview = pulumi.preview()
    assert replaced(preview), str(preview)
    assert detailed(preview, "replace") == {"expiryTime": "update-replace"}
    assert said(preview, "the token expired on ")
    assert replaced(pulumi.up())
    new = pulumi.outputs()
    assert workspace.live() == [new["id"]]
    assert workspace.accepts(new["value"])
    pulumi.unchanged()


def test_a_lifetime_of_seconds_ends_on_a_real_clock(pulumi, workspace):
    old = started(pulumi, {"comment": "c", "lifetimeSeconds": 3})
    expiry = workspace.tokens()[0]["expiry_time"] / 1000
    time.sleep(max(0.0, expiry - time.time()) + 0.1)
    pulumi.refresh()
    assert pulumi.resource() is None
    pulumi.up()
    assert pulumi.outputs()["id"] != old["id"]


def test_a_token_in_its_rotation_window_is_replaced_by_a_plain_up(pulumi, workspace):
    # Created 50 minutes ago, it has 10 left.
    properties = {"comment": "c", "lifetimeSeconds": HOUR, "rotateBeforeSeconds": 5 * 60}
    workspace.advance(-50 * 60)
    old = started(pulumi, properties)
    workspace.advance(50 * 60)
    pulumi.unchanged()

    properties["rotateBeforeSeconds"] = 15 * 60
    pulumi.token(properties)
    preview = pulumi.preview()
    assert detailed(preview, "replace") == {"expiryTime": "update-replace"}
    assert said(preview, "in less than rotateBeforeSeconds (15 minutes)")
    assert replaced(pulumi.up())
    assert workspace.operations() == ["create", "create", "delete"]
    assert workspace.live() == [pulumi.outputs()["id"]] != [old["id"]]
    pulumi.unchanged()


def test_a_refresh_rotates_nothing_and_says_so(pulumi, workspace):
    properties = {"comment": "c", "lifetimeSeconds": HOUR, "rotateBeforeSeconds": 15 * 60}
    workspace.advance(-50 * 60)
    old = started(pulumi, properties)
    workspace.advance(50 * 60)
    refresh = pulumi.refresh("--expect-no-changes")
    assert not said(refresh, "rotateBeforeSeconds")
    assert pulumi.outputs() == old
    # An update that follows in the same process does rotate, and says so.
    up = pulumi.up("--refresh")
    assert said(up, "in less than rotateBeforeSeconds (15 minutes)")
    assert workspace.operations() == ["create", "create", "delete"]


def test_rotation_can_be_ignored(pulumi, workspace):
    properties = {"comment": "c", "lifetimeSeconds": HOUR, "rotateBeforeSeconds": 15 * 60}
    workspace.advance(-50 * 60)
    started(pulumi, properties, {"ignoreChanges": ["expiryTime"]})
    workspace.advance(50 * 60)
    result = pulumi.up("--expect-no-changes")
    assert not said(result, "rotateBeforeSeconds")
    assert workspace.operations() == ["create"]


def test_an_update_of_a_token_that_is_gone_says_what_to_do(pulumi, workspace):
    rotation = {"rotateWhenChanged": {"quarter": "1"}}
    pulumi.env["PULUMI_DATABRICKS_REFRESH_BEFORE_UPDATE"] = "off"
    token_id = started(pulumi, {"comment": "c"} | rotation)["id"]
    workspace.revoke_later(token_id)
    pulumi.token({"comment": "d"} | rotation)
    text = pulumi.up(ok=False).text
    assert f"the token {token_id} no longer exists" in text and "Run `pulumi refresh`" in text


def test_another_workspace_gets_a_token_of_its_own(pulumi, workspace):
    old = started(pulumi, {"comment": "c"})
    other = LocalWorkspace("--workspace-id", "777")
    try:
        pulumi.env |= {"DATABRICKS_HOST": other.host, "DATABRICKS_TOKEN": other.token}
        why = f"the token belongs to workspace {workspace.workspace_id}, which the provider no longer uses"
        preview = pulumi.preview()
        assert replaced(preview)
        assert said(preview, why)
        # The old one is out of reach, which is no reason to forget it.
        text = pulumi.up(ok=False).text
        assert f"The token {old['id']} belongs to workspace {workspace.workspace_id}" in text
        assert "pulumi state delete" in text
        assert other.live() == [pulumi.outputs()["id"]]
        assert workspace.live() == [old["id"]]
    finally:
        other.stop()


def test_a_comment_that_somebody_changed(pulumi, workspace):
    rotation = {"rotateBeforeSeconds": 60}
    pulumi.env["PULUMI_DATABRICKS_REFRESH_BEFORE_UPDATE"] = "off"
    token_id = started(pulumi, {"comment": "ours"} | rotation)["id"]
    body = {"token": {"token_id": token_id, "comment": "theirs"}, "update_mask": "comment"}
    assert workspace.call("PATCH", f"/api/2.0/token/{token_id}", body, token=workspace.token)[0] == 200
    pulumi.unchanged()
    pulumi.refresh()
    assert pulumi.resource()["inputs"]["comment"] == "theirs"
    assert pulumi.up().changes == {"update": 1}
    assert workspace.tokens()[0]["comment"] == "ours"
    pulumi.refresh("--expect-no-changes")


# --- Import, get ---


def test_import_and_the_generated_program(pulumi, workspace):
    token_id, _ = workspace.mint(comment="there before", lifetime_seconds=HOUR, scopes=["sql", "clusters"])
    pulumi.write()
    pulumi.init()
    generated = pulumi.project_dir / "generated.yaml"
    result = pulumi.run("import", "--stack", "test", "--yes", TOKEN_TYPE, "t", token_id, "--out", generated)
    assert "only when it is created" in result.text
    state = pulumi.resource(show_secrets=True)
    assert state["protect"]
    assert state["id"] == token_id
    assert state["outputs"]["tokenValue"] == {SIGNATURE: SECRET_SIGNATURE, "plaintext": '""'}

    program = generated.read_text(encoding="utf-8")
    project = pulumi.project_dir / "Pulumi.yaml"
    project.write_text(project.read_text(encoding="utf-8") + program, encoding="utf-8")
    assert "there before" in program
    pulumi.unchanged()
    # The lifetime that it really has is no change either.
    project.write_text(
        project.read_text(encoding="utf-8").replace("comment: there", f"lifetimeSeconds: {HOUR}\n      comment: there"),
        encoding="utf-8",
    )
    assert "lifetimeSeconds" in project.read_text(encoding="utf-8")
    assert pulumi.preview().changes == {"same": 1}
    pulumi.refresh("--expect-no-changes")
    assert workspace.operations() == ["create"]


def test_import_of_what_is_not_there(pulumi):
    pulumi.write()
    pulumi.init()
    result = pulumi.run("import", "--stack", "test", "--yes", TOKEN_TYPE, "t", "no-such-token", ok=False)
    assert "does not exist" in result.text


def test_a_token_of_somebody_else_is_read_and_left_alone(pulumi, workspace):
    token_id, _ = workspace.mint(comment="not ours")
    pulumi.write({"t": {"type": "databricks:Token", "get": {"id": token_id}}}, {"comment": "${t.comment}", "id": "${t.tokenId}"})
    pulumi.init()
    pulumi.up()
    assert pulumi.outputs() == {"comment": "not ours", "id": token_id}
    pulumi.up("--expect-no-changes")
    pulumi.refresh()
    pulumi.destroy()
    assert workspace.live() == [token_id]
    assert workspace.operations() == ["create"]


# --- Failures half-way ---


def test_up_finishes_what_a_create_left_incomplete(pulumi, workspace):
    # The answer lacks the times, and the list that has them is refused once.
    token_id, value = workspace.mint(comment="c")
    reply = {"token_value": value, "token_info": {"token_id": token_id, "comment": "c"}}
    workspace.fault("/token/create", {"status": 200, "body": reply})
    workspace.fault("/token/list", {"status": 403, "error_code": "PERMISSION_DENIED", "message": "not yet"})
    pulumi.token({"comment": "c"})
    pulumi.init()
    failed = pulumi.up(ok=False)
    assert "the expiry of the new token could not be read" in failed.text
    half = pulumi.resource(show_secrets=True)
    assert half["id"] == token_id
    assert len(half["initErrors"]) == 1
    assert half["outputs"]["tokenValue"]["plaintext"] == f'"{value}"'

    assert pulumi.up().changes == {"update": 1}
    whole = pulumi.resource(show_secrets=True)
    assert "initErrors" not in whole
    assert whole["id"] == token_id
    assert whole["outputs"]["creationTime"] == workspace.tokens()[0]["creation_time"]
    assert whole["outputs"]["tokenValue"] == half["outputs"]["tokenValue"]
    pulumi.unchanged()
    assert workspace.live() == [token_id]


def test_a_create_whose_answer_is_lost_names_the_token(pulumi, workspace):
    workspace.fault("/token/create", {"drop": "after"})
    pulumi.token({"comment": "lost"})
    pulumi.init()
    result = pulumi.up(ok=False)
    (orphan,) = workspace.live()
    assert orphan in result.text
    assert workspace.operations() == ["create"]
    assert pulumi.resource() is None
    assert pulumi.up().changes == {"create": 1}


def test_throttling_is_waited_out(pulumi, workspace):
    workspace.fault("/token/create", {"status": 429, "retry_after": "1"})
    started(pulumi, {"comment": "c"})
    assert workspace.operations() == ["create", "create"]
    assert len(workspace.live()) == 1


def processes(*columns):
    """Rows of numbers or words about every process that has not ended."""
    listing = subprocess.run(
        ["ps", "-A", "-o", ",".join(f"{name}=" for name in ("stat", *columns))], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, len(columns)) for line in listing.stdout.splitlines()]
    return [row[1:] for row in rows if not row[0].startswith("Z")]


def test_an_engine_that_is_killed_leaves_neither_process_nor_token(pulumi, workspace):
    workspace.fault("/token/create", {"delay_ms": 1500})
    pulumi.token({})
    pulumi.init()
    engine = subprocess.Popen(
        [engine_bin_dir() / "pulumi", "up", "--yes", "--skip-preview", "--stack", "test", "--non-interactive"],
        env=pulumi.env,
        cwd=pulumi.project_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: workspace.requests("/token/create"), seconds=20, what="the create")
        children = [
            pid for pid, parent, command in processes("pid", "ppid", "command")
            if parent == str(engine.pid) and plugin_bin().name in command
        ]
        assert children
    finally:
        os.killpg(engine.pid, signal.SIGKILL)
        engine.wait(timeout=10)
    wait_for(lambda: workspace.operations() == ["create", "delete"], what="the new token's end")
    assert workspace.live() == []
    wait_for(lambda: not set(children) & {pid for (pid,) in processes("pid")}, what="the plugin's end")


# --- Options of the engine ---


def test_a_protected_token_is_not_destroyed(pulumi, workspace):
    started(pulumi, {"comment": "c"}, {"protect": True})
    pulumi.destroy(ok=False)
    assert len(workspace.live()) == 1


def test_a_retained_token_outlives_its_stack(pulumi, workspace):
    outputs = started(pulumi, {"comment": "c"}, {"retainOnDelete": True})
    pulumi.destroy()
    assert pulumi.resource() is None
    assert workspace.accepts(outputs["value"])


def test_replace_on_demand(pulumi, workspace):
    old = started(pulumi, {"comment": "c"})
    urn = pulumi.resource()["urn"]
    assert replaced(pulumi.up("--replace", urn))
    assert workspace.operations() == ["create", "create", "delete"]
    assert pulumi.outputs()["id"] != old["id"]


def test_an_attached_plugin_serves_one_command_after_another(pulumi, workspace, plugin):
    process = plugin(env={name: pulumi.env[name] for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN")})
    pulumi.env["PULUMI_DEBUG_PROVIDERS"] = f"databricks:{process.port}"
    started(pulumi, {"comment": "old"})
    pulumi.token({"comment": "new"})
    pulumi.preview()
    pulumi.up()
    pulumi.refresh("--expect-no-changes")
    pulumi.unchanged()
    pulumi.destroy()
    assert workspace.operations() == ["create", "create", "delete", "delete"]
    assert process.process.poll() is None
    assert not re.search(TOKEN_VALUE, process.stderr)


def test_the_time_of_a_resource_is_not_that_of_the_search_for_what_is_lost(pulumi, workspace):
    """The resource's time is up when the answer is lost. What the request may have created is named all the same."""
    workspace.fault("/token/create", {"drop": "after", "delay_ms": 4000})
    pulumi.token({"comment": "lost"}, {"customTimeouts": {"create": "3s"}})
    pulumi.init()
    result = pulumi.up(ok=False)
    (orphan,) = [token["id"] for token in workspace.tokens() if token["comment"] == "lost"]
    assert f"token id {orphan}" in result.text, str(result)
