"""Runs a provider configuration through the plugin and through the Databricks SDKs, and reports what each of them sent.

Every run has an environment of its own, a home directory of its own, and a server that answers in place of every
host: directly at 127.0.0.1, as an HTTP proxy, and behind TLS with a certificate authority of the tests. The authority is
named by SSL_CERT_FILE, which the SDK for Go heeds on Linux only.
"""

import base64
import datetime
import http.server
import json
import queue
import re
import shutil
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support_agreement_plugin import list_tokens

ROOT = Path(__file__).resolve().parents[2]
AGREEMENT = ROOT / "tests" / "agreement"
# How long one client may take; the slowest case needs about a second.
PATIENCE = 40

# Headers by which a request is signed and routed.
SIGNED = (
    "authorization",
    "x-databricks-azure-sp-management-token",
    "x-databricks-azure-workspace-resource-id",
    "x-databricks-gcp-sa-access-token",
    "x-databricks-workspace-id",
    "x-databricks-org-id",
)
# Headers that count in a request for a token.
ASKED = ("authorization", "metadata", "x-databricks-metadata-version", "x-databricks-host")

LIST = "/api/2.0/token/list"
# Documents that say where to ask. Which clients read them, and how often, is their own affair; where they then ask is
# compared.
DOCUMENTS = ("/.well-known/databricks-config", "/.well-known/oauth-authorization-server")

# What an error is about, by its text. Groups are compared too.
ERRORS = [
    ("conflict", r"more than one authorization method configured: ([\w-]+(?: and [\w-]+)+)"),
    ("reserved-section", r"(__settings__) is a reserved section name"),
    ("no-profile", r"has no (.+?) profile configured"),
    ("profile-syntax", r"cannot parse config file"),
    ("profile-value", r"resolve: \S+ (.+?) profile: "),
    ("environment-value", r"resolve: strconv\.|environment variable \w+: expected"),
    ("unknown-auth-type", r'auth type "(.+?)" not found'),
    ("no-credentials", r"cannot configure default credentials"),
    ("not-configured", r"([\w-]+) auth: not configured"),
    ("workspace-mismatch", r"workspace_id mismatch"),
    ("no-host", r"no (?:usable )?host configured"),
    ("account-console", r"the host is an account console"),
    ("failed", r"(?:default|[\w-]+) auth: |error getting token: |POST \S+: \d+ "),
]


