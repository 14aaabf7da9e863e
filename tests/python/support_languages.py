"""The examples as their users run them: copied out of this checkout, with the SDKs built and installed."""

import fcntl
import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, TOKEN_TYPE, TOKEN_VALUE, Pulumi, Result, engine_bin_dir, plugin_bin

EXAMPLES = ROOT / "examples"
CACHE = ROOT / "target/languages"

# Where the program of each language stands in its example, and where a program from elsewhere goes to be checked.
PROGRAMS = {
    "yaml": "Pulumi.yaml",
    "python": "__main__.py",
    "typescript": "index.ts",
    "go": "main.go",
    "java": "src/main/java/example/App.java",
    "csharp": "Program.cs",
}

# The environment before a fixture takes it away from the programs under test: compilers and package managers need it.
TOOLS_ENVIRONMENT = dict(os.environ)

VENV_PYTHON = CACHE / "python/venv/bin/python"

SCHEMA = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))
RESOURCES = SCHEMA["resources"]


def page(resource):
    """The programs of a resource's page, by language."""
    description = RESOURCES[resource]["description"]
    return {name: code for name, code in re.findall(r"^```(\w+)\n(.*?)^```", description, re.M | re.S) if name != "sh"}


def token_page():
    return page(TOKEN_TYPE)


def command(*arguments, cwd=None, env=None, timeout=600):
    """Runs a tool that must succeed, and returns what it printed."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=TOOLS_ENVIRONMENT | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        pytest.fail(f"$ {shlex.join(map(str, arguments))}\n{done.stdout}(exit status {done.returncode})", pytrace=False)
    return done.stdout


def copy_example(name, folder):
    """Makes folder/examples/NAME, ready to run, and returns it."""
    command(ROOT / "scripts/example.sh", name, folder)
    return folder / "examples" / name


@functools.cache
def tool_variables():
    """The environment that the compilers and runtimes of the languages need on top of a clean one."""
    folders = {str(engine_bin_dir())}
    for program in ("go", "node", "java", "mvn"):
        found = shutil.which(program, path=TOOLS_ENVIRONMENT["PATH"])
        assert found, f"{program} is not on PATH"
        folders.add(str(pathlib.Path(found).parent))
    variables = {"PATH": ":".join([*sorted(folders), "/usr/bin", "/bin"])}
    # Without these, Go would compile everything again in its new home.
    for name in ("GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB"):
        variables[name] = command("go", "env", name).strip()
    if "JAVA_HOME" in TOOLS_ENVIRONMENT:
        variables["JAVA_HOME"] = TOOLS_ENVIRONMENT["JAVA_HOME"]
    # Short runs end sooner with the simpler compiler.
    variables["MAVEN_OPTS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    return variables


def python_dynamic_plugin(folder):
    """The plugin of Python's dynamic resources. A Pulumi installation brings it; this script is all that it needs."""
    folder.mkdir(exist_ok=True)
    plugin = folder / "pulumi-resource-pulumi-python"
    plugin.write_text(f'#!/bin/sh\nexec "{VENV_PYTHON}" -u -m pulumi.dynamic "$@"\n', encoding="utf-8")
    plugin.chmod(0o755)
    return {"name": "pulumi-python", "path": str(folder)}


