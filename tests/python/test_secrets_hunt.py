"""Secrets stay secret: marked credentials and inputs go through every operation while everything that answers echoes
what it was sent, and whatever a person or a file could see of it is searched for the marks.

The tables of test_faults_*.py search as well: the plugins there log at the highest level, and no log, error, output,
event or file of the engine may show a token.
"""

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import runpy
import secrets
import subprocess
import sys
import time
import urllib.parse

import grpc
import pytest
from conftest import ANY_VALUE, ENGINE_TRACE, OBO_TOKEN_TYPE, ROOT, SECRET_TYPE, TOKEN_TYPE, FakeEngine, Plugin, secret
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support_agreement import Authority
from support_reliability import CREATE, DELETE, LIST, SideBySide, http_server

INPUT = f"input-{secrets.token_hex(16)}"
OLD_VALUE = f"value-{secrets.token_hex(16)}"


def mark():
    return secrets.token_hex(20)


def pieces(*marks):
    """What to search for: the marks themselves, halves of them, and what they become on the way."""
    found = set()
    for text in marks:
        found |= {text[:12], text[-12:], base64.b64encode(text.encode()).decode()[:16]}
        found |= {urllib.parse.quote_plus(text)[:12], urllib.parse.quote_plus(text)[-12:]}
    return found


def assert_hidden(marks, texts):
    for where, text in texts.items():
        for piece in pieces(*marks):
            at = text.find(piece)
            assert at < 0, f"{where} shows {piece!r}: {text[max(0, at - 200) : at + 100]!r}"


# --- Answers that echo what they were asked with ---


def jwt():
    part = base64.urlsafe_b64encode(json.dumps({"a": mark()}).encode()).decode().rstrip("=")
    return f"{part}.{part}.{mark()}"


@dataclasses.dataclass
class Kind:
    """A way to sign in. `{url}` is the server's address, and `{home}` the home folder."""

    way: str
    marks: list
    config: dict = dataclasses.field(default_factory=dict)
    env: dict = dataclasses.field(default_factory=dict)
    # Good answers of the server, by path.
    good: dict = dataclasses.field(default_factory=dict)
    files: dict = dataclasses.field(default_factory=dict)
    # Shell scripts in place of command-line tools.
    tools: dict = dataclasses.field(default_factory=dict)
    host: str = "{url}"
    # Whether it asks at the address that every cloud gives to the metadata service of a machine.
    machine: bool = False

    @property
    def is_elsewhere(self):
        """Whether the server answers in place of hosts that have other names."""
        return self.host != "{url}"


AZURE, GOOGLE = "https://adb-1.2.azuredatabricks.net", "https://1.2.gcp.databricks.com"


