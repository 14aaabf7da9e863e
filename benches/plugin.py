"""Measures the plugin from outside, as the engine sees it: start-up, calls, memory, requests.

    make bench                                  # the release build
    make bench ARGS="--against PATH"            # paired with another build of a databricks plugin

Every figure is the median of several rounds. With --against the two plugins take turns within each round, so that a
machine whose speed drifts does not favour one of them.
"""

import argparse
import os
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "databricks:index/token:Token"
URN = f"urn:pulumi:bench::bench::{TOKEN}::"


class Plugin:
    """A plugin process, attached, and a connection to it."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        )
        port = int(self.process.stdout.readline())
        options = [("grpc.max_receive_message_length", 400 << 20)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)

    def handshake(self):
        self.stub.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address="127.0.0.1:1"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.process.terminate()
        self.process.wait()

    def configure(self, **args):
        self.stub.Configure(provider_pb2.ConfigureRequest(args=struct(args), acceptSecrets=True))

    def memory_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def start_workspace(path):
    """A local workspace: its host and its first token."""
    workspace = subprocess.Popen([path, "--quota", "100000"], stdout=subprocess.PIPE, text=True)
    try:
        yield tuple(workspace.stdout.readline().strip().split("=", 1)[1] for _ in range(2))
    finally:
        workspace.terminate()
        workspace.wait()


def struct(values):
    message = struct_pb2.Struct()
    message.update(values)
    return message


def start_up(path, env):
    began = time.perf_counter()
    with Plugin([path], env) as plugin:
        plugin.handshake()
        ready = time.perf_counter()
        schema = plugin.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema
        done = time.perf_counter()
        return {
            "start to Handshake (ms)": (ready - began) * 1000,
            "GetSchema (ms)": (done - ready) * 1000,
            "schema (kB)": len(schema) / 1000,
            "memory after GetSchema (MiB)": plugin.memory_mib(),
        }


def calls(path, env, host, token):
    inputs = struct({"comment": "bench", "lifetimeSeconds": 3600})
    with Plugin([path], env) as plugin:
        plugin.handshake()
        plugin.configure(host=host, token=token, rateLimit="100000")
        check = provider_pb2.CheckRequest(urn=URN + "c", type=TOKEN, news=inputs, olds=struct({}))
        plugin.stub.Check(check)
        began = time.perf_counter()
        for _ in range(1000):
            plugin.stub.Check(check)
        one_by_one = 1000 / (time.perf_counter() - began)

        def create(i):
            request = provider_pb2.CreateRequest(urn=f"{URN}{i}", type=TOKEN, properties=inputs)
            return plugin.stub.Create(request)

        with ThreadPoolExecutor(16) as pool:
            began = time.perf_counter()
            created = list(pool.map(create, range(300)))
            creates = 300 / (time.perf_counter() - began)

            def read(reply):
                request = provider_pb2.ReadRequest(
                    id=reply.id, urn=URN + "r", type=TOKEN, properties=reply.properties, inputs=inputs
                )
                return plugin.stub.Read(request).id

            began = time.perf_counter()
            assert all(pool.map(read, created))
            reads = 300 / (time.perf_counter() - began)
            memory = plugin.memory_mib()

            def delete(reply):
                plugin.stub.Delete(
                    provider_pb2.DeleteRequest(id=reply.id, urn=URN + "d", type=TOKEN, properties=reply.properties)
                )

            list(pool.map(delete, created))
        plugin.stub.Cancel(empty_pb2.Empty())
        return {
            "Check, one by one (calls/s)": one_by_one,
            "Create, 16 at a time (calls/s)": creates,
            "Read, 16 at a time, 300 tokens (calls/s)": reads,
            "memory after 300 creates and reads (MiB)": memory,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", default=ROOT / "target/release/pulumi-resource-databricks")
    parser.add_argument("--workspace", default=ROOT / "target/release/databricks-local-workspace")
    parser.add_argument("--against", help="another databricks plugin to pair with")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    plugins = [str(args.plugin)] + ([args.against] if args.against else [])

    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    with start_workspace(args.workspace) as (host, token):
        figures = {path: {} for path in plugins}
        for _ in range(args.rounds):
            for path in plugins:
                for name, value in (start_up(path, env) | calls(path, env, host, token)).items():
                    figures[path].setdefault(name, []).append(value)

    for path in plugins:
        print(f"\n{path} ({os.path.getsize(path) / 1e6:.1f} MB), {args.rounds} rounds: median (lowest, highest)")
        for name, values in figures[path].items():
            print(f"  {name:45} {statistics.median(values):9.1f} ({min(values):.1f}, {max(values):.1f})")
    if len(plugins) == 2:
        print("\nfirst / second, pair by pair: median")
        for name in figures[plugins[0]]:
            ratios = [a / b for a, b in zip(figures[plugins[0]][name], figures[plugins[1]][name])]
            print(f"  {name:45} {statistics.median(ratios):9.2f}")


if __name__ == "__main__":
    main()
