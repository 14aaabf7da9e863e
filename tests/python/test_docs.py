"""The documentation: its links lead somewhere, its programs are those that are tested, and its commands run as they stand."""

import pathlib
import json
import re
import shlex
import subprocess

import pytest
import yaml
from conftest import ROOT, engine_bin_dir, plugin_bin

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/**/*.md", "local-workspace/*.md", "databricks-auth/*.md", "sdk/*/README.md")
    for path in ROOT.glob(pattern)
    if not {"node_modules", "target"} & set(path.parts[len(ROOT.parts) :])
)
TYPES = {"typescript": "ts", "python": "py", "go": "go", "java": "java", "csharp": "cs", "yaml": "yaml"}


def blocks(page, *kinds):
    """The blocks of code of these kinds in a page of docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [code for kind, code in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if kind in kinds]


def anchors(path):
    """What a link to a heading of the page may name."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    names = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        names.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        found = page if not path else page.parent / path
        if not found.exists() or anchor and found.suffix == ".md" and anchor not in anchors(found):
            broken.append(target)
    assert broken == []


def test_the_programs_of_the_index_are_the_examples():
    """The examples are compiled and run in every language."""
    sources = [
        path.read_text(encoding="utf-8").strip()
        for path in (ROOT / "examples").rglob("*")
        if path.suffix in (".ts", ".py", ".go", ".java", ".cs", ".yaml") and "node_modules" not in path.parts
    ]
    programs = blocks("_index.md", *TYPES)
    assert len(programs) == len(TYPES)
    for program in programs:
        assert program.strip() in sources


def test_the_files_of_ci_systems_are_yaml():
    github, gitlab = [yaml.safe_load(block) for block in blocks("ci.md", "yaml")]
    assert github["permissions"]["id-token"] == "write"
    assert gitlab["rotate"]["id_tokens"]["DATABRICKS_OIDC_TOKEN"]["aud"]


class Shell:
    """Runs commands of a page in the folder of a project, as they stand except for what the reader has to fill in."""

    def __init__(self, pulumi, workspace):
        self.pulumi, self.workspace = pulumi, workspace
        # As a reader has it, with `pulumi` on PATH.
        self.env = pulumi.env | {
            "PATH": f"{engine_bin_dir()}:{plugin_bin().parent}:/usr/bin:/bin",
            "PULUMI_SKIP_CONFIRMATIONS": "true",
        }

    def install(self):
        """What a reader has done before."""
        self.run(f"pulumi plugin install resource databricks 2.0.0 --file {shlex.quote(str(plugin_bin()))}")

    def run(self, command, stdin="", ok=True):
        command = command.replace("~/.pulumi/", '"$PULUMI_HOME"/')
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.pulumi.project_dir,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=200,
        )
        text = result.stdout + result.stderr
        assert (result.returncode == 0) == ok, f"$ {command}\n{text}"
        return text


@pytest.fixture
def shell(pulumi, workspace):
    return Shell(pulumi, workspace)


def project(pulumi, program):
    """Writes a program of a page, and where the plugin is, which a reader has installed."""
    it = yaml.safe_load(program)
    it["plugins"] = {"providers": [{"name": "databricks", "path": str(plugin_bin().parent)}]}
    (pulumi.project_dir / "Pulumi.yaml").write_text(yaml.safe_dump(it), encoding="utf-8")


def commands(page):
    return [line for block in blocks(page, "console", "bash") for line in block.splitlines() if line]


def test_rotating(shell, pulumi, workspace):
    program, workflow, of_a_robot = blocks("rotation.md", "yaml")
    project(pulumi, program)
    init, up, refresh, replace, output = commands("rotation.md")
    # The stack that the page makes is to be the selected one.
    del shell.env["PULUMI_STACK"]
    shell.run(init)
    shell.run(up)
    (first,) = workspace.live()
    project(pulumi, program.replace("2026-01", "2026-02"))
    shell.run(up)
    assert len(workspace.live()) == 2 and first in workspace.live()
    (second,) = {*workspace.live()} - {first}
    workspace.revoke_later(second)
    shell.run(refresh)
    assert len(workspace.live()) == 2 and first in workspace.live()
    shell.run(replace)
    (third,) = workspace.live()
    assert third not in (first, second)
    # The assertion is about whether the value works, so that a failure does not print the value.
    assert workspace.accepts(shell.run(output).strip())

    assert yaml.safe_load(workflow)["jobs"]["rotate"]["steps"][-1]["run"] == "pulumi up --yes --stack prod"
    project(pulumi, of_a_robot.replace("name: robot\n", "name: rotation\n"))
    shell.run("pulumi up")
    assert len([it for it in workspace.control("/state")["secrets"] if it["live"]]) == 1 and workspace.live() == []


def test_importing(shell, pulumi, workspace):
    token_id, _ = workspace.mint(comment="there before")
    pulumi.write()
    pulumi.init()
    shell.install()
    listed, filtered, imported, unprotect, replace, *_ = commands("import.md")
    assert token_id in shell.run(listed) and token_id not in shell.run(filtered)
    text = shell.run(imported.replace("TOKEN_ID", token_id) + " --out generated.yaml")
    for command in (unprotect, replace):
        stem = command.split("'")[0]
        # The engine says it once as it happens, and once in the end.
        (full,) = set(re.findall(re.escape(stem) + r"'[^']*'", text))
        assert command == re.sub(r"'.*'", "'URN'", full)
    generated = yaml.safe_load((pulumi.project_dir / "generated.yaml").read_text())
    program = yaml.safe_load((pulumi.project_dir / "Pulumi.yaml").read_text()) | generated
    (pulumi.project_dir / "Pulumi.yaml").write_text(yaml.safe_dump(program))
    for stem in (unprotect, replace):
        shell.run(re.search(re.escape(stem.split("'")[0]) + r"'[^']*'", text)[0])
    assert token_id not in workspace.live()