def private_key():
    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def kinds():
    """Every way to sign in, by what it is, as it works and as it is refused."""
    token, password, special, access = mark(), mark(), f"a/{mark()}+b", mark()
    id_token, request_token, system_token, in_url = jwt(), mark(), mark(), mark()
    opaque, management, said, refresh = mark(), mark(), jwt(), mark()
    pair = f"app:{urllib.parse.quote_plus(special)}"
    soon = int(time.time()) + 3600
    found = {"/oidc/.well-known/oauth-authorization-server": {"token_endpoint": "{url}/token"}}
    answer = {"access_token": access, "token_type": "Bearer", "expires_in": 3600}
    good = found | {"/token": answer}
    devops = {
        "SYSTEM_ACCESSTOKEN": system_token,
        "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": "{url}/devops/",
        "SYSTEM_PLANID": "plan",
        "SYSTEM_JOBID": "job",
        "SYSTEM_TEAMPROJECTID": "project",
        "SYSTEM_HOSTTYPE": "build",
    }
    of_job = "/devops/project/_apis/distributedtask/hubs/build/plans/plan/jobs/job/oidctoken"
    github = {"ACTIONS_ID_TOKEN_REQUEST_URL": "{url}/github?x=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": request_token}
    identity = {"/github": {"value": opaque}}
    client = {"clientId": "app", "clientSecret": secret(special)}
    file = {"databricksIdTokenFilepath": "{home}/identity"}
    service = {"metadataServiceUrl": secret("{url}/" + in_url)}
    application = {"azureClientId": "app", "azureTenantId": "tenant"}
    principal = application | {"azureClientSecret": secret(special)}
    entra = {"/tenant/oauth2/token": answer}
    azure_cli = {"cloud": "Azure", "azureTenantId": "tenant"}
    az = {"accessToken": access, "tokenType": "Bearer", "expires_on": soon}
    cli = {"access_token": access, "token_type": "Bearer", "expiry": "2100-01-01T00:00:00Z"}
    complains = f"echo 'ERROR: no use for {said}' >&2; exit 1"
    key = private_key().decode()
    lines = key.splitlines()[1:-1]
    google_key = {"type": "service_account", "client_email": "sa@example.com", "private_key_id": "1", "private_key": key}
    google_key = {"cloud": "GCP", "googleCredentials": secret(json.dumps(google_key | {"token_uri": "{url}/google"}))}
    of_google = {"/google": answer | {"id_token": opaque}}
    impersonates = {"googleServiceAccount": "sa@example.com"}
    login = {"type": "authorized_user", "client_id": "app", "client_secret": special, "refresh_token": refresh}
    adc = {"env": {"GOOGLE_APPLICATION_CREDENTIALS": "{home}/adc.json"}, "files": {"adc.json": json.dumps(login)}}
    of_login = {"/token": answer}
    account = "/v1/projects/-/serviceAccounts/sa@example.com"
    impersonated = of_login | {
        f"{account}:generateIdToken": {"token": opaque},
        f"{account}:generateAccessToken": {"accessToken": management, "expireTime": "2100-01-01T00:00:00Z"},
    }
    return {
        "a personal access token": Kind("pat", [token], {"token": secret(token)}),
        "a token of Databricks' form": Kind("pat", ["dapi" + token[:32]], {"token": secret("dapi" + token[:32])}),
        "a token from the environment": Kind("pat", [token], env={"DATABRICKS_TOKEN": token}),
        "a token with a line break": Kind("pat", [token], env={"DATABRICKS_TOKEN": f"{token}\n"}),
        "a password": Kind("basic", [password, f"u:{password}"], {"username": "u", "password": secret(password)}),
        "a client secret that is refused": Kind("oauth-m2m", [special, pair], client, good=found),
        "a client secret": Kind("oauth-m2m", [special, access], client, good=good),
        "the Databricks CLI": Kind("databricks-cli", [access], tools={"databricks": f"echo '{json.dumps(cli)}'"}),
        "the Databricks CLI that is refused": Kind("databricks-cli", [said], tools={"databricks": complains}),
        "a metadata service": Kind(
            "metadata-service",
            [in_url, access],
            service,
            good={f"/{in_url}": {"access_token": access, "token_type": "Bearer", "expires_on": soon}},
        ),
        "a metadata service that refuses": Kind("metadata-service", [in_url], service),
        "GitHub's request token, refused": Kind("github-oidc", [request_token], env=github, good=found),
        "GitHub's identity token, refused": Kind("github-oidc", [opaque], env=github, good=found | identity),
        "GitHub's identity token": Kind("github-oidc", [opaque, access], env=github, good=good | identity),
        "Azure DevOps' system token, refused": Kind("azure-devops-oidc", [system_token], env=devops, good=found),
        "Azure DevOps' identity token, refused": Kind(
            "azure-devops-oidc", [opaque, system_token], env=devops, good=found | {of_job: {"oidcToken": opaque}}
        ),
        "Azure DevOps' identity token": Kind(
            "azure-devops-oidc", [opaque, access], env=devops, good=good | {of_job: {"oidcToken": opaque}}
        ),
        "an identity token that is refused": Kind(
            "env-oidc", [id_token], env={"DATABRICKS_OIDC_TOKEN": id_token}, good=found
        ),
        "an identity token that is no JWT and is refused": Kind(
            "env-oidc", [special], env={"DATABRICKS_OIDC_TOKEN": special}, good=found
        ),
        "an identity token": Kind("env-oidc", [id_token, access], env={"DATABRICKS_OIDC_TOKEN": id_token}, good=good),
        "a file's identity token, refused": Kind("file-oidc", [special], file, good=found, files={"identity": special}),
        "a file's identity token": Kind(
            "file-oidc", [opaque, access], file, good=good, files={"identity": f"{opaque}\n"}
        ),
        "GitHub's identity token for Azure, refused": Kind(
            "github-oidc-azure", [opaque], application, github, identity, host=AZURE
        ),
        "GitHub's identity token for Azure": Kind(
            "github-oidc-azure", [opaque, access], application, github, identity | entra, host=AZURE
        ),
        "a managed identity": Kind(
            "azure-msi",
            [access],
            {"cloud": "Azure", "azureUseMsi": True},
            good={"/metadata/identity/oauth2/token": answer | {"expires_on": str(soon)}},
            machine=True,
        ),
        "an Azure secret that is refused": Kind("azure-client-secret", [special, pair], principal, host=AZURE),
        "an Azure secret": Kind("azure-client-secret", [special, access], principal, good=entra, host=AZURE),
        "the Azure CLI": Kind("azure-cli", [access], azure_cli, tools={"az": f"echo '{json.dumps(az)}'"}),
        "the Azure CLI that is refused": Kind("azure-cli", [said], azure_cli, tools={"az": complains}),
        "a Google key that is refused": Kind("google-credentials", lines, google_key),
        "a Google key": Kind("google-credentials", [*lines, opaque, access], google_key, good=of_google),
        "a Google login that is refused": Kind("google-id", [special, refresh], impersonates, host=GOOGLE, **adc),
        "a Google login that may not impersonate and is refused": Kind(
            "google-id", [special, refresh, access], impersonates, good=of_login, host=GOOGLE, **adc
        ),
        "a Google login": Kind(
            "google-id", [refresh, access, opaque, management], impersonates, good=impersonated, host=GOOGLE, **adc
        ),
    }


