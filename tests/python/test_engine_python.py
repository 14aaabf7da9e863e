"""Python programs with this repository's SDK on the real engine, as inline programs of the Automation API."""

import importlib.metadata
import json
import pathlib
import runpy

import pulumi as sdk
import pulumi_databricks as databricks
import pytest
from conftest import ROOT, TOKEN_TYPE, fingerprint
from pulumi import automation

USERS_PROGRAM = ROOT / "tests" / "programs" / "users_program.py"


def diagnostics(program):
    return [event.diagnostic_event.message for event in program.events if event.diagnostic_event]


def steps(program):
    """(operation, what changed) of every step of a token."""
    found = []
    for event in program.events:
        if event.resource_pre_event and event.resource_pre_event.metadata.type == TOKEN_TYPE:
            step = event.resource_pre_event.metadata
            changes = {path: diff.diff_kind.value for path, diff in (step.detailed_diff or {}).items()}
            found.append((step.op.value, changes))
    return found


def test_the_sdk_under_test_is_the_one_of_this_repository():
    installed = pathlib.Path(databricks.__file__).parent
    source = ROOT / "sdk" / "python" / "pulumi_databricks"
    assert installed != source, "it is to be an installed package"
    for name in ("token.py", "provider.py", "_inputs.py", "outputs.py"):
        assert installed.joinpath(name).read_text(encoding="utf-8") == source.joinpath(name).read_text(encoding="utf-8")
    plugin = json.loads(installed.joinpath("pulumi-plugin.json").read_text(encoding="utf-8"))
    assert plugin["version"] == importlib.metadata.version("pulumi_databricks")


def test_the_users_program_runs_unchanged(python_program, pulumi, workspace):
    program = python_program(lambda: runpy.run_path(str(USERS_PROGRAM), run_name="__main__"))
    assert program.preview().change_summary == {"create": 2}
    assert workspace.requests("/token/") == []

    up = program.up()
    assert up.summary.resource_changes == {"create": 2}
    token_id, token_value = up.outputs["token_id"], up.outputs["token_value"]
    assert (token_id.secret, token_value.secret) == (False, True)
    assert workspace.live() == [token_id.value] == [fingerprint(token_value.value)]
    assert workspace.tokens()[0]["comment"] == "Token for accessing Databricks REST API"
    assert workspace.accepts(token_value.value)

    assert program.unchanged().summary.resource_changes == {"same": 2}
    assert program.refresh(expect_no_changes=True).summary.resource_changes == {"same": 2}
    assert program.preview(expect_no_changes=True).change_summary == {"same": 2}
    assert "ciphertext" in pulumi.resource()["outputs"]["tokenValue"]

    assert program.destroy().summary.resource_changes == {"delete": 2}
    assert workspace.live() == []
    assert not workspace.accepts(token_value.value)
    assert workspace.operations() == ["create", "delete"]


def test_every_input_and_every_output(python_program, workspace):
    def everything():
        token = databricks.Token(
            "t",
            comment=sdk.Output.secret("hidden comment"),
            lifetime_seconds=40 * 24 * 3600,
            scopes=["sql", "clusters"],
            rotate_before_seconds=24 * 3600,
            rotate_when_changed={"quarter": "4"},
            provider_config={"workspace_id": workspace.workspace_id},
        )
        for name in (
            "comment",
            "lifetime_seconds",
            "scopes",
            "rotate_before_seconds",
            "rotate_when_changed",
            "creation_time",
            "expiry_time",
            "token_id",
            "autoscope_state",
        ):
            sdk.export(name, getattr(token, name))
        sdk.export("workspace_id", token.provider_config.workspace_id)
        sdk.export("value", token.token_value)

    program = python_program(everything)
    outputs = program.up().outputs
    seen = {name: output.value for name, output in outputs.items()}
    (token,) = workspace.tokens()
    assert seen["comment"] == "hidden comment"
    assert (seen["lifetime_seconds"], seen["rotate_before_seconds"]) == (40 * 24 * 3600, 24 * 3600)
    assert seen["scopes"] == ["sql", "clusters"] == token["scopes"]
    assert seen["rotate_when_changed"] == {"quarter": "4"}
    assert (seen["creation_time"], seen["expiry_time"]) == (token["creation_time"], token["expiry_time"])
    assert seen["token_id"] == token["id"]
    assert seen["workspace_id"] == workspace.workspace_id
    assert seen["autoscope_state"] == "AUTOSCOPE_STATE_USER_SELECTED"
    # What the program marks as secret stays so, and the value is secret without that.
    assert {name for name, output in outputs.items() if output.secret} == {"comment", "value"}
    assert "hidden comment" not in "".join(program.output)
    program.unchanged()
    program.refresh(expect_no_changes=True)


def test_a_preview_knows_what_it_cannot_know(python_program, workspace):
    """Values that the workspace will give are unknown in a preview: an apply on them does not run."""
    known = []

    def token():
        first = databricks.Token("first", comment="first")
        first.comment.apply(lambda comment: known.append(("comment", comment)))
        for name in ("id", "token_id", "token_value", "creation_time", "expiry_time", "provider_config"):
            getattr(first, name).apply(lambda _, name=name: known.append((name, "")))
        databricks.Token("second", comment=sdk.Output.concat("after ", first.token_id))

    program = python_program(token)
    assert program.preview().change_summary == {"create": 3}
    assert known == [("comment", "first")]
    program.up()
    # Automation previews before it updates; in the update all of them ran.
    assert {name for name, _ in known} >= {"id", "token_id", "token_value", "creation_time", "provider_config"}
    first, second = workspace.tokens()
    assert second["comment"] == f"after {first['id']}"
    program.unchanged()