class Authority:
    """A certificate authority that vouches for every host name that is asked for."""

    def __init__(self, folder):
        self.folder, self.contexts, self.lock = folder, {}, threading.Lock()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "agreement tests")])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        self.certificate = self.sign(self.name, x509.BasicConstraints(ca=True, path_length=None), usage)
        self.path = folder / "authority.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, name, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def context(self, host):
        """What a server needs to be taken for this host."""
        with self.lock:
            if host not in self.contexts:
                name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
                leaf = self.sign(
                    name,
                    x509.BasicConstraints(ca=False, path_length=None),
                    x509.SubjectAlternativeName([x509.DNSName(host)]),
                    x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]),
                )
                path = self.folder / f"{len(self.contexts)}.pem"
                path.write_bytes(
                    leaf.public_bytes(serialization.Encoding.PEM)
                    + self.key.private_bytes(
                        serialization.Encoding.PEM,
                        serialization.PrivateFormat.PKCS8,
                        serialization.NoEncryption(),
                    )
                )
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(path)
                self.contexts[host] = context
            return self.contexts[host]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tunnel = None

    def log_message(self, *_):
        pass

    def handle(self):
        # Clients drop connections whenever they like.
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass

    def do_CONNECT(self):
        self.tunnel = self.path.rsplit(":", 1)[0]
        self.send_response(200, "Connection established")
        self.end_headers()
        secured = self.server.recorder.authority.context(self.tunnel).wrap_socket(self.connection, server_side=True)
        self.connection, self.rfile = secured, secured.makefile("rb")
        self.wfile = socketserver._SocketWriter(secured)
        self.close_connection = False

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        if self.tunnel:
            url = url._replace(scheme="https", netloc=self.headers["host"].removesuffix(":443"))
        elif not url.netloc:
            url = url._replace(scheme="http", netloc=self.headers["host"])
        reply = self.server.recorder.request(self.command, url, self.headers, self.body())
        body = reply.get("body", "")
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(reply.get("status", 200))
        for name, value in {"content-type": "application/json", **reply.get("headers", {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

    def body(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body


class Recorder:
    """A server in place of every host. It keeps the requests."""

    def __init__(self, authority, answers):
        self.authority, self.requests, self.lock = authority, [], threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.recorder = self
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.answers = answers
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def taken(self):
        """The requests since the last time that somebody looked."""
        with self.lock:
            requests, self.requests = self.requests, []
            return requests

    def request(self, method, url, headers, body):
        headers = {name.lower(): value for name, value in headers.items()}
        form = urllib.parse.parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        seen = {"method": method, "url": url, "headers": headers, "body": body.decode(errors="replace"), "form": form}
        with self.lock:
            self.requests.append(seen)
        where = f"{method} {url.scheme}://{url.netloc}{url.path}".replace(f"http://{self.address}", "<host>")
        return self.answers.get(where) or default_answer(method, url, dict(form), self.address)


def default_answer(method, url, form, address):
    """What a Databricks workspace, and the services that sign in for it, answer where a case says nothing else."""
    origin = f"{url.scheme}://{url.netloc}"
    query = dict(urllib.parse.parse_qsl(url.query))
    in_an_hour = int(time.time()) + 3600
    match method, url.path:
        case "GET", "/api/2.0/token/list":
            return {"body": {"token_infos": []}}
        case "GET", "/oidc/.well-known/oauth-authorization-server":
            oidc = f"{origin}/oidc/v1"
            return {"body": {"authorization_endpoint": f"{oidc}/authorize", "token_endpoint": f"{oidc}/token"}}
        case "POST", path if re.fullmatch(r"/oidc(/accounts/[\w-]+)?/v1/token", path):
            what = form.get("scope", "nothing")
            return {"body": {"access_token": f"oauth {what}".replace(" ", "-"), "token_type": "Bearer", "expires_in": 3600}}
        case "POST", path if path.endswith("/oauth2/token") and "microsoftonline" in url.netloc:
            token = f"entra-{slug(form.get('resource', ''))}"
            return {"body": {"access_token": token, "token_type": "Bearer", "expires_in": "3600", "expires_on": str(in_an_hour)}}
        case "GET", "/metadata/identity/oauth2/token":
            token = f"msi-{slug(query.get('resource', ''))}"
            return {"body": {"access_token": token, "token_type": "Bearer", "expires_on": str(in_an_hour)}}
        case "GET", "/aad/auth":
            return {"status": 302, "headers": {"location": "https://login.microsoftonline.com/the-tenant/oauth2/authorize?x=1"}}
    return {"status": 404, "body": {"error_code": "ENDPOINT_NOT_FOUND", "message": f"no API at {method} {url.path}"}}


def slug(text):
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


class Laboratory:
    """What all cases share: the programs, the certificate authority, and processes with the SDK for Python loaded."""

    def __init__(self, plugin, go_sdk):
        self.plugin, self.go_sdk = plugin, go_sdk
        self.folder = Path(tempfile.mkdtemp(prefix="agreement-"))
        self.authority = Authority(self.folder)
        self.google_key = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # Loading the SDK for Python takes seconds, so two processes have it loaded and fork for each case.
        self.python_sdks = queue.Queue()
        for _ in range(2):
            command = [sys.executable, "-m", "support_agreement_python"]
            self.python_sdks.put(
                subprocess.Popen(command, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )

    def close(self):
        while not self.python_sdks.empty():
            self.python_sdks.get().communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, case):
        """Runs a case through every client, and returns what each did, by the client's name."""
        return Bench(self, case).run()


class Bench:
    """One case: its home directory, its environment, its server."""

    def __init__(self, laboratory, case):
        self.laboratory, self.case = laboratory, case
        self.home = Path(tempfile.mkdtemp(dir=laboratory.folder))
        self.programs = self.home / "bin"
        self.programs.mkdir()
        self.recorder = Recorder(laboratory.authority, {})
        self.recorder.answers = self.expand(case.get("serves", {}))
        self.env = {"HOME": str(self.home), "PATH": str(self.programs)}
        if case.get("proxy"):
            # Every host name leads to the server, except its own.
            proxy = f"http://{self.recorder.address}"
            self.env |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1"}
            self.env |= {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "127.0.0.1"}
            self.env |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(laboratory.authority.path))
        self.env |= self.expand(case.get("env", {}))
        self.config = self.expand(case.get("config", {}))
        files = dict(case.get("files", {}))
        if "profile" in case:
            files[".databrickscfg"] = case["profile"]
        for name, text in files.items():
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.expand(text).encode())
        for name, text in case.get("programs", {}).items():
            path = self.programs / name
            script = f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"$HOME/commands"\n{self.expand(text)}\nexit 0\n'
            # The SDKs take a `databricks` of less than a megabyte for the one that was written in Python.
            path.write_text(script + "#" * (1 << 20 if name == "databricks" else 0))
            path.chmod(0o755)

    def expand(self, it):
        if isinstance(it, dict):
            return {self.expand(key): self.expand(value) for key, value in it.items()}
        if isinstance(it, list):
            return [self.expand(item) for item in it]
        if not isinstance(it, str):
            return it
        soon = time.time() + 3600
        if it == "<in an hour>":
            return int(soon)
        marks = {
            "<host>": f"http://{self.recorder.address}",
            "<address>": self.recorder.address,
            "<port>": self.recorder.address.rsplit(":", 1)[1],
            "<home>": str(self.home),
            "<in an hour, as text>": str(int(soon)),
            "<in an hour, RFC 3339>": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(soon)),
            "<in an hour, local>": time.strftime("%Y-%m-%d %H:%M:%S.000000", time.localtime(soon)),
            "<google key>": json.dumps(self.laboratory.google_key.decode())[1:-1],
            "<identity of google>": identity_token(soon),
        }
        for mark, text in marks.items():
            # The keys of answers keep the mark: the server compares with it.
            if not (mark == "<host>" and re.match(r"(GET|POST) <host>/", it)):
                it = it.replace(mark, text)
        return it

    def run(self):
        try:
            clients = {"plugin": self.plugin, "go": self.go, "python": self.python}
            return {name: self.outcome(client) for name, client in clients.items()}
        finally:
            self.recorder.close()

    def outcome(self, client):
        """What a client did, in a form that depends on no port and no folder."""
        commands = self.home / "commands"
        commands.unlink(missing_ok=True)
        self.recorder.taken()
        error = client()
        requests = self.recorder.taken()
        listed = [request for request in requests if request["url"].path == LIST]
        asked = [
            self.asked(request)
            for request in requests
            if request["url"].path != LIST and not request["url"].path.endswith(DOCUMENTS)
        ]
        outcome = {
            "error": None,
            "auth": None,
            "host": None,
            "headers": None,
            "asked": unique(asked),
            "commands": unique(commands.read_text().splitlines()) if commands.exists() else [],
        }
        if error is not None:
            outcome |= self.error(error)
        elif listed:
            last = listed[-1]
            agent = re.search(r" auth/(\S+)", last["headers"].get("user-agent", ""))
            outcome |= {
                "auth": agent and agent[1],
                # Host names are not case-sensitive.
                "host": f"{last['url'].scheme}://{last['url'].netloc.lower()}",
                "headers": {name: last["headers"][name] for name in SIGNED if name in last["headers"]},
            }
            for name, value in outcome["headers"].items():
                if name == "authorization":
                    outcome["headers"][name] = authorization(value)
        else:
            outcome["error"] = ["nothing", "no error, and no request for the list"]
        return self.neutral(outcome)

    def asked(self, request):
        url, headers = request["url"], request["headers"]
        return {
            "method": request["method"],
            "url": f"{url.scheme}://{url.netloc}{url.path}",
            "query": sorted(urllib.parse.parse_qsl(url.query, keep_blank_values=True)),
            "body": content(request),
            "headers": {name: authorization(headers[name]) for name in ASKED if name in headers},
        }

    def error(self, text):
        for name, pattern in ERRORS:
            if found := re.search(pattern, text):
                about = [name, *found.groups()]
                break
        else:
            about = ["unknown", text]
        stated = re.search(r"Config: ([^\n]*?)(?:\. Env: ([^\n]*))?(?:\n|$)", text)
        return {"error": about, "config": stated and stated[1], "env": stated and stated[2], "text": text}

    def neutral(self, it):
        if isinstance(it, dict):
            return {name: self.neutral(value) for name, value in it.items()}
        if isinstance(it, (list, tuple)):
            return [self.neutral(item) for item in it]
        if not isinstance(it, str):
            return it
        it = it.replace(f"http://{self.recorder.address}", "<host>").replace(self.recorder.address, "<address>")
        return it.replace(str(self.home), "<home>").replace(str(self.laboratory.folder), "<folder>")

    def go(self):
        # The SDKs know an attribute by the name that it has in profiles.
        stated = {ini(name): value for name, value in self.config.items()}
        done = subprocess.run(
            [self.laboratory.go_sdk], env=self.env, input=json.dumps(stated), capture_output=True, text=True,
            timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["error"]

    def python(self):
        # The SDK for Python has two names of its own.
        own = {"databricks_id_token_filepath": "oidc_token_filepath", "audience": "token_audience"}
        stated = {own.get(ini(name), ini(name)): value for name, value in self.config.items()}
        sdk = self.laboratory.python_sdks.get()
        try:
            print(json.dumps([self.env, stated, PATIENCE]), file=sdk.stdin, flush=True)
            return json.loads(sdk.stdout.readline())
        finally:
            self.laboratory.python_sdks.put(sdk)

    def plugin(self):
        return list_tokens(self.laboratory.plugin, self.env, self.config, PATIENCE)


def ini(name):
    return re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def unique(items):
    return [item for at, item in enumerate(items) if item not in items[:at]]


def authorization(value):
    """Basic credentials are compared by what they say."""
    kind, _, credential = value.partition(" ")
    if kind != "Basic":
        return value
    return f"Basic {base64.b64decode(credential).decode(errors='backslashreplace')}"


def content(request):
    """The body of a request, a form or JSON: equal where it means the same."""
    if request["body"].startswith("{"):
        return {name: value for name, value in json.loads(request["body"]).items() if value is not None}
    return sorted((name, claims(value)) for name, value in request["form"])


def claims(value):
    """A signed token is compared by its header and claims, without the time."""
    parts = value.split(".")
    if len(parts) != 3 or not value.startswith("eyJ"):
        return value
    header, body = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    body["lifetime"] = body.pop("exp", 0) - body.pop("iat", 0)
    return json.dumps([header, body], sort_keys=True)


def identity_token(expires):
    def part(it):
        return base64.urlsafe_b64encode(json.dumps(it).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part({'exp': int(expires), 'aud': 'x'})}.c2lnbmF0dXJl"