# How a server may say what it dislikes: (status line, headers, body), all of which may hold the echo.
FORMS = {
    "a Databricks error": ("400 Bad Request", "", lambda echo: json.dumps({"error_code": "BAD", "message": echo})),
    "a code": ("403 Forbidden", "", lambda echo: json.dumps({"error_code": echo, "message": "no"})),
    "an OAuth error": (
        "401 Unauthorized",
        "",
        lambda echo: json.dumps({"error": "invalid_client", "error_description": echo}),
    ),
    "an OAuth error code": ("400 Bad Request", "", lambda echo: json.dumps({"error": echo})),
    "a SCIM error": ("400 Bad Request", "", lambda echo: json.dumps({"detail": echo, "status": echo, "scimType": echo})),
    "a line of text": ("400 Bad Request", "", lambda echo: f"BAD_REQUEST: {echo}"),
    "text": ("400 Bad Request", "", lambda echo: echo),
    "HTML": ("401 Unauthorized", "content-type: text/html\r\n", lambda echo: f"<html><pre>{echo}</pre></html>"),
    "another good answer": ("200 OK", "", lambda echo: json.dumps({"something": echo, echo: "else"})),
    "a good answer that is no JSON": ("200 OK", "", lambda echo: echo),
    "throttling": ("429 Too Many Requests", "", lambda echo: json.dumps({"error_code": "BUSY", "message": echo})),
    "a 503": ("503 Service Unavailable", "", lambda echo: json.dumps({"error_code": "BUSY", "message": echo})),
    "a reason": ("400 {echo}", "", lambda echo: ""),
    "a redirect": ("302 Found", "location: https://elsewhere.invalid/{echo}?{echo}\r\n", lambda echo: ""),
    "headers": (
        "400 Bad Request",
        "x-request-id: {echo}\r\nx-databricks-org-id: {echo}\r\nretry-after: {echo}\r\ncontent-type: {echo}\r\n",
        lambda echo: json.dumps({"error_code": "BAD", "message": "no"}),
    ),
}


def echoing(form, paths, **options):
    """A server that answers some paths well, and anything else with all that it was sent."""
    status, headers, content = FORMS[form]

    def respond(head, body):
        path = head.split(" ")[1].split("?")[0]
        if path in paths:
            answer = json.dumps(paths[path]).replace("{url}", url)
            return "HTTP/1.1 200 OK\r\ncontent-type: application/json", answer
        if path == "/.well-known/databricks-config":
            return "HTTP/1.1 404 Not Found", ""
        values = [line.split(": ", 1)[-1] for line in head.splitlines()]
        # Long enough to be cut somewhere.
        echo = " ".join([*values, body] * 3)
        line = echo.replace('"', "'")
        return f"HTTP/1.1 {status}\r\n{headers}".replace("{echo}", line).rstrip(), content(echo)

    server = http_server(respond, **options)
    url = f"http://127.0.0.1:{server.port}"
    return server


