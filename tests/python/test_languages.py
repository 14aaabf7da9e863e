"""Every Pulumi language: the examples from end to end, and every program that the documentation shows."""

import html
import json
import pathlib
import re
import shutil
import subprocess
import zipfile

import pytest
import yaml
from conftest import ROOT, TOKEN_TYPE, plugin_bin
from support_forward import VARIABLE, stand_in
from support_languages import (
    CACHE,
    EXAMPLES,
    PROGRAMS,
    VENV_PYTHON,
    Example,
    check_types,
    codegen_variables,
    command,
    copy_example,
    maven_classpath,
    parse_csharp,
)

# With nothing cached, an example first waits for packages and compilers.
pytestmark = [pytest.mark.timeout(900), pytest.mark.waits]

# The slowest first, so that two processes end at about the same time.
LANGUAGES = ["java", "typescript", "go", "python", "yaml"]

SECRET_IN_STATE = "1b47061264138c4ac30d75fd1eb44270"


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


# --- From end to end ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_life(language, example, workspace):
    it = example(language)

    result = it.preview()
    assert "+ 2 to create" in result.text, str(result)
    assert workspace.operations() == []

    it.up()
    (token,) = workspace.tokens()
    outputs = it.outputs()
    assert outputs == {
        "tokenId": token["id"],
        "tokenExpiry": token["creation_time"] + 90 * 86400 * 1000,
        "tokenValue": outputs["tokenValue"],
    }
    assert workspace.accepts(outputs["tokenValue"])
    assert token["comment"] == "Token of the CI"
    if language != "yaml":
        version = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))["version"]
        assert sdk_requested(it) == version

    # Secret where a program of another stack, a person or a file would read it.
    masked = json.loads(it.run("stack", "output", "--json", "--stack", "test").stdout)
    assert masked == outputs | {"tokenValue": "[secret]"}
    (stack,) = [one for one in it.export()["deployment"]["resources"] if one["type"] == "pulumi:pulumi:Stack"]
    assert SECRET_IN_STATE in stack["outputs"]["tokenValue"].values()

    it.up("--expect-no-changes")
    it.refresh("--expect-no-changes")
    assert workspace.operations() == ["create"]

    # Another lifetime is another token; the old one works until the new one is there.
    it.edit(*(("7776000", "5184000") if language == "yaml" else ("90 *", "60 *")))
    it.up()
    assert workspace.operations() == ["create", "create", "delete"]
    renewed = it.outputs()
    assert renewed["tokenId"] != token["id"]
    assert not workspace.accepts(outputs["tokenValue"])
    assert workspace.accepts(renewed["tokenValue"])

    it.destroy()
    assert workspace.live() == []
    assert not workspace.accepts(renewed["tokenValue"])


def test_python_ci_token(example, workspace):
    """A rotated token reaches what depends on it before the old one is revoked."""
    it = example("python-ci-token")
    file = it.project_dir / "ci-job.env"

    def of_the_job():
        assert file.stat().st_mode & 0o777 == 0o600
        return dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())

    # Created 83 days ago by the workspace's clock. A week before its end an ordinary `up` rotates it.
    workspace.advance(-83 * 86400)
    it.up()
    first = of_the_job()
    assert first["DATABRICKS_HOST"] == workspace.host
    assert workspace.accepts(first["DATABRICKS_TOKEN"])
    workspace.advance(83 * 86400)
    workspace.forget_requests()
    it.up()
    # The plugin asks who it is, and tries the new token. So does the file's resource, which then writes it.
    calls = [
        entry["path"].rsplit("/", 1)[1]
        for entry in workspace.requests()
        if re.search(r"/token/(create|delete)$|/scim/v2/Me$", entry["path"])
    ]
    assert calls == ["Me", "create", "Me", "Me", "delete"]
    second = of_the_job()
    assert workspace.accepts(second["DATABRICKS_TOKEN"])
    assert not workspace.accepts(first["DATABRICKS_TOKEN"])
    it.up("--expect-no-changes")

    it.destroy()
    assert not file.exists()
    assert workspace.live() == []


# --- Installed as a user installs them ---


