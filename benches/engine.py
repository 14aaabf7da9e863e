"""`pulumi up`, refresh and destroy of many tokens with the real engine: time, processor time and requests of each."""

import os
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from processes import ENVIRONMENT, NO_LIMIT, start_workspace


def program(folder, size, workspaces, limit):
    """A project in YAML: a provider for each workspace, and tokens that use the providers in turn."""
    lines = ["name: bench", "runtime: yaml", "plugins:", "  providers:", f"    - {{name: databricks, path: {folder}}}"]
    lines.append("resources:")
    for at, workspace in enumerate(workspaces):
        settings = f"host: '{workspace.host}', token: '{workspace.token}', rateLimit: {limit}"
        lines.append(f"  p{at}: {{type: 'pulumi:providers:databricks', properties: {{{settings}}}}}")
    for at in range(size):
        properties = f"properties: {{comment: 'bench {at}', lifetimeSeconds: 3600}}"
        options = f"options: {{provider: '${{p{at % len(workspaces)}}}'}}"
        lines.append(f"  t{at}: {{type: 'databricks:Token', {properties}, {options}}}")
    return "\n".join(lines) + "\n"


def operate(engine_bin, plugin, workspace_bin, size, count, limit=NO_LIMIT):
    with ExitStack() as started:
        scratch = Path(started.enter_context(tempfile.TemporaryDirectory()))
        workspaces = [started.enter_context(start_workspace(workspace_bin)) for _ in range(count)]
        for name in ("project", "state", "plugin"):
            (scratch / name).mkdir()
        # The engine finds a plugin by the name of its program.
        (scratch / "plugin/pulumi-resource-databricks").symlink_to(Path(plugin).resolve())
        (scratch / "project/Pulumi.yaml").write_text(program(scratch / "plugin", size, workspaces, limit))
        env = ENVIRONMENT | {
            "HOME": str(scratch),
            "PATH": f"{engine_bin}:/usr/bin:/bin",
            "PULUMI_HOME": str(scratch / "home"),
            "PULUMI_BACKEND_URL": f"file://{scratch}/state",
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

        def pulumi(*arguments):
            """Runs a command. Returns its seconds, and the seconds of processor time of it and of what it started."""
            command = [str(engine_bin / "pulumi"), *arguments, "--non-interactive", "--stack", "bench"]
            with open(scratch / "log", "w") as log:
                began = time.perf_counter()
                process = subprocess.Popen(
                    command, env=env, cwd=scratch / "project", stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
                _, status, usage = os.wait4(process.pid, 0)
                took = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{(scratch / 'log').read_text()[-2000:]}")
            return took, usage.ru_utime + usage.ru_stime

        pulumi("stack", "init")
        figures = {}
        for operation in ("up", "refresh", "destroy"):
            for workspace in workspaces:
                workspace.forget_requests()
            took, used = pulumi(operation, "--yes", "--skip-preview")
            figures[f"{operation}_s"], figures[f"{operation}_cpu"] = took, used
            figures[f"{operation}_requests"] = sum(workspace.requests() for workspace in workspaces)
        return figures