def test_importing_with_the_value(shell, pulumi, workspace):
    token_id, value = workspace.mint(comment="ci", lifetime_seconds=3600)
    pulumi.write()
    pulumi.init()
    shell.install()
    *_, written, imported, removed = commands("import.md")
    (pulumi.project_dir / "values.txt").write_text(f"{token_id} {value}\n", encoding="utf-8")
    for command in (written, imported, removed):
        assert value not in shell.run(command)
    generated = yaml.safe_load((pulumi.project_dir / "generated.yaml").read_text())
    program = yaml.safe_load((pulumi.project_dir / "Pulumi.yaml").read_text()) | generated
    (pulumi.project_dir / "Pulumi.yaml").write_text(yaml.safe_dump(program))
    pulumi.unchanged()
    assert json.loads(pulumi.resource(show_secrets=True)["outputs"]["tokenValue"]["plaintext"]) == value


def test_configuring(shell, pulumi, workspace):
    pulumi.token({})
    pulumi.init()
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        del shell.env[name]
    page = commands("installation-configuration.md")
    host, token, doctor = [line for line in page if line.startswith("pulumi config")]
    shell.run(host.replace("https://dbc-1234.cloud.databricks.com", workspace.host))
    shell.run(token, stdin=workspace.token)
    shell.install()
    (package,) = [line for line in page if line.startswith("pulumi package")]
    assert package in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Added package" in shell.run(package)
    text = shell.run(doctor)
    assert f"host = {workspace.host}, from the stack's configuration" in text and "no problems" in text
    assert workspace.token not in text
    for line in commands("troubleshooting.md"):
        assert "doctor" in line
        shell.run(line, ok="--stack" in line)
    shell.run(commands("ci.md")[-1], ok=False)


def test_changing_identity(shell, pulumi, workspace):
    """From a person's token in the stack's configuration to a service principal that is an admin."""
    page = (ROOT / "docs/changing-identity.md").read_text(encoding="utf-8")
    found = re.findall(r"^ *```console\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in found for line in block.splitlines()]
    host, client_id, client_secret, forget, up, refresh, urns, replace, delete, anew = lines
    pulumi.token({"comment": "c"})
    pulumi.init()
    del shell.env["DATABRICKS_TOKEN"]
    person = workspace.control("/users", {"user_name": "ada@example.com"})["token"]
    shell.run("pulumi config set --secret databricks:token", stdin=person)
    shell.run("pulumi up")
    (old,) = [token["id"] for token in workspace.tokens() if token["live"] and token["comment"] == "c"]

    for line, name in ((host, "HOST"), (client_id, "CLIENT_ID"), (client_secret, "CLIENT_SECRET")):
        assert line.startswith(f"export DATABRICKS_{name}=")
        shell.env[f"DATABRICKS_{name}"] = workspace.variables[f"DATABRICKS_{name}"]
    robot = workspace.variables["DATABRICKS_CLIENT_ID"]
    workspace.control(f"/principals/{robot}", {"admin": True})
    for command in (forget, up, refresh):
        shell.run(command)
    assert old in workspace.live()
    (urn,) = re.findall(r"urn:pulumi:\S*databricks:index/token:Token::t", shell.run(urns))
    shell.run(replace.replace("<urn>", urn))
    new = pulumi.resource()
    assert old not in workspace.live() and new["id"] in workspace.live()
    assert new["outputs"]["__createdByUsername"] == robot
    # Somebody has left, and an admin has revoked their token.
    workspace.revoke_later(new["id"])
    shell.run(delete.replace("<urn>", urn))
    shell.run(anew)
    assert pulumi.resource()["id"] in workspace.live()


def test_every_command_is_one_of_those_above():
    """The commands of a new page have to be run here, too."""
    tested = {"rotation.md", "import.md", "installation-configuration.md", "troubleshooting.md", "ci.md"}
    tested.add("changing-identity.md")
    elsewhere = {"sign-in.md", "coming-from-official.md", "fuzzing.md", "mutants.md", "performance.md"}
    found = {page.name for page in (ROOT / "docs").glob("*.md") if commands(page.name)}
    assert found <= tested | elsewhere


def test_names_of_fuzz_targets():
    listed = subprocess.run([ROOT / "scripts/fuzz.sh", "--list"], capture_output=True, text=True, check=True).stdout.split()
    page = (ROOT / "docs/fuzzing.md").read_text(encoding="utf-8")
    table = page.split("## Targets")[1].split("## The last run")[0]
    documented = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == listed


def test_the_release_has_one_home():
    """Where releases will be found is not known yet; what has to be filled in stands in one place."""
    source = (ROOT / "src/schema.rs").read_text(encoding="utf-8")
    assert "const PLUGIN_DOWNLOAD_URL: Option<&str> = None;" in source
    assert pathlib.Path(ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").count("PLUGIN_DOWNLOAD_URL") == 1
