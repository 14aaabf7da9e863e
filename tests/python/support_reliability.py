"""What the tests of faults share: cases that run at the same time, and what must be true after each of them.

A case has a plugin, a connection and a workspace of its own. Most of its time is waiting, so the cases of a module run
side by side; each test then looks at the end of its case.
"""

import contextlib
import dataclasses
import datetime
import pathlib
import re
import socket
import ssl
import tempfile
import threading
import time
from concurrent import futures

import grpc
import pytest
from conftest import TOKEN_VALUE, LocalWorkspace, Plugin, Provider, init_failed, plain, secret, struct
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pulumi.runtime.proto import provider_pb2

# The comment of every token that a case creates, so that an error can name it.
COMMENT = "case of a fault"
INPUTS = {"comment": COMMENT, "lifetimeSeconds": 3600}

CREATE = "/api/2.0/token/create"
LIST = "/api/2.0/token/list"
DELETE = "/api/2.0/token/delete"
UPDATE = "/api/2.0/token/"


@dataclasses.dataclass
class End:
    """How a call ended: with an id and outputs, or with an error. An ErrorResourceInitFailed has all three."""

    id: str = ""
    outputs: dict = dataclasses.field(default_factory=dict)
    code: grpc.StatusCode = grpc.StatusCode.OK
    text: str = ""


class Case:
    """A plugin with one connection to it, and a workspace."""

    def __init__(self, home, arguments=("-v=9",), engine=None, env=None, **config):
        self.home = pathlib.Path(home)
        self.cleanup = contextlib.ExitStack()
        self.workspace = LocalWorkspace()
        self.cleanup.callback(self.workspace.stop)
        self.plugin = Plugin(self.home, *arguments, engine=engine, env=env)
        self.cleanup.callback(self.plugin.stop)
        self.config = {"host": self.workspace.host, "token": secret(self.workspace.token)} | config
        self.provider = self.connect()

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.cleanup.close()
        shown = TOKEN_VALUE.findall(self.plugin.stdout + self.plugin.stderr)
        assert not shown, f"the plugin's log, which is at its highest level, shows {shown}"

    def connect(self):
        provider = self.plugin.connect()
        provider.handshake()
        provider.configure(**self.config)
        return provider

    def start_create(self, inputs=None, deadline=60, timeout=0):
        """A create under way; `timeout` is the resource's own limit in seconds."""
        properties = struct(INPUTS if inputs is None else inputs)
        request = provider_pb2.CreateRequest(urn=Provider.URN, properties=properties, timeout=timeout)
        return self.provider.stub.Create.future(request, timeout=deadline)

    def create(self, inputs=None):
        return finish(self.start_create(inputs))

    def asked(self, path, count=1):
        """Waits until so many requests of that path have arrived."""
        wait_until(lambda: len(self.workspace.requests(path)) >= count, f"{count} requests of {path}")

    def fate(self, end):
        """What became of every token that was ever made, as a set of words; nothing else may become of one:

        state     the engine got it, with its value
        revoked   the plugin revoked it, by its id
        named     the error names it: its id, its comment, and when it was created
        logged    nobody waited for an answer any more, and the plugin's log names it
        """
        fates = set()
        for token in self.workspace.tokens():
            revocations = [entry for entry in self.workspace.requests(DELETE) if entry["body"]["token_id"] == token["id"]]
            if token["id"] == end.id:
                assert token["live"], "the engine has a token that does not work"
                value = end.outputs["tokenValue"]
                assert self.workspace.accepts(value["value"]), "the engine has a value that does not work"
                fates.add("state")
            elif token["revoked"]:
                assert revocations, "somebody else revoked it"
                fates.add("revoked")
            elif token["id"] in end.text:
                created = datetime.datetime.fromtimestamp(token["creation_time"] // 1000, datetime.UTC)
                for part in (COMMENT, created.strftime("%Y-%m-%d %H:%M:%S UTC"), "evoke"):
                    assert part in end.text, f"{part!r} is missing: {end.text}"
                fates.add("named")
            elif token["id"] in self.plugin.stderr:
                fates.add("logged")
            else:
                pytest.fail(f"leaked: {token['id']}; {end}; {self.plugin.stderr}")
        return fates or {"none"}


def finish(call):
    """Waits for the end of a Create."""
    try:
        response = call.result()
        return End(response.id, plain(response.properties))
    except grpc.FutureCancelledError:
        return End(code=grpc.StatusCode.CANCELLED)
    except grpc.RpcError as error:
        return failed(error)


def failed(error):
    end = End(code=error.code(), text=error.details())
    if "grpc-status-details-bin" in dict(error.trailing_metadata() or ()):
        _, detail = init_failed(error)
        end.id, end.outputs, end.text = detail.id, plain(detail.properties), "; ".join(detail.reasons)
    assert not TOKEN_VALUE.search(end.text), f"an error shows a token: {end.text}"
    return end


def attempt(call, *arguments, **named):
    """The result of a call, or its error as an End."""
    try:
        return call(*arguments, **named)
    except grpc.RpcError as error:
        return failed(error)


def wait_until(condition, what, seconds=40):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


class SideBySide:
    """Runs the selected cases of a module side by side."""

    def __init__(self, request, run, workers=10):
        cases = [
            item.callspec.params["name"]
            for item in request.session.items
            if item.module is request.module and "name" in getattr(item, "callspec", type("", (), {"params": ()})).params
        ]
        self.pool = futures.ThreadPoolExecutor(workers)
        self.ends = {name: self.pool.submit(self._run, run, name) for name in dict.fromkeys(cases)}

    @staticmethod
    def _run(run, name):
        with tempfile.TemporaryDirectory() as home:
            return run(name, home)

    def __getitem__(self, name):
        return self.ends[name].result()

    def stop(self):
        self.pool.shutdown(cancel_futures=True)


def rows(document, heading):
    """The names, in back quotes, that begin the rows of the table below a heading of a document."""
    text = document.read_text(encoding="utf-8")
    section = text.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    return re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)