def test_java_sdk_is_a_jar(tmp_path):
    copy_example("java", tmp_path)
    version = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))["version"]
    jar = CACHE / f"maven-repository/com/pulumi/databricks/{version}/databricks-{version}.jar"
    listed = zipfile.ZipFile(jar).namelist()
    assert {"META-INF/LICENSE", "META-INF/maven/com.pulumi/databricks/pom.xml"} <= set(listed)
    # By the pom.xml in it Maven installs the file alone, with what it depends on, as the README says.
    readme = (ROOT / "sdk/java/README.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"^mvn .*-Dfile={re.escape(jar.name)}$", readme, re.M)
    shutil.copy(jar, tmp_path)
    command("bash", "-c", f"{line} -q -B -Dmaven.repo.local={tmp_path}/repository", cwd=tmp_path)
    installed = tmp_path / f"repository/com/pulumi/databricks/{version}/databricks-{version}.pom"
    assert "<artifactId>pulumi</artifactId>" in installed.read_text(encoding="utf-8")


def test_python_sdk_is_a_wheel(tmp_path):
    copy_example("python", tmp_path)
    where = command(VENV_PYTHON, "-c", "import pulumi_databricks; print(pulumi_databricks.__file__)", cwd=tmp_path)
    assert where.startswith(str(CACHE / "python/venv/lib")), where
    (wheel,) = (CACHE / "python").glob("pulumi_databricks-*.whl")
    listed = command(VENV_PYTHON, "-m", "zipfile", "--list", wheel)
    assert "pulumi_databricks/py.typed" in listed and "pulumi_databricks/pulumi-plugin.json" in listed
    assert ".dist-info/licenses/LICENSE" in listed
    # What whoever has only the wheel reads of it.
    described = command(VENV_PYTHON, "-c", "import importlib.metadata as it; print(it.metadata('pulumi_databricks'))")
    assert f"pip install {wheel.name}\n" in described and "License-Expression: Apache-2.0" in described


def test_typescript_sdk_is_a_pack(tmp_path):
    installed = copy_example("typescript", tmp_path) / "node_modules/@pulumi/databricks"
    assert not installed.is_symlink()
    assert sorted(path.name for path in installed.iterdir()) == ["LICENSE", "README.md", "bin", "package.json"]
    (pack,) = (CACHE / "typescript").glob("pulumi-databricks-*.tgz")
    assert f"npm install ./{pack.name}\n" in (installed / "README.md").read_text(encoding="utf-8")
    # One copy of Pulumi's SDK serves the program and the package.
    assert not (installed / "node_modules").exists()


def add_package(it):
    """The way that needs no published SDK: `pulumi package add` of the plugin itself. Returns what it says."""
    version = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))["version"]
    it.run("plugin", "install", "resource", "databricks", version, "--reinstall", "--file", plugin_bin())
    # The language hosts of a Pulumi installation connect SDK and project, too; here the tests do.
    hosts = codegen_variables() if it.language in ("python", "typescript") else {}
    said = it.run("package", "add", plugin_bin(), env=hosts).text
    written = yaml.safe_load((it.project_dir / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert written["packages"] == {"databricks": f"databricks@{version}"}
    return said


def test_package_add_yaml(pulumi, workspace):
    project = pulumi.project_dir / "Pulumi.yaml"
    project.write_text("name: test\nruntime: yaml\n", encoding="utf-8")
    pulumi.language = "yaml"
    add_package(pulumi)

    with project.open("a", encoding="utf-8") as file:
        file.write(token_page()["yaml"])
    pulumi.init()
    pulumi.up()
    assert workspace.operations() == ["create"]
    pulumi.unchanged()
    pulumi.destroy()
    assert workspace.live() == []


def test_package_add_java(example, workspace):
    """Without the SDK of this repository, by the steps that the command prints."""
    it = example("java")
    pom, program = it.project_dir / "pom.xml", it.program.read_text(encoding="utf-8")
    ours = "    <!-- The SDK of this.*?</dependency>\n"
    text, found = re.subn(ours, "STEPS", pom.read_text(encoding="utf-8"), flags=re.S)
    assert found == 1
    # The command compiles the project, before there is an SDK.
    pom.write_text(text.replace("STEPS", ""), encoding="utf-8")
    it.program.write_text("package example;\n\nclass App {}\n", encoding="utf-8")
    (dependencies,) = re.findall("<dependencies>(.*?)</dependencies>", add_package(it), re.S)
    pom.write_text(text.replace("STEPS", dependencies), encoding="utf-8")
    shutil.copytree(it.project_dir / "sdks/databricks/src", it.project_dir / "src", dirs_exist_ok=True)

    it.program.write_text(program, encoding="utf-8")
    it.up()
    assert workspace.accepts(it.outputs()["tokenValue"])
    it.up("--expect-no-changes")
    it.destroy()
    assert workspace.live() == []


def installed(it):
    """Adds the package to a copy of the example, and installs the SDK as the language host does: with pip or npm."""
    if it.language == "typescript":
        # A project that has never heard of the SDK, and a folder of packages of its own.
        pinned = it.project_dir / "package.json"
        project = json.loads(pinned.read_text(encoding="utf-8"))
        del project["dependencies"]["@pulumi/databricks"]
        pinned.write_text(json.dumps(project), encoding="utf-8")
        for name in (".npmrc", "package-lock.json"):
            (it.project_dir / name).unlink()
        modules = it.project_dir / "node_modules"
        shared = modules.resolve()
        modules.unlink()
        shutil.copytree(shared, modules, symlinks=True)
        shutil.rmtree(modules / "@pulumi/databricks")
    add_package(it)
    sdk = it.project_dir / "sdks/databricks"
    if it.language == "typescript":
        command("npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "./sdks/databricks", cwd=it.project_dir)
        assert (it.project_dir / "node_modules/@pulumi/databricks").resolve() == sdk
        assert (sdk / "bin/index.js").exists()
    else:
        folder = it.scratch / "installed"
        command(VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps",
                "--no-build-isolation", "--target", folder, "./sdks/databricks", cwd=it.project_dir)
        # Before the SDK of this repository, which the example's environment has.
        it.env["PYTHONPATH"] = str(folder)
        where = command(VENV_PYTHON, "-c", "import pulumi_databricks as it; print(it.__file__)", env={"PYTHONPATH": folder})
        assert where.startswith(str(folder))


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_package_add(language, example, workspace):
    """The example, on the SDK that the command generates in place of that of this repository."""
    it = example(language)
    installed(it)
    it.up()
    assert workspace.accepts(it.outputs()["tokenValue"])
    assert sdk_requested(it) == json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))["version"]
    it.up("--expect-no-changes")
    it.destroy()
    assert workspace.live() == []


BOTH = {
    "typescript": """\
import * as databricks from "@pulumi/databricks";

const scope = new databricks.SecretScope("scope", { name: "scope" });
const token = new databricks.Token("token", { comment: scope.name, rotateBeforeSeconds: 60 });
new databricks.Secret("secret", { scope: scope.name, key: "k", stringValue: token.tokenValue });
export const user = databricks.getCurrentUserOutput().userName;
""",
    "python": """\
import pulumi
import pulumi_databricks as databricks

scope = databricks.SecretScope("scope", name="scope")
token = databricks.Token("token", comment=scope.name, rotate_before_seconds=60)
databricks.Secret("secret", scope=scope.name, key="k", string_value=token.token_value)
pulumi.export("user", databricks.get_current_user().user_name)
""",
    "go": """\
package main

import (
	"github.com/pulumi/pulumi-databricks/sdk/go/databricks"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		scope, err := databricks.NewSecretScope(ctx, "scope", &databricks.SecretScopeArgs{Name: pulumi.String("scope")})
		if err != nil {
			return err
		}
		_, err = databricks.NewToken(ctx, "token", &databricks.TokenArgs{
			Comment:             scope.Name,
			RotateBeforeSeconds: pulumi.Int(60),
		})
		return err
	})
}
""",
}


def beside_the_official_one(folder):
    """The environment in which the official plugin is there too; what stands in for it keeps its objects in a folder."""
    folder.mkdir()
    return {VARIABLE: str(stand_in()), "STAND_IN_STATE": str(folder)}


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_package_add_beside_the_official_plugin(language, example, workspace, tmp_path):
    """One SDK has the types of both plugins, and one program uses them."""
    it = example(language)
    official = beside_the_official_one(tmp_path / "official")
    it.env |= official
    installed(it)
    it.replace_program(BOTH[language])
    it.up()
    (token,) = [token for token in workspace.tokens() if token["live"]]
    assert token["comment"] == "scope" and it.outputs() == {"user": "admin@example.com"}
    # Not below the example's folder: there no value may stand in the clear.
    kept = pathlib.Path(official["STAND_IN_STATE"])
    secret = json.loads((kept / "secret-scope___k.json").read_text(encoding="utf-8"))["string_value"]
    assert workspace.accepts(secret)
    it.up("--expect-no-changes")
    it.destroy()
    assert workspace.live() == [] and not list(kept.glob("*.json"))


@pytest.mark.parametrize("official", [False, True], ids=["alone", "beside"])
def test_package_add_go(pulumi, official, tmp_path):
    """The host of Go programs takes the module's path from the schema as the generator does; then the import is found."""
    project, program = pulumi.project_dir, token_page()["go"]
    if official:
        pulumi.env |= beside_the_official_one(tmp_path / "official")
        program = BOTH["go"]
    (project / "Pulumi.yaml").write_text("name: test\nruntime: go\n", encoding="utf-8")
    pulumi.run("package", "add", plugin_bin(), env=codegen_variables())
    assert "databricks" in yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))["packages"]
    (project / "main.go").write_text(program, encoding="utf-8")
    command("go", "mod", "init", "own", cwd=project)
    (module,) = re.findall(r"^module (\S+)$", (project / "sdks/databricks/go.mod").read_text(encoding="utf-8"), re.M)
    command("go", "mod", "edit", f"-replace={module}=./sdks/databricks", cwd=project)
    # With the versions that the other programs in Go are built with.
    pinned = (EXAMPLES / "go/go.mod").read_text(encoding="utf-8")
    (version,) = re.findall(r"github.com/pulumi/pulumi/sdk/v3 (v\S+)", pinned)
    command("go", "mod", "edit", f"-require=github.com/pulumi/pulumi/sdk/v3@{version}", cwd=project)
    command("go", "mod", "tidy", cwd=project)
    command("go", "vet", ".", cwd=project)


