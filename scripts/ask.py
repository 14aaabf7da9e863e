"""Starts the plugin as the engine does, asks it over gRPC for its version and schema, and prints the version.

Usage: target/venv/bin/python scripts/ask.py COMMAND... where COMMAND is the program, after the emulator that runs it on
this machine, if it needs one.
"""

import subprocess
import sys
import threading

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

# The first start under a newly installed emulator takes long.
SECONDS = 180


def main():
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    try:
        port = process.stdout.readline().strip()
        if not port.isdigit():
            sys.exit(f"the program prints {port!r} instead of its port")
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
            plugin = provider_pb2_grpc.ResourceProviderStub(channel)
            version = plugin.GetPluginInfo(empty_pb2.Empty(), timeout=SECONDS).version
            schema = plugin.GetSchema(provider_pb2.GetSchemaRequest(), timeout=SECONDS).schema
        # The schema is the plugin's largest answer, and the version is in it.
        if f'"version":"{version}"' not in schema.replace(" ", ""):
            sys.exit(f"the program's schema is not of version {version}")
        print(version)
    finally:
        timer.cancel()
        process.kill()
        process.wait()


main()
