"""A long life: one attached process serves the operations of hundreds of stacks, and is no bigger after them."""

import os
import pathlib
import signal
import threading
import time
from concurrent import futures

import grpc
import pytest
from conftest import Provider, secret
from support_reliability import CREATE, Case, finish, wait_until

STACKS = 300
WARM_UP = 100
AT_ONCE = 8

# Growth that is allowed, in MiB. A client that stays behind takes some 20 kB with all that it knows, and 200 of them
# take more than this. Connections and threads are counted one by one.
GROWTH = 3


class Process:
    """What the system knows about a process."""

    def __init__(self, pid):
        self.folder = pathlib.Path(f"/proc/{pid}")

    def status(self, name):
        for line in (self.folder / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise KeyError(name)

    @property
    def memory(self):
        return self.status("VmRSS") / 1024

    @property
    def threads(self):
        return self.status("Threads")

    @property
    def files(self):
        return len(os.listdir(self.folder / "fd"))

    def __str__(self):
        return f"{self.memory:.1f} MiB, {self.threads} threads, {self.files} files"


def one_stack(process, workspace, number):
    """A command on a stack of its own, as the engine runs it: with a connection, a configuration and a Cancel."""
    channel = grpc.insecure_channel(
        f"127.0.0.1:{process.port}",
        options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)],
    )
    try:
        provider = Provider(channel)
        provider.handshake(engine_address="127.0.0.1:1")
        config, failures = provider.check_config({"host": workspace.host, "token": workspace.token})
        assert not failures
        provider.configure(**config)
        inputs, failures = provider.check({"comment": f"stack {number}", "lifetimeSeconds": "3600"})
        assert not failures
        token_id, outputs = provider.create(inputs)
        assert provider.read(token_id, inputs, outputs).id == token_id
        assert not provider.diff(token_id, inputs, inputs, outputs).replaces
        provider.delete(token_id, inputs, outputs)
        provider.cancel()
    finally:
        channel.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="needs Linux to look at a process")
def test_hundreds_of_stacks(plugin, workspace, capsys):
    process = plugin()
    seen = Process(process.process.pid)
    fresh = str(seen)
    began = time.monotonic()
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda number: one_stack(process, workspace, number), range(WARM_UP)))
        wait_until(lambda: seen.files < 40, "connections to close")
        warm, memory, threads, files = str(seen), seen.memory, seen.threads, seen.files
        # The workspace would keep them all, and it is not what is measured.
        workspace.reset()
        list(pool.map(lambda number: one_stack(process, workspace, number), range(WARM_UP, STACKS)))
    wait_until(lambda: seen.files <= files, "connections to close")
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{STACKS} stacks in {took:.0f} s: {fresh} at first; {warm} after {WARM_UP}; {seen} at the end")
    assert seen.memory - memory < GROWTH
    assert seen.threads <= threads
    assert len(workspace.tokens()) == STACKS - WARM_UP and workspace.live() == []


def test_cancelled_commands_leave_nothing_behind(plugin, workspace):
    """Commands that end in the middle of a wait or of a create: their tasks, connections and tokens go with them."""
    process = plugin()
    seen = Process(process.process.pid)
    one_stack(process, workspace, 0)
    wait_until(lambda: seen.files < 20, "connections to close")
    files = seen.files
    workspace.fault(CREATE, {"status": 429, "retry_after": "600"}, times=20)
    workspace.fault(CREATE, {"delay_ms": 300, "work": True}, times=20)

    def interrupted(number):
        channel = grpc.insecure_channel(f"127.0.0.1:{process.port}", options=[("grpc.use_local_subchannel_pool", 1)])
        provider = Provider(channel)
        provider.configure(host=workspace.host, token=secret(workspace.token))
        threading.Timer(0.2, provider.cancel if number % 2 else channel.close).start()
        with pytest.raises((grpc.RpcError, ValueError, grpc.FutureCancelledError)):
            provider.create({"comment": str(number)})
            # After a Cancel, a create that is under way ends well; its token is the engine's.
            raise ValueError
        channel.close()

    with futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(interrupted, range(40)))
    wait_until(lambda: seen.files <= files, "connections to close")


@pytest.mark.slow
@pytest.mark.waits
def test_the_end_waits_for_a_request_however_long_it_may_take(tmp_path):
    """A create that has been sent takes more than a minute and a half, as `httpTimeoutSeconds` allows."""
    with Case(tmp_path, httpTimeoutSeconds=200) as case:
        case.workspace.fault(CREATE, {"delay_ms": 95_000, "work": True})
        call = case.start_create(deadline=300)
        case.asked(CREATE)
        case.plugin.process.send_signal(signal.SIGTERM)
        end = finish(call)
        assert case.plugin.process.wait(timeout=60) == 0
        assert case.fate(end) == {"state"}