def test_get_schema_is_that_of_the_repository(pulumi):
    """Where the official plugin is not installed; tests/python/test_forward_engine.py has the schema of both."""
    printed = json.loads(pulumi.run("package", "get-schema", plugin_bin()).stdout)
    ours = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))
    for name in ("name", "version", "resources", "functions"):
        assert printed[name] == ours[name], name


def test_go_sdk_in_a_module_of_ones_own(tmp_path):
    """The lines of the SDK's README, in a new module."""
    readme = (ROOT / "sdk/go/README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^```console\n(.*?)^```", readme, re.M | re.S)
    checkout, project = tmp_path / "pulumi-databricks", tmp_path / "own"
    checkout.symlink_to(ROOT)
    project.mkdir()
    (project / "main.go").write_text(token_page()["go"], encoding="utf-8")
    command("go", "mod", "init", "own", cwd=project)
    command("bash", "-ec", lines.replace("/path/to/pulumi-databricks", str(checkout)), cwd=project)
    command("go", "vet", ".", cwd=project)


# --- Programs that Pulumi writes ---

# What `pulumi convert` calls its program in each language.
CONVERTED = {
    "java": "src/main/java/generated_program/App.java",
    "typescript": "index.ts",
    "go": "main.go",
    "python": "__main__.py",
    "yaml": "Main.yaml",
}