KINDS = kinds()
# Forms after which a request is repeated. A sign-in that is refused like this is repeated for a minute, without a
# message meanwhile.
REPEATED = ("throttling", "a 503")


# The secrets among the fields of token requests.
SENT = ("assertion", "client_assertion", "client_secret", "refresh_token", "subject_token")


def in_own_network(kind, home):
    """Runs a kind in a network of its own, where the address of a cloud's metadata service is this machine's."""
    network = "ip link set lo up && ip address add 169.254.169.254/32 dev lo && exec \"$@\""
    program = "import sys, test_secrets_hunt; test_secrets_hunt.echoes(*sys.argv[1:], own_network=True)"
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--net", *user, "sh", "-c", network, "sh", sys.executable, "-c", program, kind, home]
    here = pathlib.Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr


def echoes(name, home, own_network=False):
    kind, home = KINDS[name], pathlib.Path(home)
    if kind.machine and not own_network:
        return in_own_network(name, str(home))
    known = list(kind.marks)
    for file, text in kind.files.items():
        (home / file).write_text(text, encoding="utf-8")
    for tool, script in kind.tools.items():
        # A file smaller than the real tool is taken for its predecessor of the same name.
        (home / tool).write_text(f"#!/bin/sh\n{script}\nexit\n" + "#" * 2**20, encoding="utf-8")
        (home / tool).chmod(0o755)
    authority = Authority(home) if kind.is_elsewhere else None
    outputs = {"tokenId": "i", "tokenValue": secret(OLD_VALUE), "creationTime": 1, "expiryTime": -1}
    state = {"comment": secret(INPUT), "rotateBeforeSeconds": 60}
    changed = state | {"comment": secret(INPUT + "2")}
    operations = {
        "create": lambda client: client.create(state),
        "delete": lambda client: client.delete("i", state, outputs),
        "read": lambda client: client.read("i", state, outputs),
        "import": lambda client: client.read("i"),
        "update": lambda client: client.update("i", changed, state, outputs | {"comment": secret(INPUT)}),
        "diff": lambda client: client.diff("i", changed, state, outputs),
        "list": lambda client: client.list(),
        "getCurrentUser": lambda client: client.invoke("databricks:index/getCurrentUser:getCurrentUser"),
        "getAccessToken": lambda client: client.invoke("databricks:index/getAccessToken:getAccessToken"),
    }
    shown = {}
    for form in FORMS:
        if form in REPEATED and "refuse" in name:
            continue
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(echoing(form, kind.good, contexts=authority and authority.context))
            url = f"http://127.0.0.1:{server.port}"
            if kind.machine:
                stack.enter_context(echoing(form, kind.good, address=("169.254.169.254", 80)))

            def fill(values):
                return json.loads(json.dumps(values).replace("{url}", url).replace("{home}", str(home)))

            engine = FakeEngine()
            stack.callback(engine.stop)
            # As talkative as it gets.
            talkative = {"DATABRICKS_DEBUG_HEADERS": "true", "DATABRICKS_DEBUG_TRUNCATE_BYTES": "100000"}
            env = fill(kind.env) | talkative | {"PATH": f"{home}:/usr/bin:/bin"}
            if authority:
                env |= {"HTTPS_PROXY": url, "SSL_CERT_FILE": str(authority.path)}
            process = Plugin(home, "-v=9", engine=engine.address, env=env)
            stack.callback(process.stop)
            client = process.connect()
            client.handshake(engine_address=engine.address)
            patience = 3 if form in REPEATED else 1
            client.configure(host=fill(kind.host), retryTimeoutSeconds=patience, **fill(kind.config))
            errors = []
            for operation, call in operations.items():
                if form in REPEATED and operation != "create":
                    continue
                try:
                    call(client)
                except grpc.RpcError as error:
                    assert error.details()
                    errors.append(error.details())
                    shown[f"the error of {operation} with {form}"] = error.details() + str(error.trailing_metadata())
            process.stop()
            shown[f"the log with {form}"] = process.stderr + process.stdout
            shown[f"the messages with {form}"] = json.dumps(engine.messages)
            if form in REPEATED:
                assert any(ephemeral for *_, ephemeral in engine.messages), "nobody was told why it takes so long"
            # The hunt has something to find, and this is the way that the plugin signed in.
            sent = "".join(head + body for head, body in server.seen)
            fields = [field for _, body in server.seen for field in urllib.parse.parse_qsl(body)]
            known += [value for field, value in fields if field in SENT]
            if "refused" in name and kind.tools:
                assert all(f"{kind.way}: failed: " in error for error in errors), errors
            else:
                assert any(piece in sent for piece in pieces(*known)), "no credential was sent"
                by_it = (f" auth/{kind.way}", f"{kind.way} auth: ", f"{kind.way}: failed: ")
                assert any(text in sent + "".join(errors) for text in by_it), errors
    assert len([where for where in shown if "error" in where]) > 50, sorted(shown)
    assert_hidden([*known, INPUT, OLD_VALUE], shown)


