"""Measures what passing a call on costs: a plugin through ours, beside the same plugin alone.

    scripts/stand-in.sh && target/venv/bin/python benches/forward.py     # the stand-in of the tests
    ... benches/forward.py --official PATH                               # the official plugin, or any other

Both take turns within each round, so that a machine whose speed drifts does not favour one of them.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent
SCOPE = "databricks:index/secretScope:SecretScope"
URN = f"urn:pulumi:bench::bench::{SCOPE}::s"
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"


def struct(values):
    message = struct_pb2.Struct()
    message.update(values)
    return message


def rate(stub, name, count=1000):
    news = struct({"name": name})
    request = provider_pb2.CheckRequest(urn=URN, type=SCOPE, news=news, olds=struct({}))
    stub.Check(request)
    began = time.perf_counter()
    for _ in range(count):
        stub.Check(request)
    return (time.perf_counter() - began) / count * 1e6


def measure(path, env, secrets):
    # The engine passes its address as the only argument. Nothing listens at this one, so nothing is logged to it.
    with subprocess.Popen(
        [path, "127.0.0.1:1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    ) as process:
        began = time.perf_counter()
        port = int(process.stdout.readline())
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", 400 << 20)])
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        stub.GetPluginInfo(empty_pb2.Empty())
        args = struct({"host": "http://localhost", "token": "bench"})
        stub.Configure(provider_pb2.ConfigureRequest(args=args, acceptSecrets=True))
        stub.Check(provider_pb2.CheckRequest(urn=URN, type=SCOPE, news=struct({"name": "s"}), olds=struct({})))
        first = time.perf_counter()
        stub.GetSchema(provider_pb2.GetSchemaRequest())
        asked = time.perf_counter()
        figures = {
            "start to first Check (ms)": (first - began) * 1000,
            "GetSchema (ms)": (asked - first) * 1000,
            "Check (us)": rate(stub, "s"),
            "Check, 100 kB (us)": rate(stub, "s" * 100_000, 200),
        }
        if secrets:
            figures["Check with a secret (us)"] = rate(stub, {SIGNATURE: SECRET, "value": "s"})
        channel.close()
        process.terminate()
        return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", default=ROOT / "target/release/pulumi-resource-databricks")
    parser.add_argument("--official", default=ROOT / "target/forward/pulumi-resource-databricks")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    figures = {"through ours": {}, "alone": {}}
    with tempfile.TemporaryDirectory() as folder:
        env = {"PATH": os.environ["PATH"], "HOME": folder, "STAND_IN_STATE": folder}
        env["PULUMI_DATABRICKS_OFFICIAL_PLUGIN"] = str(args.official)
        for _ in range(args.rounds):
            # The engine sends no secrets to a plugin that does not accept them.
            for way, path, secrets in [("through ours", args.plugin, True), ("alone", args.official, False)]:
                for name, value in measure(path, env, secrets).items():
                    figures[way].setdefault(name, []).append(value)
    for way, found in figures.items():
        print(f"\n{way}, {args.rounds} rounds: median (lowest, highest)")
        for name, values in found.items():
            print(f"  {name:45} {statistics.median(values):9.1f} ({min(values):.1f}, {max(values):.1f})")


main()
