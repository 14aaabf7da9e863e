"""The way of a request: proxies, certificates, HTTP/2, and from an account to its workspace.

A recorder stands in place of every host, as in the tests of agreement: it is the proxy of the environment, and answers
in the name of whichever host is asked for.
"""

import conftest
import pytest
from support_agreement import LIST, Authority, Recorder
from support_agreement_plugin import list_tokens
from support_reliability import Server

# How long the plugin may take, in seconds.
PATIENCE = 40
HOST = "https://dbc-1.cloud.databricks.com"
ACCOUNTS = "https://accounts.cloud.databricks.com"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def recorder(authority):
    recorder = Recorder(authority, {})
    yield recorder
    recorder.close()


def run(recorder, stated, env=None, trusted=True):
    """Has the plugin list the tokens; returns what went wrong, and the requests, each with its URL and headers."""
    proxy = f"http://{recorder.address}"
    environment = {"HOME": str(recorder.authority.folder), "PATH": "/none", "HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}
    if trusted:
        environment["SSL_CERT_FILE"] = str(recorder.authority.path)
    error = list_tokens(conftest.plugin_bin(), environment | (env or {}), stated, PATIENCE)
    return error, [(f"{it['url'].scheme}://{it['url'].netloc}{it['url'].path}", it["headers"]) for it in recorder.taken()]


def listed(asked):
    """Host and headers of the request for the tokens."""
    ((url, headers),) = [(url, headers) for url, headers in asked if url.endswith(LIST)]
    return url.removesuffix(LIST), headers


# --- Proxies and certificates ---


def test_a_proxy_of_the_environment_is_used(recorder):
    error, asked = run(recorder, {"host": HOST, "token": "pat"})
    assert error is None
    host, headers = listed(asked)
    assert (host, headers["authorization"]) == (HOST, "Bearer pat")


def test_a_host_that_needs_no_proxy_is_asked_directly(recorder):
    stated = {"host": "https://workspace.invalid", "token": "pat", "retryTimeoutSeconds": 1}
    error, asked = run(recorder, stated, env={"NO_PROXY": "example.com,.invalid"})
    assert "cannot connect to https://workspace.invalid" in error and asked == []


def test_a_certificate_that_nobody_trusts_is_refused_at_once(recorder):
    error, asked = run(recorder, {"host": HOST, "token": "pat"}, trusted=False)
    assert f"the certificate of {HOST} is not trusted" in error and "SSL_CERT_FILE" in error
    assert asked == []
    # It does not get better by asking again.
    assert "attempts" not in error


def test_signing_in_does_not_ask_again_where_nobody_is_trusted(recorder):
    stated = {"host": HOST, "clientId": "id", "clientSecret": "s", "authType": "oauth-m2m"}
    error, asked = run(recorder, stated, trusted=False)
    assert "certificate" in error and asked == []
    assert "attempts" not in error


def test_any_certificate_will_do_where_the_configuration_says_so(recorder):
    error, asked = run(recorder, {"host": HOST, "token": "pat", "skipVerify": True}, trusted=False)
    assert error is None
    assert listed(asked)[0] == HOST


# --- HTTP/2 ---

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, HEADERS, DATA = 4, 1, 0
END_STREAM, END_HEADERS, ACKNOWLEDGED = 1, 4, 1
# Field 8 of HPACK's table.
STATUS_200 = b"\x88"


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def http2_server(authority):
    """A server that speaks nothing but HTTP/2, and answers every request with `{}`. `seen` gets a protocol for each
    connection, and the number of a stream for each request."""
    context = authority.context("localhost")
    context.set_alpn_protocols(["h2"])

    def answer(server, connection):
        with context.wrap_socket(connection, server_side=True) as secure:
            server.seen.append(secure.selected_alpn_protocol())
            reader = secure.makefile("rb")
            assert reader.read(len(PREFACE)) == PREFACE
            secure.sendall(frame(SETTINGS))
            while head := reader.read(9):
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                reader.read(int.from_bytes(head[:3], "big"))
                if kind == SETTINGS and not flags & ACKNOWLEDGED:
                    secure.sendall(frame(SETTINGS, ACKNOWLEDGED))
                if kind == HEADERS:
                    server.seen.append(stream)
                    secure.sendall(
                        frame(HEADERS, END_HEADERS, stream, STATUS_200) + frame(DATA, END_STREAM, stream, b"{}")
                    )

    return Server(answer)


def test_requests_share_a_connection_of_http2(authority):
    env = {"HOME": str(authority.folder), "PATH": "/none", "SSL_CERT_FILE": str(authority.path)}
    with http2_server(authority) as server:
        stated = {"host": f"https://localhost:{server.port}", "token": "pat"}
        assert list_tokens(conftest.plugin_bin(), env, stated, PATIENCE) is None
        # There are at least the requests for the host's description and the list; streams of clients are odd.
        protocol, *streams = server.seen
        assert protocol == "h2" and len(streams) >= 2 and streams == list(range(1, 2 * len(streams), 2))


# --- From an account to its workspace ---


def account(recorder, answer, path=ACCOUNTS):
    recorder.answers[f"GET {path}/api/2.0/accounts/acc/workspaces/42"] = answer


STATED = {"host": ACCOUNTS, "accountId": "acc", "token": "pat", "workspaceId": "42"}


def test_an_account_tells_the_host_of_its_workspace(recorder):
    account(recorder, {"body": {"workspace_id": 42, "deployment_name": "dbc-42", "workspace_name": "w"}})
    error, asked = run(recorder, STATED)
    assert error is None
    host, headers = listed(asked)
    assert (host, headers["x-databricks-workspace-id"]) == ("https://dbc-42.cloud.databricks.com", "42")
    (lookup,) = [headers for url, headers in asked if "/accounts/acc/workspaces/42" in url]
    assert lookup["authorization"] == "Bearer pat" and "x-databricks-workspace-id" not in lookup


def test_an_account_that_does_not_tell_routes_by_the_header(recorder):
    account(recorder, {"status": 403, "body": {"error_code": "PERMISSION_DENIED", "message": "no"}})
    error, asked = run(recorder, STATED)
    assert error is None
    host, headers = listed(asked)
    assert (host, headers["x-databricks-workspace-id"]) == (ACCOUNTS, "42")


def test_a_workspace_on_azure_is_named_by_its_resource_id(recorder):
    accounts = "https://accounts.azuredatabricks.net"
    azure = {"subscription_id": "sub", "resource_group": "group"}
    workspace = {"workspace_id": 42, "deployment_name": "adb-42.7", "workspace_name": "w", "azure_workspace_info": azure}
    account(recorder, {"body": workspace}, accounts)
    stated = {
        "host": accounts, "accountId": "acc", "workspaceId": "42", "azureClientId": "app", "azureClientSecret": "s",
        "azureTenantId": "tenant",
    }  # fmt: skip
    error, asked = run(recorder, stated)
    assert error is None
    host, headers = listed(asked)
    assert host == "https://adb-42.7.azuredatabricks.net"
    resource = headers["x-databricks-azure-workspace-resource-id"]
    assert resource == "/subscriptions/sub/resourceGroups/group/providers/Microsoft.Databricks/workspaces/w"
    (lookup,) = [headers for url, headers in asked if "/accounts/acc/workspaces/42" in url]
    assert "x-databricks-azure-workspace-resource-id" not in lookup
