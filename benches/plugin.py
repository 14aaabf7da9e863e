"""Measures the plugin from outside, as the engine sees it, and writes docs/performance.md.

    make bench                                      # the release build, and the floors
    make bench ARGS="--against PATH"                # and another databricks plugin, such as the official one
    make bench ARGS="--rounds 1 --engine 100"       # quicker: fewer rounds, fewer stacks for the real engine
    make bench ARGS="--page"                        # the page alone, from the figures of the last run

The floors are a provider that answers every call at once with what it was sent, and a bare loop of HTTP requests (see
benches/floor). Everything takes turns within each round, so that a machine whose speed drifts favours nobody, and every
figure is the median of the rounds, with the lowest and the highest. Costs of a call are processor time of the plugin's
own process: whatever calls it has its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import page
from engine import operate
from processes import ROOT, Plugin, start_workspace

RESULTS = ROOT / "target/bench/results.json"
# How many tokens a user may have in a workspace; more go to several workspaces.
QUOTA = 600
SIZES = (1, 10, 100, 600, 2000)
CALLS = 1000
# How many tokens the measurements of single calls make, which is within the quota.
TOKENS = 400
SCHEMAS = 100
# How many calls the engine makes at a time on a machine with four processors.
AT_A_TIME = 16


def start_up(path):
    with Plugin([path]) as plugin:
        cpu, provider = plugin.cpu(), plugin.provider
        provider.handshake()
        figures = {"start": plugin.start * 1e3, "start_cpu": cpu * 1e3, "memory": plugin.memory()}
        began = plugin.cpu()
        for _ in range(SCHEMAS):
            provider.schema()
        return figures | {"schema_cpu": (plugin.cpu() - began) / SCHEMAS * 1e6}


def calls(path, workspace):
    """Processor time of each call, in microseconds, one after the other."""
    with Plugin([path]) as plugin:
        provider = plugin.provider
        provider.handshake()
        provider.configure(workspace)

        def each(call, items):
            items = list(items)
            began = plugin.cpu()
            answers = [call(item) for item in items]
            return (plugin.cpu() - began) / len(items) * 1e6, answers

        first = provider.create()
        provider.read(first)
        provider.check()
        provider.diff(first)
        check, _ = each(lambda _: provider.check(), range(CALLS))
        diff, _ = each(lambda _: provider.diff(first), range(CALLS))
        create, made = each(lambda _: provider.create(), range(TOKENS))
        read, _ = each(provider.read, made)
        delete, _ = each(provider.delete, made)
        provider.delete(first)
        provider.cancel()
        return {"check_cpu": check, "diff_cpu": diff, "create_cpu": create, "read_cpu": read, "delete_cpu": delete}


def stack(path, program, size):
    """Creates, refreshes and deletes `size` tokens in one process, over as many workspaces as they need."""
    with ExitStack() as started:
        workspaces = [started.enter_context(start_workspace(program)) for _ in range(-(-size // QUOTA))]
        plugin = started.enter_context(Plugin([path]))
        # Each workspace is a provider, which is a connection to the one process.
        providers = [started.enter_context(closing(plugin.connect())) for _ in workspaces]
        pool = started.enter_context(ThreadPoolExecutor(AT_A_TIME))
        figures = {}

        def command(name, call, items):
            for provider, workspace in zip(providers, workspaces):
                provider.handshake()
                provider.configure(workspace)
                workspace.forget_requests()
            began, cpu = time.perf_counter(), plugin.cpu()
            answers = list(pool.map(call, items))
            figures[f"{name}_ms"] = (time.perf_counter() - began) * 1e3
            figures[f"{name}_cpu"] = (plugin.cpu() - cpu) * 1e3
            figures[f"{name}_requests"] = sum(workspace.requests() for workspace in workspaces)
            for provider in providers:
                provider.cancel()
            return answers

        owners = [providers[i % len(providers)] for i in range(size)]
        made = command("create", lambda at: owners[at].create(str(at)), range(size))
        command("refresh", lambda at: owners[at].read(made[at]), range(size))
        command("delete", lambda at: owners[at].delete(made[at]), range(size))
        return figures | {"peak": plugin.memory("VmHWM")}


def loop(program, workspace, method, path, body=None):
    """Processor time of a bare HTTP request, in microseconds: the difference between many requests and few."""
    url, used = workspace.host + path, []
    few = QUOTA // 12
    for count in (few, few + TOKENS):
        command = [program, "requests", str(count), method, url, workspace.token, *([body] if body else [])]
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        used.append(usage.ru_utime + usage.ru_stime)
    return (used[1] - used[0]) / TOKENS * 1e6


def add(found, figures):
    for name, value in figures.items():
        found.setdefault(name, []).append(value)


def measure(args):
    providers = {"ours": str(args.plugin)} | ({"against": args.against} if args.against else {}) | {"floor": str(args.floor)}
    found = {who: {} for who in providers}
    loops = {}
    loads = []
    about = {
        "providers": {
            who: {"bytes": os.path.getsize(path), "linked": linked(path), "version": version(path)}
            for who, path in providers.items()
        },
        "figures": found,
        "loop": loops,
        **machine(args),
    }

    def say(text):
        """Prints what comes next, and saves the results so far, so that a stopped run was not for nothing."""
        loads.append(os.getloadavg()[0])
        about["load"] = [min(loads), statistics.median(loads), max(loads)]
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(about, indent=1))
        print(f"  {text}", flush=True)

    for turn in range(args.rounds):
        with start_workspace(args.workspace) as workspace:
            for who, path in providers.items():
                say(f"round {turn + 1}: start and calls, {who}")
                add(found[who], start_up(path) | calls(path, workspace))
            add(loops, {
                "create": loop(args.floor, workspace, "POST", "/api/2.0/token/create", json.dumps({"comment": "bench"})),
                "list": loop(args.floor, workspace, "GET", "/api/2.0/preview/scim/v2/Me"),
            })
        for size in args.sizes:
            for who, path in providers.items():
                say(f"round {turn + 1}: {size} tokens, {who}")
                add(found[who], {f"{name}/{size}": value for name, value in stack(path, args.workspace, size).items()})
    if args.engine_bin.exists():
        for size in args.engine:
            for turn in range(args.rounds if size <= 100 else min(args.rounds, args.large_rounds)):
                for who, path in providers.items():
                    say(f"round {turn + 1}: {size} tokens with the real engine, {who}")
                    figures = operate(args.engine_bin, path, args.workspace, size, -(-size // QUOTA))
                    add(found[who], {f"engine_{name}/{size}": value for name, value in figures.items()})
    else:
        print(f"NOT MEASURED: the real engine, which is not in {args.engine_bin}: make engine builds it")
    say("the page")


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def version(path):
    return said(path, "--version").removeprefix("v") if "floor" not in Path(path).name else ""


def linked(path):
    """How a program is linked. A dynamic one for Linux names its loader near its beginning."""
    with open(path, "rb") as file:
        head = file.read(4096)
    return "dynamic" if b"/ld-" in head or not head.startswith(b"\x7fELF") else "static"


def machine(args):
    model = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    system = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{len(model)} × {model[0] if model else 'unknown'}, {system['PRETTY_NAME'].strip(chr(34))}",
        "commit": said("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "rustc": said("rustc", "--version").split(" (")[0],
        "engine": said(str(args.engine_bin / "pulumi"), "version"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", type=Path, default=ROOT / "target/release/pulumi-resource-databricks")
    parser.add_argument("--workspace", type=Path, default=ROOT / "target/release/databricks-local-workspace")
    parser.add_argument("--floor", type=Path, default=ROOT / "target/release/bench-floor")
    parser.add_argument("--engine-bin", type=Path, default=ROOT / "target/engine/bin", help="folder of pulumi")
    parser.add_argument("--against", help="another databricks plugin to measure beside it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large-rounds", type=int, default=3, help="rounds of the engine with more than 100 tokens")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="how many tokens over raw gRPC")
    parser.add_argument("--engine", type=int, nargs="*", default=(1, 10, 100, 600), help="how many with the engine")
    parser.add_argument("--page", action="store_true", help="write the page from the last results, and measure nothing")
    args = parser.parse_args()
    if not args.page:
        measure(args)
    page.write(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    main()
