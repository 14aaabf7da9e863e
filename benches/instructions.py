"""Counts the instructions of the release build: from start to port, and for each call. Needs valgrind.

    scripts/instructions.sh             # fails where a figure has grown by more than 5 %
    scripts/instructions.sh --update    # writes benches/instructions.toml

A call costs what a process that serves more of them needs beyond one that serves fewer, divided by the calls.
"""

import argparse
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from google.protobuf import empty_pb2
from plugin import ROOT, TOKEN, URN, Plugin, start_workspace, struct
from pulumi.runtime.proto import provider_pb2

FIGURES = ROOT / "benches/instructions.toml"
GROWTH = 0.05
# How many calls the two processes serve.
FEW, MANY = 20, 120
INPUTS = struct({"comment": "bench", "lifetimeSeconds": 3600})


def check(plugin, _):
    plugin.stub.Check(provider_pb2.CheckRequest(urn=URN + "c", type=TOKEN, news=INPUTS, olds=INPUTS))


def diff(plugin, made):
    news = struct({"comment": "other", "lifetimeSeconds": 3600})
    plugin.stub.Diff(
        provider_pb2.DiffRequest(id=made.id, urn=URN + "d", type=TOKEN, olds=made.properties, old_inputs=INPUTS, news=news)
    )


def create(plugin, _):
    return plugin.stub.Create(provider_pb2.CreateRequest(urn=URN + "n", type=TOKEN, properties=INPUTS))


def read(plugin, made):
    request = provider_pb2.ReadRequest(id=made.id, urn=URN + "r", type=TOKEN, properties=made.properties, inputs=INPUTS)
    assert plugin.stub.Read(request).id == made.id


CALLS = {"check": check, "diff": diff, "create": create, "read": read}


def instructions(path, work):
    """Of a process that does the work, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        # One worker thread: how work moves between several is a matter of luck.
        env = {"PATH": "/usr/bin:/bin", "HOME": folder, "TOKIO_WORKER_THREADS": "1"}
        valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"]
        with Plugin([*valgrind, path], env) as plugin:
            work(plugin)
        return int(re.search(r"Collected : (\d+)", log.read_text())[1])


def serving(call, count, host, token):
    def work(plugin):
        plugin.handshake()
        plugin.configure(host=host, token=token, rateLimit="100000")
        made = create(plugin, None)
        for _ in range(count):
            call(plugin, made)
        plugin.stub.Cancel(empty_pb2.Empty())

    return work


def measure(args):
    figures = {"start": instructions(args.plugin, lambda plugin: None)}
    for name, call in CALLS.items():
        # Each call has a workspace of its own, with as many tokens as it makes.
        with start_workspace(args.workspace) as (host, token):
            few, many = (instructions(args.plugin, serving(call, count, host, token)) for count in (FEW, MANY))
        figures[name] = (many - few) // (MANY - FEW)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", default=ROOT / "target/release/pulumi-resource-databricks")
    parser.add_argument("--workspace", default=ROOT / "target/release/databricks-local-workspace")
    parser.add_argument("--update", action="store_true", help="write the figures instead of comparing them")
    args = parser.parse_args()
    committed = tomllib.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    if not args.update and not committed:
        print("NOT CHECKED: instructions, of which no figures are committed; scripts/instructions.sh --update writes them")
        return
    if not args.update and committed["machine"] != platform.machine():
        print(f"NOT CHECKED: instructions, which are counted on {committed['machine']} and not on {platform.machine()}")
        return
    figures = measure(args)
    if args.update:
        rows = "".join(f"{name} = {figures[name]}\n" for name in figures)
        FIGURES.write_text(
            "# Instructions of the release build: from its start to its port and to its end, and for each call.\n"
            "# scripts/instructions.sh compares them, and writes them with --update.\n"
            f'machine = "{platform.machine()}"\n\n[instructions]\n{rows}'
        )
    before = committed.get("instructions", {})
    grown = []
    for name, count in figures.items():
        change = count / before[name] - 1 if name in before else 0
        print(f"  {name:8} {count:12,} {change:+8.1%}")
        if change > GROWTH:
            grown.append(name)
    if grown and not args.update:
        sys.exit(
            f"error: more than {GROWTH:.0%} above benches/instructions.toml: {', '.join(grown)}. If that is worth it, "
            "run `scripts/instructions.sh --update` and commit the file"
        )


main()
