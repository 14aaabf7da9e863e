"""Counts the instructions of the release build: from start to port, and for each call. Needs valgrind.

    scripts/instructions.sh             # fails where a figure has grown by more than 5 %
    scripts/instructions.sh --update    # writes benches/instructions.toml

The cost of a call is what a process that serves more of these calls needs beyond a process that serves a few of each
kind, divided by the number of additional calls. The compiler and the C library contribute to the figures, so a figure is
compared only with one of the same compiler and C library.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from processes import ENVIRONMENT, ROOT, Plugin, start_workspace

FIGURES = ROOT / "benches/instructions.toml"
GROWTH = 0.05
# How many calls of each kind a process serves, and how many more of one kind.
FEW, MORE = 10, 100
PAUSE = 0.005

CALLS = {
    "schema": lambda provider, _: provider.schema(),
    "check": lambda provider, _: provider.check(),
    "diff": lambda provider, made: provider.diff(made),
    "create": lambda provider, _: provider.create(),
    "read": lambda provider, made: provider.read(made),
}


def instructions(path, work):
    """The instructions of a process that does the work, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        # One worker thread: how work moves between several is a matter of luck.
        env = ENVIRONMENT | {"HOME": folder, "TOKIO_WORKER_THREADS": "1"}
        valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"]
        with Plugin([*valgrind, path], env) as plugin:
            work(plugin.provider)
        return int(re.search(r"Collected : (\d+)", log.read_text())[1])


def serve(args, more):
    """Instructions of a process that serves a few calls of each kind, and more of one kind; with None, no calls."""
    if more is None:
        return instructions(args.plugin, lambda _: None)

    def work(provider):
        provider.handshake()
        provider.configure(workspace)
        # The only token besides those of the create calls, so lists have the same length in all processes except the
        # one with more creates.
        made = provider.create()
        for name, call in CALLS.items():
            for _ in range(FEW + (MORE if name == more else 0)):
                # Work that the last call left behind ends before this one: done together, both would cost less.
                time.sleep(PAUSE)
                call(provider, made)
        provider.cancel()

    with start_workspace(args.workspace) as workspace:
        return instructions(args.plugin, work)


def measure(args):
    # What else the machine does changes no count, so all its processors may work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        start, few, *more = pool.map(lambda more: serve(args, more), [None, "", *CALLS])
    return {"start": start} | {name: (count - few) // MORE for name, count in zip(CALLS, more)}


def circumstances():
    """What the figures depend on besides the source."""
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return {"machine": platform.machine(), "rustc": compiler, "libc": "-".join(platform.libc_ver())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", default=ROOT / "target/release/pulumi-resource-databricks")
    parser.add_argument("--workspace", default=ROOT / "target/debug/databricks-local-workspace")
    parser.add_argument("--update", action="store_true", help="write the figures instead of comparing them")
    args = parser.parse_args()
    committed = tomllib.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    here = circumstances()
    if not args.update:
        for name, value in here.items():
            if committed[name] != value:
                print(f"NOT CHECKED: instructions, which were counted with {name} {committed[name]} and not with {value}")
                return
    figures = measure(args)
    if args.update:
        head = "".join(f'{name} = "{value}"\n' for name, value in here.items())
        rows = "".join(f"{name} = {count}\n" for name, count in figures.items())
        FIGURES.write_text(
            "# Instructions of the release build: from its start to its port and to its end, and for each call.\n"
            f"# scripts/instructions.sh compares them, and writes them with --update.\n{head}\n[instructions]\n{rows}"
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