def take_over(it, text, *arguments):
    """Goes on with a program that Pulumi wrote, and returns what its preview says."""
    if it.language == "go":
        text = with_function(text)
    it.replace_program(text.replace("package generated_program;", "package example;"))
    return it.preview(*arguments).text


def with_function(text):
    """A Go program whose stack is a function with a name, by which scripts/inline can run it."""
    begins, ends = "func main() {\n\tpulumi.Run(func(ctx *pulumi.Context) error {\n", "\t})\n}\n"
    assert begins in text and text.endswith(ends), text
    named = "func main() {\n\tpulumi.Run(program)\n}\n\nfunc program(ctx *pulumi.Context) error {\n"
    return text.replace(begins, named).removesuffix(ends) + "}\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_convert(language, example, tmp_path):
    """`pulumi convert` makes a program in this language of the YAML one."""
    it = example(language)
    source, out = tmp_path / "source", tmp_path / "converted"
    source.mkdir()
    shutil.copy(EXAMPLES / "yaml/Pulumi.yaml", source)
    it.run("convert", "--from", "yaml", "--language", language, "--generate-only", "--cwd", source, "--out", out,
           env=codegen_variables())
    text = (out / CONVERTED[language]).read_text(encoding="utf-8")
    assert "Token of the CI" in text
    assert "+ 2 to create" in take_over(it, text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_import(language, example, workspace, tmp_path):
    """`pulumi import` writes a program in this language which leaves the imported token as it is."""
    it = example(language)
    token_id, value = workspace.mint(comment="Token of the CI", lifetime_seconds=86400)
    program = tmp_path / "imported"
    it.run("import", TOKEN_TYPE, "ci", token_id, "--stack", "test", "--yes", "--skip-preview", "--protect=false",
           "--out", program, env=codegen_variables())
    text = program.read_text(encoding="utf-8")
    assert "Token of the CI" in text
    take_over(it, text, "--expect-no-changes")
    assert workspace.accepts(value)
    it.destroy()
    assert not workspace.accepts(value)


# --- What the documentation shows ---


RESOURCES = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))["resources"]