# --- Servers that are no workspace ---


class Server:
    """A server, on a port of its own if no address is given: `answer` gets each connection."""

    def __init__(self, answer, address=("127.0.0.1", 0)):
        self.answer = answer
        self.seen = []
        self.socket = socket.create_server(address)
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            self.answer(self, connection)

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        # Closing alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def http_server(respond, address=("127.0.0.1", 0), contexts=None):
    """A server that reads requests whole, keeps them in `seen`, and answers each with `respond(head, body)`: status
    line and headers without the last blank line, and body. With TLS contexts by host name, it is also a proxy that answers
    in place of every host."""

    def answer(server, connection):
        reader = connection.makefile("rb")
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = reader.readline()
                if not line:
                    return
                head += line
            if contexts and head.startswith(b"CONNECT "):
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                host = head.split()[1].decode().rsplit(":", 1)[0]
                connection = contexts(host).wrap_socket(connection, server_side=True)
                reader = connection.makefile("rb")
                continue
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = reader.read(int(length[1])) if length else b""
            server.seen.append((head.decode(), body.decode()))
            top, content = respond(head.decode(), body.decode())
            content = content.encode()
            connection.sendall(f"{top}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)

    return Server(answer, address)


def self_signed_server():
    """A TLS server whose certificate no authority has signed. `seen` gets what is said after the handshake."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        file.flush()
        context.load_cert_chain(file.name)

    def answer(server, connection):
        with context.wrap_socket(connection, server_side=True) as secure:
            server.seen.append(secure.recv(1000))

    return Server(answer)


# --- An engine that never takes a reply ---


def create_and_never_read(port, request):
    """Sends a Create over HTTP/2 with a window of no bytes, so that no reply can be delivered. Returns the socket."""

    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def field(name, value):
        # Literal, without indexing, not compressed.
        return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    window_of_none = b"\x00\x04\x00\x00\x00\x00"
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/pulumirpc.ResourceProvider/Create",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    message = request.SerializeToString()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, 0, window_of_none)
        + frame(1, 4, 1, b"".join(field(name, value) for name, value in headers.items()))
        + frame(0, 1, 1, b"\x00" + len(message).to_bytes(4, "big") + message)
    )
    return connection
