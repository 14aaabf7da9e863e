"""What `pulumi-resource-databricks doctor` says of set-ups that are right, and of those that are not.

The whole output of each stands in tests/doctor; `UPDATE=1` writes it anew, to be read before it is kept. The address of
the workspace, the home folder and the first line, which names machine and time, are replaced there.
"""

import contextlib
import json
import os
import pty
import re
import socket
import subprocess

import pytest
from conftest import ANY_VALUE, ROOT, clean_environment, plugin_bin
from support_reliability import self_signed_server

WRONG = "dapi" + "0" * 32


def doctor(home, env, *arguments, stdin=""):
    """Status, standard output and standard error of the doctor, in an environment that has nothing but `env`."""
    environment = clean_environment(home) | env
    environment = {name: value for name, value in environment.items() if value is not None}
    command = [plugin_bin(), "doctor", *arguments]
    result = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, timeout=120)
    return result.returncode, result.stdout, result.stderr


class SetUp:
    """How the provider is configured in a test, and what the doctor is to say of it."""

    def __init__(self, workspace, home):
        self.workspace, self.home = workspace, home
        self.env = {"DATABRICKS_HOST": workspace.host, "DATABRICKS_TOKEN": workspace.token, "SSL_CERT_FILE": None}
        self.stack = None
        self.replaced = []

    def state(self, **values):
        """States the configuration of a stack, as `pulumi config --json --show-secrets` prints it."""
        secret = ("token", "clientSecret")
        entries = {f"databricks:{name}": {"value": value, "secret": name in secret} for name, value in values.items()}
        self.stack = json.dumps(entries)

    def service_principal(self, secret):
        del self.env["DATABRICKS_TOKEN"]
        self.env |= {"DATABRICKS_CLIENT_ID": self.workspace.variables["DATABRICKS_CLIENT_ID"], "DATABRICKS_CLIENT_SECRET": secret}

    def check(self, name, status):
        arguments = [] if self.stack is None else ["--stack"]
        code, out, err = doctor(self.home, self.env, *arguments, stdin=self.stack or "")
        assert err == ""
        assert not ANY_VALUE.search(out), "a credential is printed"
        for credential in [self.workspace.token, self.workspace.variables["DATABRICKS_CLIENT_SECRET"], WRONG, "not-to-be-shown"]:
            assert credential not in out, "a credential is printed"
        first, out = out.split("\n", 1)
        assert re.fullmatch(r"pulumi-resource-databricks \S+ on \w+ \w+, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", first)
        for text, place in [*self.replaced, (self.workspace.host, "WORKSPACE"), (str(self.home), "HOME")]:
            out = out.replace(text, place)
        # Each operating system gives the reason in its own words.
        out = re.sub(r"(is not trusted: client error \(Connect\): ).*?(\. Where a)", r"\1REASON\2", out)
        out = re.sub(r"\(os error \d+\)", "(os error N)", out)
        file = ROOT / f"tests/doctor/{name}.txt"
        if os.environ.get("UPDATE"):
            file.write_text(out)
        assert out == file.read_text(), f"see {file}"
        assert code == status
        return out


@pytest.fixture
def set_up(workspace, tmp_path):
    return SetUp(workspace, tmp_path)


# --- What is right ---


def test_a_token(set_up, workspace):
    _, value = workspace.mint(comment="of the provider", lifetime_seconds=90 * 86400)
    set_up.env["DATABRICKS_TOKEN"] = value
    workspace.forget_requests()
    out = set_up.check("a_token", 0)
    assert {entry["method"] for entry in workspace.requests()} == {"GET"}, "looking changes nothing"
    assert "expires in 89 days" in out


def test_a_service_principal_of_a_stack(set_up, workspace):
    set_up.env = {"DATABRICKS_HOST": "https://not-this.cloud.databricks.com", "SSL_CERT_FILE": None}
    client = workspace.variables
    set_up.state(
        host=workspace.host, clientId=client["DATABRICKS_CLIENT_ID"], clientSecret=client["DATABRICKS_CLIENT_SECRET"]
    )
    set_up.check("service_principal", 0)


def test_a_profile(set_up, workspace, tmp_path):
    (tmp_path / ".databrickscfg").write_text(f"[ci]\nhost = {workspace.host}\ntoken = {workspace.token}\n")
    set_up.env = {"DATABRICKS_CONFIG_PROFILE": "ci", "SSL_CERT_FILE": None}
    set_up.check("a_profile", 0)


# --- What is not ---


def test_no_host(set_up):
    del set_up.env["DATABRICKS_HOST"]
    set_up.check("no_host", 1)


def test_a_profile_that_is_not_there(set_up, tmp_path):
    (tmp_path / ".databrickscfg").write_text("[production]\nhost = https://a.b\n")
    set_up.env["DATABRICKS_CONFIG_PROFILE"] = "prodction"
    set_up.check("no_such_profile", 1)


def test_a_misspelt_property(set_up, workspace):
    set_up.state(hots=workspace.host, rateLimit="many")
    set_up.check("misspelt_property", 1)


def test_two_ways_at_once(set_up):
    set_up.env |= {"DATABRICKS_CLIENT_ID": "client", "DATABRICKS_CLIENT_SECRET": "not-to-be-shown"}
    set_up.check("two_ways_at_once", 1)


def test_a_token_that_is_refused(set_up):
    set_up.env["DATABRICKS_TOKEN"] = WRONG
    set_up.check("refused_token", 1)