@pytest.fixture(scope="module")
def ends(request):
    cases = SideBySide(request, echoes, workers=6)
    yield cases
    cases.stop()


@pytest.mark.parametrize("name", KINDS)
def test_echoes(ends, name):
    assert ends[name] is None


def test_every_way_to_sign_in_is_hunted():
    page = (ROOT / "docs" / "sign-in.md").read_text(encoding="utf-8")
    ways = re.findall(r"^### (.+)$", page.split("\n## The ways\n")[1].split("\n## ")[0], re.MULTILINE)
    assert list(dict.fromkeys(kind.way for kind in KINDS.values())) == ways


# --- Inputs and configuration ---


def test_refusals_of_inputs(provider, fake_engine):
    """The engine prints the value of the property that a failure names, and reasons as they are."""
    marks = [mark() for _ in range(6)]
    texts = {}
    for inputs in (
        {"comment": secret({"a": marks[0]})},
        {"lifetimeSeconds": secret(marks[1])},
        {"scopes": secret([marks[2], marks[2]])},
        {"scopes": [secret(marks[2]), secret(marks[2])]},
        {"rotateWhenChanged": secret(marks[3])},
        {"rotateWhenChanged": {"a": secret([marks[3]])}},
        {"providerConfig": secret({"workspaceId": [marks[4]]})},
        {"unknown": secret(marks[5])},
        {"autoscopeEnabled": secret(marks[5])},
    ):
        _, failures = provider.check(inputs)
        assert failures, inputs
        assert all(not name for name, _ in failures), failures
        texts[str(list(inputs))] = json.dumps(failures)
        # The engine creates nothing then. If it did, the error would have to be as silent.
        try:
            provider.create(inputs)
        except grpc.RpcError as error:
            texts[f"create {list(inputs)}"] = error.details()
    assert len(texts) > 10, sorted(texts)
    texts["messages"] = json.dumps(fake_engine.messages)
    assert_hidden(marks, texts)


def test_refusals_of_configuration(plugin, tmp_path):
    token, password, other, in_file = mark(), mark(), mark(), mark()
    (tmp_path / ".databrickscfg").write_text(f"[bad]\nhost = https://a.b\ntoken = {in_file}\nclient_secret = {in_file}\n")
    process = plugin("-v=9", env={"DATABRICKS_PASSWORD": password, "DATABRICKS_USERNAME": "u"})
    texts = {}
    for number, stated in enumerate(
        (
            {"host": "https://a.b", "token": token},
            {"host": "https://a.b", "token": {"a": token}},
            {"host": "https://a.b", "token": token, "clientSecret": [other]},
            {"host": f"https://u:{other}@:x", "token": token},
            {"host": "https://a.b", "profile": "bad"},
            {"host": "https://a.b", "token": token, "surprise": other},
            {"host": "https://a.b", "googleCredentials": other, "azureClientSecret": other},
            {"host": "https://a.b", "rateLimit": token, "token": token},
        )
    ):
        client = process.connect()
        _, failures = client.check_config(stated)
        assert failures, stated
        assert all(not name for name, _ in failures), failures
        texts[f"check {number}"] = json.dumps(failures)
        try:
            client.configure(**stated)
        except grpc.RpcError as error:
            texts[f"configure {number}"] = error.details()
    assert len(texts) > 12, sorted(texts)
    texts["log"] = process.stderr
    assert_hidden([token, password, other, in_file], texts)