class Example(Pulumi):
    """A Pulumi whose project is a copy of an example, on a stack named `test`."""

    def __init__(self, scratch, workspace, name):
        variables = {"DATABRICKS_HOST": workspace.host, "DATABRICKS_TOKEN": workspace.token}
        super().__init__(scratch, tool_variables() | variables)
        self.scratch = scratch
        self.language = name.split("-")[0]
        self.project_dir = copy_example(name, scratch)
        self.program = self.project_dir / PROGRAMS[self.language]
        plugins = [{"name": "databricks", "path": str(plugin_bin().parent)}]
        if name == "python-ci-token":
            plugins.append(python_dynamic_plugin(scratch / "plugins"))
        self.project_file({"plugins": {"providers": plugins}})
        self.init()

    def project_file(self, more):
        """Adds to Pulumi.yaml."""
        path = self.project_dir / "Pulumi.yaml"
        path.write_text(path.read_text(encoding="utf-8") + "\n" + yaml.safe_dump(more), encoding="utf-8")

    def replace_program(self, text):
        """Goes on with another program; in YAML, within the frame of the same project."""
        if self.language == "yaml":
            frame = yaml.safe_load(self.program.read_text(encoding="utf-8"))
            frame = {name: value for name, value in frame.items() if name in ("name", "runtime", "plugins", "packages")}
            text = yaml.safe_dump(frame) + text
        self.program.write_text(text, encoding="utf-8")

    def edit(self, old, new):
        """Changes the program."""
        text = self.program.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is not once in {self.program}"
        self.program.write_text(text.replace(old, new), encoding="utf-8")

    def operate(self, operation, *arguments, **options):
        """Runs `pulumi OPERATION`. Programs whose language host cannot be had run without one."""
        inline = self.language in ("python", "typescript", "go") and operation in ("preview", "up")
        if not inline:
            options.setdefault("timeout", 240)
            confirmed = [] if operation == "preview" else ["--yes", "--skip-preview"]
            return self.run(operation, "--stack", "test", *confirmed, *arguments, **options)
        runner = [ROOT / "scripts/inline/run.sh", self.language, "--stack", "test", *arguments, operation]
        done = subprocess.run(
            [str(argument) for argument in runner],
            cwd=self.project_dir,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
        )
        result = Result(shlex.join(map(str, runner)), done.returncode, done.stdout, done.stderr, [])
        self.results.append(result)
        if done.returncode:
            pytest.fail(f"expected it to succeed:\n{result}", pytrace=False)
        return result

    def preview(self, *arguments):
        return self.operate("preview", *arguments)

    def up(self, *arguments):
        return self.operate("up", *arguments)

    def refresh(self, *arguments):
        return self.operate("refresh", *arguments)

    def destroy(self, *arguments):
        return self.operate("destroy", *arguments)

    def leaks(self):
        found = [(value, result.command) for result in self.results for value in TOKEN_VALUE.findall(result.text)]
        for path in self.scratch.rglob("*"):
            if path.is_file() and not path.is_symlink():
                text = path.read_bytes().decode("utf-8", errors="replace")
                found += [(value, str(path.relative_to(self.scratch))) for value in TOKEN_VALUE.findall(text)]
        return found


def codegen_variables():
    """The environment in which `pulumi` finds what writes programs; scripts/engine.sh says what that is."""
    folder = ROOT / "target/engine/codegen"
    if not folder.exists():
        raise pytest.UsageError(f"{folder} does not exist: run scripts/engine.sh --java --codegen")
    path = f"{folder}:{plugin_bin().parent}:{tool_variables()['PATH']}"
    # Converters cannot be named in a project, so they have to come from PATH, and then so does the plugin.
    return {"PATH": path, "PULUMI_IGNORE_AMBIENT_PLUGINS": "false"}


@functools.cache
def checkers():
    """The folder of the packages of tests/languages/requirements.txt, for PYTHONPATH."""
    folder = CACHE / "checkers"
    requirements = ROOT / "tests/languages/requirements.txt"
    stamp = folder / "installed"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "checkers.lock").open("w", encoding="utf-8") as lock:
        # Two processes of the tests may need them at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_bytes() != requirements.read_bytes():
            shutil.rmtree(folder, ignore_errors=True)
            command(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "--requirement", requirements)
            stamp.write_bytes(requirements.read_bytes())
    return folder


def check_types(*programs, cwd=None):
    """Runs the type checker on Python programs that use the installed SDK."""
    command(VENV_PYTHON, "-m", "mypy", "--strict", f"--cache-dir={CACHE}/mypy-cache", *programs,
            cwd=cwd, env={"PYTHONPATH": str(checkers())})


def parse_csharp(*files):
    command(sys.executable, ROOT / "tests/languages/parse_csharp.py", *files, env={"PYTHONPATH": str(checkers())})


def maven_classpath():
    """The jars that Maven installed for the Java example: Pulumi's SDK and this package's."""
    repository = CACHE / "maven-repository/com/pulumi"
    pom = (EXAMPLES / "java/pom.xml").read_text(encoding="utf-8")
    versions = dict(re.findall(r"<artifactId>(pulumi|databricks)</artifactId>\s*<version>([^<]+)", pom))
    jars = [repository / name / version / f"{name}-{version}.jar" for name, version in versions.items()]
    assert all(jar.exists() for jar in jars), jars
    return ":".join(map(str, jars))


@pytest.fixture
def example(tmp_path, workspace):
    """Starts examples: example(NAME). After the test no value of a token may stand in what they printed or stored."""
    started = []

    def start(name):
        started.append(Example(tmp_path / name, workspace, name))
        return started[-1]

    yield start
    for it in started:
        assert not it.leaks(), f"token values in the clear: {it.leaks()}"


def sdk_requested(it):
    """The plugin version that the program's SDK asked for, by the name of the default provider."""
    resources = it.export()["deployment"]["resources"]
    (name,) = [resource["urn"].split("::")[-1] for resource in resources if resource["type"].startswith("pulumi:prov")]
    return name.removeprefix("default").replace("_", ".").removeprefix(".")