def test_a_client_secret_that_is_refused(set_up):
    set_up.service_principal("not-to-be-shown")
    set_up.check("refused_client_secret", 1)


def test_nothing_to_sign_in_with(set_up):
    del set_up.env["DATABRICKS_TOKEN"]
    set_up.check("nothing_to_sign_in_with", 1)


def test_nobody_at_the_host(set_up):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"http://127.0.0.1:{listener.getsockname()[1]}"
    set_up.env["DATABRICKS_HOST"] = host
    set_up.replaced = [(host, "NOBODY")]
    set_up.check("nobody_at_the_host", 1)


def test_a_host_that_does_not_speak_tls(set_up, workspace):
    host = workspace.host.replace("http:", "https:")
    set_up.env["DATABRICKS_HOST"] = host
    set_up.replaced = [(host, "HTTPS-WORKSPACE")]
    set_up.check("no_tls", 1)


def test_a_certificate_that_is_not_trusted(set_up):
    with self_signed_server() as server:
        host = f"https://localhost:{server.port}"
        set_up.env["DATABRICKS_HOST"] = host
        set_up.replaced = [(host, "HTTPS-WORKSPACE")]
        set_up.check("certificate_not_trusted", 1)
    assert server.seen == []


def test_another_workspace_than_that_of_the_url(set_up, workspace):
    set_up.env["DATABRICKS_HOST"] = f"{workspace.host}/?o=4711"
    set_up.check("another_workspace", 1)


def test_a_page_instead_of_an_api(set_up, workspace):
    workspace.fault("/api/", {"html": True, "message": "Sign in"}, times=0)
    set_up.check("page_instead_of_api", 1)


def test_tokens_are_switched_off(set_up, workspace):
    workspace.control("/permissions", {"tokens_enabled": False})
    set_up.check("tokens_switched_off", 1)


def test_tokens_are_not_permitted(set_up, workspace):
    workspace.control("/permissions", {"can_use": False})
    set_up.check("tokens_not_permitted", 1)


# --- What works and should not stay so ---


def test_a_token_of_the_provider_that_expires_soon(set_up, workspace):
    _, value = workspace.mint(comment="of the provider", lifetime_seconds=3 * 86400 + 3600)
    set_up.env["DATABRICKS_TOKEN"] = value
    set_up.check("own_token_expires_soon", 0)


def test_a_quota_that_is_nearly_used_up(set_up, workspace):
    for _ in range(540):
        workspace.mint()
    set_up.check("quota_nearly_used_up", 0)


def test_a_clock_that_is_wrong(set_up, workspace):
    headers = {"Date": "Sat, 01 Jan 2000 00:00:00 GMT"}
    workspace.fault("/.well-known/databricks-config", {"status": 404, "headers": headers}, times=0)
    code, out, _ = doctor(set_up.home, set_up.env)
    assert re.search(r"warning  the clock of this machine is \d+ days ahead of that of the host: .* Set the clock", out)
    assert (code, out.count("\n\nno problems, 1 warning\n")) == (0, 1)


def test_a_proxy_is_named_without_its_password(set_up):
    set_up.env["HTTPS_PROXY"] = "http://user:not-to-be-shown@127.0.0.1:1"
    set_up.check("a_proxy", 0)


# --- The program ---


@pytest.mark.parametrize(
    ("stdin", "reason"),
    [
        ("", "is empty"),
        ("not-to-be-shown", "is not JSON"),
        ('{"databricks:token": {"secret": true}}', "--show-secrets"),
    ],
)
def test_a_stack_that_cannot_be_read(tmp_path, stdin, reason):
    code, out, err = doctor(tmp_path, {}, "--stack", stdin=stdin)
    assert (code, out) == (2, "")
    assert reason in err and "pulumi config --json --show-secrets" in err and "not-to-be-shown" not in err


def test_a_stack_is_not_awaited_at_a_terminal(tmp_path):
    reader, writer = pty.openpty()
    command = [plugin_bin(), "doctor", "--stack"]
    result = subprocess.run(
        command, stdin=writer, env=clean_environment(tmp_path), capture_output=True, text=True, timeout=50
    )
    os.close(reader)
    os.close(writer)
    assert result.returncode == 2
    assert "reads from standard input" in result.stderr


@pytest.mark.parametrize("argument", ["--stak", "stack", "-x"])
def test_a_command_line_that_is_not_understood(tmp_path, argument):
    code, out, err = doctor(tmp_path, {}, argument)
    assert (code, out) == (2, "")
    assert "doctor --help" in err


def test_help_teaches(tmp_path):
    code, out, err = doctor(tmp_path, {}, "--help")
    assert (code, err) == (0, "")
    for text in ["pulumi config --json --show-secrets | ", "Exit status: ", "changes and revokes nothing"]:
        assert text in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("no_color", [None, "1"])
def test_colours_are_for_terminals(set_up, no_color):
    reader, writer = pty.openpty()
    environment = clean_environment(set_up.home) | {"DATABRICKS_TOKEN": "x"} | ({"NO_COLOR": no_color} if no_color else {})
    process = subprocess.Popen([plugin_bin(), "doctor"], stdout=writer, env=environment)
    os.close(writer)
    printed = b""
    # On Linux, to read a terminal that nobody writes to any more is an error.
    with contextlib.suppress(OSError):
        while block := os.read(reader, 4096):
            printed += block
    os.close(reader)
    assert process.wait(timeout=60) == 1
    assert (b"\x1b[1;31mPROBLEM" in printed) == (no_color is None)