def test_a_lost_create_does_not_show_a_secret_comment(provider, workspace, fake_engine):
    """The error names the token by its id; its comment is secret in the program."""
    workspace.fault(CREATE, {"drop": "after"})
    with pytest.raises(grpc.RpcError) as caught:
        provider.create({"comment": secret(INPUT)})
    (token,) = workspace.tokens()
    assert token["id"] in caught.value.details() and token["comment"] == INPUT
    workspace.fault(CREATE, {"status": 400, "message": f"the comment {INPUT} is not allowed"})
    with pytest.raises(grpc.RpcError) as refused:
        provider.create({"comment": secret(INPUT)})
    assert "is not allowed" in refused.value.details()
    texts = {"lost": caught.value.details(), "refused": refused.value.details()}
    assert_hidden([INPUT], texts | {"messages": json.dumps(fake_engine.messages)})


# --- The other credentials ---

MANAGED = "/token-management/"
SECRETS = "/credentials/secrets"

# The answers of a workspace that refuses a request and repeats what it knows.
REFUSALS = {
    "a Databricks error": lambda echo: {"status": 400, "message": echo},
    "a code": lambda echo: {"status": 403, "error_code": echo},
    "text": lambda echo: {"status": 400, "body": echo, "content_type": "text/plain"},
    "HTML": lambda echo: {"status": 400, "html": True, "message": echo},
    "headers": lambda echo: {"status": 400, "headers": {"x-request-id": echo, "x-databricks-org-id": echo}},
}


def talkative_provider(plugin, workspace, fake_engine):
    """A process that logs as much as it can, and a client of it."""
    env = {"DATABRICKS_DEBUG_HEADERS": "true", "DATABRICKS_DEBUG_TRUNCATE_BYTES": "100000"}
    process = plugin("-v=9", engine=fake_engine.address, env=env)
    client = process.connect()
    client.handshake(engine_address=fake_engine.address)
    client.configure(host=workspace.host, token=secret(workspace.token), retryTimeoutSeconds=3)
    return process, client


def hunt_echoes(workspace, path, calls, echo):
    """Errors of calls, by the method of the request, which is refused in every form."""
    shown = {}
    for method, call in calls.items():
        for form, refusal in REFUSALS.items():
            workspace.fault(path, refusal(echo), method=method)
            with pytest.raises(grpc.RpcError) as caught:
                call()
            shown[f"{method} with {form}"] = caught.value.details() + str(caught.value.trailing_metadata())
        # The hunt has something to find.
        assert "***" in shown[f"{method} with a Databricks error"], shown
    return shown


def hunt_answers(workspace, path, create, answer):
    """Errors of creates whose good answers are of no use: without an id, and cut off."""
    shown = {}
    for name, action in {
        "without an id": {"status": 200, "body": answer},
        "that is no JSON": {"status": 200, "body": json.dumps(answer)[:-1], "content_type": "application/json"},
        "that is cut off": {"work": True, "truncate_after_bytes": 150},
    }.items():
        workspace.fault(path, action, method="POST")
        with pytest.raises(grpc.RpcError) as caught:
            create()
        shown[f"an answer {name}"] = caught.value.details() + str(caught.value.trailing_metadata())
    return shown


def assert_nothing_shown(marks, texts, process, fake_engine):
    process.stop()
    assert "***" in process.stderr, "the log holds nothing that was hidden"
    texts |= {"the log": process.stderr + process.stdout, "the messages": json.dumps(fake_engine.messages)}
    assert_hidden(marks, texts)
    for where, text in texts.items():
        assert not ANY_VALUE.search(text), where