def page(resource):
    """The programs of a resource's page, by language."""
    description = RESOURCES[resource]["description"]
    return {name: code for name, code in re.findall(r"^```(\w+)\n(.*?)^```", description, re.M | re.S) if name != "sh"}


def token_page():
    return page(TOKEN_TYPE)


def class_of(resource):
    return resource.split(":")[-1]


@pytest.mark.parametrize("resource", RESOURCES, ids=class_of)
def test_page_has_every_language(resource):
    assert set(page(resource)) == set(PROGRAMS)


@pytest.mark.parametrize("resource", RESOURCES, ids=class_of)
def test_page_says_how_to_import(resource):
    (command_line,) = re.findall(r"^```sh\n(.*?)\n```", RESOURCES[resource]["description"], re.M | re.S)
    assert command_line.startswith(f"pulumi import {resource} ci ")


def programs(language):
    """The program of each page, by its resource's class, and that of the example, which is about a Token too."""
    example = (EXAMPLES / language / PROGRAMS[language]).read_text(encoding="utf-8")
    return {class_of(resource): page(resource)[language] for resource in RESOURCES} | {"example": example}


def test_python_programs_are_typed(tmp_path):
    copy_example("python", tmp_path)
    checked = copy_example("python-ci-token", tmp_path)
    for name, code in programs("python").items():
        program = tmp_path / f"{name}.py"
        program.write_text(code, encoding="utf-8")
        check_types(program)
    check_types(".", cwd=checked)


def test_typescript_programs_compile_strictly(tmp_path):
    project = copy_example("typescript", tmp_path)
    assert json.loads((project / "tsconfig.json").read_text(encoding="utf-8"))["compilerOptions"]["strict"] is True
    for code in programs("typescript").values():
        (project / "index.ts").write_text(code, encoding="utf-8")
        command("node_modules/.bin/tsc", "--noEmit", cwd=project)


def test_go_programs_vet(tmp_path):
    project = copy_example("go", tmp_path)
    for code in programs("go").values():
        (project / "main.go").write_text(code, encoding="utf-8")
        assert command("gofmt", "-l", "main.go", cwd=project) == ""
        command("go", "vet", "-mod=readonly", ".", cwd=project)


def test_java_programs_compile(tmp_path):
    copy_example("java", tmp_path)
    for name, code in programs("java").items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "App.java").write_text(code, encoding="utf-8")
        command("javac", "-Xlint:all,-classfile", "-Werror", "-proc:none", "-d", folder, "-cp", maven_classpath(),
                folder / "App.java")