def test_a_changed_comment_rotates_without_a_gap(python_program, workspace):
    program = python_program(lambda: sdk.export("value", databricks.Token("t", comment="2026-Q3").token_value))
    old = program.up().outputs["value"].value
    program.program(lambda: sdk.export("value", databricks.Token("t", comment="2026-Q4").token_value))
    program.preview()
    assert ("replace", {"comment": "update-replace"}) in steps(program)
    up = program.up()
    assert up.summary.resource_changes == {"replace": 1, "same": 1}
    new = up.outputs["value"].value
    assert workspace.operations() == ["create", "create", "delete"]
    assert (workspace.accepts(old), workspace.accepts(new)) == (False, True)
    program.unchanged()


def test_a_change_in_place_keeps_the_value(python_program, workspace):
    def program_with(comment, scopes):
        def program():
            token = databricks.Token("t", comment=comment, scopes=scopes, rotate_when_changed={"year": "2026"})
            sdk.export("value", token.token_value)

        return program

    program = python_program(program_with("typpo", ["sql"]))
    before = program.up().outputs["value"].value
    program.program(program_with("typo", ["sql", "jobs"]))
    up = program.up()
    assert up.summary.resource_changes == {"update": 1, "same": 1}
    assert up.outputs["value"].value == before
    assert workspace.operations() == ["create", "update"]
    (token,) = workspace.tokens()
    assert (token["comment"], token["scopes"]) == ("typo", ["sql", "jobs"])
    program.unchanged()


def test_an_expired_token_is_replaced_by_a_plain_up(python_program, workspace):
    workspace.advance(-7200)
    program = python_program(lambda: sdk.export("id", databricks.Token("t", lifetime_seconds=3600).id))
    old = program.up().outputs["id"].value
    workspace.advance(7200)
    program.preview()
    assert ("replace", {"expiryTime": "update-replace"}) in steps(program)
    assert any("the token expired on " in message for message in diagnostics(program))
    up = program.up()
    assert up.outputs["id"].value != old
    assert workspace.live() == [up.outputs["id"].value]
    program.unchanged()


def test_a_token_that_was_revoked_behind_our_back(python_program, workspace):
    program = python_program(lambda: sdk.export("id", databricks.Token("t", comment="c").id))
    old = program.up().outputs["id"].value
    workspace.revoke_later(old)
    program.refresh()
    up = program.up()
    assert up.summary.resource_changes == {"create": 1, "same": 1}
    assert workspace.live() == [up.outputs["id"].value]


def test_get_reads_and_never_revokes(python_program, workspace):
    token_id, _ = workspace.mint(comment="not ours", lifetime_seconds=600)

    def program():
        token = databricks.Token.get("t", token_id)
        for name in ("comment", "token_id", "expiry_time", "token_value"):
            sdk.export(name, getattr(token, name))

    stack = python_program(program)
    outputs = stack.up().outputs
    (token,) = workspace.tokens()
    assert outputs["comment"].value == "not ours"
    assert outputs["token_id"].value == token_id
    assert outputs["expiry_time"].value == token["expiry_time"]
    assert (outputs["token_value"].value, outputs["token_value"].secret) == ("", True)
    stack.unchanged()
    stack.destroy()
    assert workspace.live() == [token_id]


def test_the_import_option_adopts_a_token(python_program, workspace):
    token_id, value = workspace.mint(comment="there before", lifetime_seconds=3600)

    def program(adopt):
        options = sdk.ResourceOptions(import_=token_id) if adopt else None
        return lambda: databricks.Token("t", comment="there before", lifetime_seconds=3600, opts=options)

    stack = python_program(program(adopt=True))
    assert stack.up().summary.resource_changes == {"create": 1, "import": 1}
    assert any("only when it is created" in message for message in diagnostics(stack))
    # Without the option it stays what it is.
    stack.program(program(adopt=False))
    stack.unchanged()
    stack.refresh(expect_no_changes=True)
    assert workspace.accepts(value)
    stack.destroy()
    assert workspace.live() == []
    assert workspace.operations() == ["create", "delete"]


def test_an_explicit_provider(python_program, pulumi, workspace, monkeypatch):
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(name)

    def program():
        provider = databricks.Provider(
            "there", host=workspace.host, token=workspace.token, http_timeout_seconds=30, skip_verify=False
        )
        databricks.Token("t", comment="c", opts=sdk.ResourceOptions(provider=provider))

    stack = python_program(program)
    stack.up()
    assert len(workspace.live()) == 1
    stack.unchanged()
    # The token of the provider is a secret of the state, although the program gives it in the clear.
    (provider,) = [it for it in pulumi.export()["deployment"]["resources"] if it["type"] == "pulumi:providers:databricks"]
    assert "ciphertext" in provider["inputs"]["token"]
    stack.refresh(expect_no_changes=True)
    stack.destroy()
    assert workspace.live() == []


def test_a_wrong_program_fails_with_a_reason(python_program, workspace):
    program = python_program(lambda: databricks.Token("t", lifetime_seconds=-5))
    with pytest.raises(automation.CommandError) as caught:
        program.up()
    assert "must be a positive number of seconds" in str(caught.value)
    assert workspace.operations() == []


def test_many_tokens(python_program, workspace):
    def program(count):
        return lambda: [databricks.Token(f"t{number}", comment=str(number)) for number in range(count)]

    stack = python_program(program(25))
    stack.up()
    assert len(workspace.live()) == 25
    workspace.forget_requests()
    # A list takes half a second: whoever reads meanwhile waits for it.
    workspace.fault("/token/list", {"delay_ms": 500, "work": True}, times=0)
    stack.refresh(expect_no_changes=True, parallel=25)
    assert 1 <= len(workspace.requests("/token/list")) <= 4
    stack.program(program(0))
    stack.up()
    assert workspace.live() == []