def test_echoes_of_an_obo_token_and_its_secret_comment(plugin, workspace, fake_engine):
    process, client = talkative_provider(plugin, workspace, fake_engine)
    urn = f"urn:pulumi:test::test::{OBO_TOKEN_TYPE}::t"
    comment, unlike_any_other = mark(), mark()
    robot = workspace.variables["DATABRICKS_CLIENT_ID"]
    inputs = {"applicationId": robot, "comment": secret(comment), "rotateBeforeSeconds": 60}
    changed = inputs | {"comment": secret(f"{comment}2")}
    workspace.fault(MANAGED, {"status": 429, "message": f"{comment} waits", "retry_after": "1"}, method="POST")
    token_id, outputs = client.create(inputs, urn=urn)
    assert any("waits" in text for _, _, text, _ in fake_engine.messages), "nobody was told what it waits for"
    value = outputs["tokenValue"]["value"]
    assert workspace.accepts(value)

    create = {"POST": lambda: client.create(inputs, urn=urn)}
    update = {"PATCH": lambda: client.update(token_id, changed, inputs, outputs, urn=urn)}
    without_comment = {
        "GET": lambda: client.read(token_id, inputs, outputs, urn=urn),
        "DELETE": lambda: client.delete(token_id, inputs, outputs, urn=urn),
    }
    texts = hunt_echoes(workspace, MANAGED, create, f"{comment} and {value}")
    texts |= hunt_echoes(workspace, MANAGED, update, f"{comment}2 and {value}")
    texts |= hunt_echoes(workspace, MANAGED, without_comment, value)
    answer = {"token_value": unlike_any_other, "token_info": {"comment": comment}}
    texts |= hunt_answers(workspace, MANAGED, create["POST"], answer)
    assert workspace.accepts(value)
    assert_nothing_shown([comment, value, unlike_any_other], texts, process, fake_engine)


def test_echoes_of_a_service_principal_secret(plugin, workspace, fake_engine):
    process, client = talkative_provider(plugin, workspace, fake_engine)
    urn = f"urn:pulumi:test::test::{SECRET_TYPE}::t"
    unlike_any_other = mark()
    principals = workspace.control("/state")["principals"]
    robot = workspace.variables["DATABRICKS_CLIENT_ID"]
    (principal,) = [str(it["id"]) for it in principals if it["user_name"] == robot]
    inputs = {"servicePrincipalId": principal}
    workspace.fault(SECRETS, {"status": 429, "message": "it waits", "retry_after": "1"}, method="POST")
    secret_id, outputs = client.create(inputs, urn=urn)
    assert any("waits" in text for _, _, text, _ in fake_engine.messages), "nobody was told what it waits for"
    value = outputs["secret"]["value"]

    # GET comes first: a create that is refused lists the secrets, and a read after it would be content with that list.
    calls = {
        "GET": lambda: client.read(secret_id, inputs, outputs, urn=urn),
        "POST": lambda: client.create(inputs, urn=urn),
        "DELETE": lambda: client.delete(secret_id, inputs, outputs, urn=urn),
    }
    texts = hunt_echoes(workspace, SECRETS, calls, value)
    answer = {"secret": unlike_any_other, "secret_hash": "0" * 64, "status": "ACTIVE"}
    texts |= hunt_answers(workspace, SECRETS, calls["POST"], answer)
    assert_nothing_shown([value, unlike_any_other], texts, process, fake_engine)


# --- Other hosts ---


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_carries_nothing_elsewhere(plugin, status):
    with http_server(lambda head, body: ("HTTP/1.1 200 OK", "{}")) as elsewhere:
        # By another name, so that it is another host as well as another port.
        location = f"location: http://localhost:{elsewhere.port}/api"
        with http_server(lambda head, body: (f"HTTP/1.1 {status} Moved\r\n{location}", "")) as server:
            url = f"http://127.0.0.1:{server.port}"
            for config in ({"token": "t"}, {"clientId": "a", "clientSecret": "s"}, {"username": "u", "password": "p"}):
                client = plugin().connect()
                client.configure(host=url, retryTimeoutSeconds=1, **config)
                for call in (
                    lambda: client.create({"comment": "c"}),
                    lambda: client.read("i", {}, {"tokenId": "i"}),
                    lambda: client.delete("i", {}, {}),
                    client.list,
                ):
                    with pytest.raises(grpc.RpcError):
                        call()
            assert server.seen
        assert elsewhere.seen == []


@pytest.mark.parametrize(
    ("host", "warned"),
    [("http://workspace.invalid", True), ("https://workspace.invalid", False), ("http://127.0.0.2:1", False)],
)
def test_plain_http_is_warned_of_once(plugin, fake_engine, host, warned):
    client = plugin(engine=fake_engine.address).connect()
    client.handshake(engine_address=fake_engine.address)
    client.configure(host=host, token="t", retryTimeoutSeconds=1)
    for _ in range(2):
        with pytest.raises(grpc.RpcError):
            client.create({})
    warnings = [text for severity, _, text, _ in fake_engine.messages if severity == "WARNING"]
    assert len(warnings) == warned, warnings
    assert all("plain http" in text and host in text for text in warnings)


