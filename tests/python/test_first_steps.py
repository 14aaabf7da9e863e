"""What people who are new to the provider meet, on the real engine: mistakes that are easy to make, and advice that
must work as it stands."""

import re
import shlex

from conftest import TOKEN_TYPE, TOKEN_VALUE, plugin_bin
from test_errors import assert_says, failed_up

DAY = 86400


def warnings(result):
    return [message for severity, message in result.diagnostics if severity == "warning"]


# --- Signing in ---


def test_https_to_a_port_that_does_not_speak_tls(pulumi, workspace):
    text = failed_up(pulumi, env={"DATABRICKS_HOST": workspace.host.replace("http:", "https:")})
    assert_says(text, "the port does not speak TLS", "databricks:host")
    # Asking again would not help.
    assert "attempts" not in text


def test_scopes_that_are_too_narrow(pulumi, workspace):
    pulumi.token({})
    pulumi.init()
    del pulumi.env["DATABRICKS_TOKEN"]
    client = {name: workspace.variables[name] for name in ("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET")}
    pulumi.run("config", "set", "--stack", "test", "databricks:scopes", "sql,clusters")
    assert_says(pulumi.up(ok=False, env=client).text, "databricks:scopes", "`authentication`")
    # As docs/sign-in.md has it.
    pulumi.run("config", "set", "--stack", "test", "databricks:scopes", "authentication,sql")
    assert pulumi.up(env=client).changes == {"create": 1}


def test_a_workspace_id_of_the_url_is_named_as_such(pulumi, workspace):
    text = failed_up(pulumi, env={"DATABRICKS_HOST": f"{workspace.host}/?o=4711"})
    assert_says(text, "the URL in databricks:host names workspace_id 4711", "?o=")


# --- Importing and looking up ---


def test_a_value_in_place_of_an_id_is_not_repeated(pulumi, workspace):
    _, value = workspace.mint()
    pulumi.write()
    pulumi.init()
    result = pulumi.run("import", "--stack", "test", "--yes", TOKEN_TYPE, "t", value, ok=False)
    # The search for leaks must not find the value in the command line, which is the user's own.
    pulumi.results.remove(result)
    assert value not in result.text
    assert_says(result.text, "looks like the value of a token", "`pulumi do databricks:Token list`")
    assert not [entry for entry in workspace.requests() if value in str(entry)]


def test_the_list_that_errors_point_to(pulumi, workspace):
    token_id, _ = workspace.mint(comment="of the CI")
    pulumi.write()
    pulumi.init()
    pulumi.run("plugin", "install", "resource", "databricks", "2.0.0", "--file", plugin_bin())
    assert_says(pulumi.run("do", "databricks:Token", "list").text, token_id)


def test_the_advice_after_an_import_works_as_it_stands(pulumi, workspace):
    token_id, _ = workspace.mint(comment="there before")
    pulumi.write()
    pulumi.init()
    generated = pulumi.project_dir / "generated.yaml"
    result = pulumi.run("import", "--stack", "test", "--yes", TOKEN_TYPE, "t", token_id, "--out", generated)
    project = pulumi.project_dir / "Pulumi.yaml"
    project.write_text(project.read_text(encoding="utf-8") + generated.read_text(encoding="utf-8"), encoding="utf-8")
    unprotect, replace = [shlex.split(command) for command in re.findall(r"`(pulumi (?:state|up) [^`]*)`", result.text)][:2]
    pulumi.run(*unprotect[1:], "--stack", "test", "--yes")
    pulumi.run(*replace[1:], "--stack", "test", "--yes", "--skip-preview")
    (value,) = TOKEN_VALUE.findall(pulumi.resource(show_secrets=True)["outputs"]["tokenValue"]["plaintext"])
    assert workspace.accepts(value) and token_id not in workspace.live()


def test_a_token_that_is_looked_up_has_no_value(pulumi, workspace):
    token_id, _ = workspace.mint(comment="not ours")
    pulumi.write({"t": {"type": "databricks:Token", "get": {"id": token_id}}}, {"value": "${t.tokenValue}"})
    pulumi.init()
    (warning,) = set(warnings(pulumi.up()))
    assert_says(warning, "tokenValue is empty when a program looks up", "the stack that created it")


# --- Lifetimes and rotation ---


def test_milliseconds_for_seconds_are_warned_of_once(pulumi):
    pulumi.token({"lifetimeSeconds": 7_776_000_000})
    pulumi.init()
    (warning,) = warnings(pulumi.preview())
    assert_says(warning, "are 90000 days", "if milliseconds were meant, 7776000 are 90 days")


def test_a_window_is_told_in_days(pulumi, workspace):
    pulumi.token({"lifetimeSeconds": 90 * DAY})
    pulumi.init()
    pulumi.up()
    workspace.advance(2 * DAY)
    pulumi.token({"lifetimeSeconds": 90 * DAY, "rotateBeforeSeconds": 89 * DAY})
    assert_says(pulumi.up().text, "in less than rotateBeforeSeconds (89 days)")


def test_replacing_the_token_that_the_provider_signs_in_with(pulumi, workspace):
    pulumi.token({"comment": "of the provider"})
    pulumi.init()
    pulumi.up()
    own = pulumi.outputs()["value"]
    pulumi.token({"comment": "another"})
    (warning,) = set(warnings(pulumi.preview(env={"DATABRICKS_TOKEN": own})))
    assert_says(warning, "the provider signs in with this very token", "databricks:token")
    # With another token there is nothing to warn about.
    assert warnings(pulumi.preview()) == []
