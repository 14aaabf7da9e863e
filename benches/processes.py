"""The processes that the measurements start: plugins, called as the engine calls them, and local workspaces."""

import json
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "databricks:index/token:Token"
URN = f"urn:pulumi:bench::bench::{TOKEN}::"
INPUTS = {"comment": "bench", "lifetimeSeconds": 3600}
# More requests a second than anything here sends.
NO_LIMIT = "100000"
# Nothing is inherited from this environment, and this plugin is measured, never the official one behind it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PULUMI_DATABRICKS_OFFICIAL_PLUGIN": "off"}


def struct(values):
    message = struct_pb2.Struct()
    message.update(values)
    return message


class Plugin:
    """A plugin process, to which engines attach, and the provider of its first connection."""

    def __init__(self, command, env=ENVIRONMENT):
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        )
        self.port = int(self.process.stdout.readline())
        self.start = time.perf_counter() - began
        self.provider = self.connect()

    def connect(self):
        """Another provider of the process: a connection of its own."""
        return Provider(self.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.provider.close()
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def cpu(self):
        """Seconds of processor time that the process has used, to the nanosecond, from the clock of its process id."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory(self, what="VmRSS"):
        """MiB of memory that the process holds, or has held at most (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{what}:")[1].split()[0]) / 1024


class Provider:
    """The calls that the engine makes, over one connection."""

    def __init__(self, port):
        options = {
            "grpc.max_receive_message_length": 400 << 20,
            "grpc.use_local_subchannel_pool": 1,
            # No pings that measure the bandwidth: when they are sent depends on timing.
            "grpc.http2.bdp_probe": 0,
        }
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=list(options.items()))
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)

    def close(self):
        self.channel.close()

    def handshake(self):
        self.stub.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address="127.0.0.1:1"))

    def configure(self, workspace):
        args = struct({"host": workspace.host, "token": workspace.token, "rateLimit": NO_LIMIT})
        self.stub.Configure(provider_pb2.ConfigureRequest(args=args, acceptSecrets=True))

    def schema(self):
        return self.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema

    def check(self):
        inputs = struct(INPUTS)
        self.stub.Check(provider_pb2.CheckRequest(urn=URN + "c", type=TOKEN, news=inputs, olds=inputs))

    def diff(self, made):
        news = struct(INPUTS | {"comment": "other"})
        request = provider_pb2.DiffRequest(
            id=made.id, urn=URN + "d", type=TOKEN, olds=made.properties, old_inputs=struct(INPUTS), news=news
        )
        self.stub.Diff(request)

    def create(self, name="n"):
        return self.stub.Create(provider_pb2.CreateRequest(urn=URN + name, type=TOKEN, properties=struct(INPUTS)))

    def read(self, made):
        request = provider_pb2.ReadRequest(
            id=made.id, urn=URN + "r", type=TOKEN, properties=made.properties, inputs=struct(INPUTS)
        )
        assert self.stub.Read(request).id == made.id, "a token is gone"

    def delete(self, made):
        request = provider_pb2.DeleteRequest(id=made.id, urn=URN + "x", type=TOKEN, properties=made.properties)
        self.stub.Delete(request)

    def cancel(self):
        self.stub.Cancel(empty_pb2.Empty())


class Workspace:
    """A local workspace that counts requests."""

    _opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __init__(self, host, token):
        self.host, self.token = host, token

    def _control(self, path, method="GET"):
        request = urllib.request.Request(f"{self.host}/local/control{path}", method=method)
        with self._opener.open(request) as answer:
            return json.load(answer)

    def forget_requests(self):
        self._control("/requests", "DELETE")

    def requests(self):
        return len(self._control("/requests")["requests"])


@contextmanager
def start_workspace(path):
    command = [path, "--quota", "100000", "--exit-on-stdin-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Workspace(*(process.stdout.readline().strip().split("=", 1)[1] for _ in range(2)))
        finally:
            process.terminate()