def test_no_core_dumps(plugin):
    limits = pathlib.Path(f"/proc/{plugin().process.pid}/limits").read_text(encoding="utf-8")
    assert re.search(r"Max core file size +0 +0 ", limits), limits


# --- The whole way, on the real engine ---

VERBOSE = ("--debug", "-v=9", "--logtostderr", "--logflow")


def hunt(pulumi, marks, *texts):
    """Searches all that the commands printed, reported and left on the disk."""
    shown = {result.command: ENGINE_TRACE.sub("", result.text) + json.dumps(result.events) for result in pulumi.results}
    scratch = pulumi.project_dir.parent
    for path in scratch.rglob("*"):
        if path.is_file() and not path.is_symlink():
            shown[str(path.relative_to(scratch))] = path.read_bytes().decode("utf-8", errors="replace")
    shown |= {f"text {number}": text for number, text in enumerate(texts)}
    assert any("test.json" in name for name in shown), "the state is among what is searched"
    assert_hidden(marks, shown)
    assert not pulumi.leaks(*texts)


def test_every_failure_with_the_most_verbose_logs(pulumi, workspace):
    """Credentials in the stack's configuration and in an explicit provider, a secret input, and answers that echo."""
    comment = mark()
    del pulumi.env["DATABRICKS_TOKEN"]
    pulumi.token({"comment": {"fn::secret": comment}, "rotateBeforeSeconds": 60})
    pulumi.init()
    pulumi.run("config", "set", "--secret", "databricks:token", workspace.token)
    pulumi.results.clear()
    for path, action in (
        (CREATE, {"status": 400, "message": f"Bearer {workspace.token} may not create {comment}"}),
        (CREATE, {"drop": "after"}),
    ):
        workspace.fault(path, action)
        pulumi.up(*VERBOSE, ok=False)
    workspace.fault(CREATE, {"status": 429, "message": f"Bearer {workspace.token}", "retry_after": "1"})
    pulumi.up(*VERBOSE)
    assert len(workspace.live()) == 2
    workspace.fault(LIST, {"status": 403, "message": f"Bearer {workspace.token}"})
    pulumi.refresh(*VERBOSE, ok=False)
    workspace.fault("/token/", {"status": 400, "message": f"{comment} is not allowed"}, method="PATCH")
    pulumi.token({"comment": {"fn::secret": comment + "2"}, "rotateBeforeSeconds": 60})
    pulumi.up(*VERBOSE, ok=False)
    pulumi.up(*VERBOSE)
    pulumi.export()
    workspace.fault(DELETE, {"status": 403, "html": True, "message": f"Bearer {workspace.token}"})
    pulumi.destroy(*VERBOSE, ok=False)
    # The program itself holds the comment, so it is not searched.
    (pulumi.project_dir / "Pulumi.yaml").unlink()
    hunt(pulumi, [comment, workspace.token])


def test_the_python_example(python_program, pulumi, workspace):
    stack = python_program(lambda: runpy.run_path(str(ROOT / "examples/python/__main__.py")))
    stack.up()
    workspace.fault(LIST, {"status": 400, "message": f"Bearer {workspace.token}"})
    with pytest.raises(Exception) as caught:
        stack.refresh()
    stack.refresh()
    stack.destroy()
    assert len(workspace.tokens()) == 1
    hunt(pulumi, [workspace.token], *stack.output, str(caught.value))


def test_the_yaml_example(pulumi, workspace):
    pulumi.write(runtime="yaml")
    project = pulumi.project_dir / "Pulumi.yaml"
    frame = project.read_text(encoding="utf-8")
    example = (ROOT / "examples/yaml/Pulumi.yaml").read_text(encoding="utf-8")
    project.write_text(example + "\n" + frame[frame.index("plugins:") : frame.index("runtime:")], encoding="utf-8")
    pulumi.init()
    pulumi.up(*VERBOSE)
    assert pulumi.resource()["type"] == TOKEN_TYPE
    pulumi.refresh(*VERBOSE)
    pulumi.destroy(*VERBOSE)
    hunt(pulumi, [workspace.token])