@pytest.mark.parametrize("resource", RESOURCES, ids=class_of)
def test_yaml_program_of_the_page_runs(resource, example, workspace):
    it = example("yaml")
    principal = next(it for it in workspace.control("/state")["principals"] if it["service_principal"])
    # The ids of the page are nobody's.
    text = page(resource)["yaml"].replace("00000000-0000-0000-0000-000000000000", principal["user_name"])
    it.replace_program(text.replace("1234567890", str(principal["id"])))
    result = it.preview()
    assert "+ 2 to create" in result.text, str(result)
    it.up()
    it.up("--expect-no-changes")
    it.destroy()


def test_csharp_programs_parse(tmp_path):
    """Everywhere, and they state only what the SDK has. Compiling needs more: see below."""
    for name, code in programs("csharp").items():
        file = f"{name}.cs" if name != "example" else "Token.cs"
        sdk = (ROOT / "sdk/dotnet" / file).read_text(encoding="utf-8")
        (tmp_path / f"{name}.cs").write_text(code, encoding="utf-8")
        for stated in re.findall(r"^ +(\w+) = ", code, re.M):
            assert re.search(rf"public Input<\w+>\?? {stated} ", sdk), stated
        for read in re.findall(r"\b(?:token|secret)\.(\w+)", code):
            assert re.search(rf"public Output<\w+> {read} ", sdk), read
    parse_csharp(*tmp_path.glob("*.cs"), *ROOT.glob("sdk/dotnet/**/*.cs"))


def test_csharp_programs_compile(tmp_path):
    """Where the .NET SDK and NuGet are to be had. Elsewhere it says so in the summary of the tests."""
    dotnet = shutil.which("dotnet")
    if not dotnet:
        pytest.skip("C# IS NOT COMPILED HERE, only parsed: the .NET SDK (dotnet) is not on PATH")
    shutil.copytree(ROOT / "sdk/dotnet", tmp_path / "sdk/dotnet")
    for name, code in programs("csharp").items():
        project = tmp_path / "examples" / name
        shutil.copytree(EXAMPLES / "csharp", project)
        (project / "Program.cs").write_text(code, encoding="utf-8")
        done = subprocess.run(
            [dotnet, "build", "--nologo"], cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
        )
        if "NU1301" in done.stdout:
            pytest.skip("C# IS NOT COMPILED HERE, only parsed: NuGet is not reachable")
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("language", sorted(PROGRAMS))
def test_readme_shows_the_program(language):
    page = (EXAMPLES / language / "README.md").read_text(encoding="utf-8")
    program = (EXAMPLES / language / PROGRAMS[language]).read_text(encoding="utf-8")
    assert f"\n```{language}\n{program}```\n" in page


def test_python_ci_token_readme_shows_the_program():
    page = (EXAMPLES / "python-ci-token/README.md").read_text(encoding="utf-8")
    assert (EXAMPLES / "python-ci-token/__main__.py").read_text(encoding="utf-8") in page


SDK_FILES = {
    "python": "sdk/python/**/*.py",
    "typescript": "sdk/nodejs/**/*.ts",
    "go": "sdk/go/**/*.go",
    "java": "sdk/java/**/*.java",
    "csharp": "sdk/dotnet/**/*.cs",
}


def prose(text):
    """The words of a text, without the marks of comments and of the languages' ways to escape them."""
    return re.sub(r"[\W_]+", " ", html.unescape(text))


@pytest.mark.parametrize("language", sorted(SDK_FILES))
def test_sdk_documents_every_property(language):
    """The doc comments carry the description of every property, and each page's program in their language only."""
    schema = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))
    sides = [it[side] for it in RESOURCES.values() for side in ("properties", "inputProperties")]
    types = [it["properties"] for it in schema["types"].values()]
    text = prose("\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob(SDK_FILES[language])))
    for rows in (*sides, schema["provider"]["inputProperties"], *types):
        for name, row in rows.items():
            assert row["description"], name
            assert prose(row["description"]) in text, name
    for resource in RESOURCES:
        for other, code in page(resource).items():
            assert (prose(code) in text) == (other == language), (resource, other)
