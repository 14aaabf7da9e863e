"""Every Pulumi language: the examples from end to end, and every program that the documentation shows."""

import html
import json
import re
import shutil
import subprocess

import pytest
from conftest import ROOT, TOKEN_TYPE
from support_languages import (
    EXAMPLES,
    PROGRAMS,
    RESOURCES,
    check_types,
    codegen_variables,
    command,
    copy_example,
    example,  # noqa: F401 (a fixture)
    maven_classpath,
    page,
    parse_csharp,
    sdk_requested,
)

# With nothing cached, an example first waits for packages and compilers.
pytestmark = [pytest.mark.timeout(900), pytest.mark.waits]

# The slowest come first, so that two processes end at about the same time.
LANGUAGES = ["java", "typescript", "go", "python", "yaml"]

SECRET_IN_STATE = "1b47061264138c4ac30d75fd1eb44270"


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

    # The value is secret where a program of another stack, a person or a file would read it.
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

    # The token is created 83 days ago by the workspace's clock. A week before its end, an ordinary `up` rotates it.
    workspace.advance(-83 * 86400)
    it.up()
    first = of_the_job()
    assert first["DATABRICKS_HOST"] == workspace.host
    assert workspace.accepts(first["DATABRICKS_TOKEN"])
    workspace.advance(83 * 86400)
    workspace.forget_requests()
    it.up()
    # The plugin asks as whom it signs in, and tries the new token. The file's resource tries that, too, and writes it.
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
    """`pulumi convert` turns the YAML program into one in this language."""
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
    # The ids on the page belong to nobody.
    text = page(resource)["yaml"].replace("00000000-0000-0000-0000-000000000000", principal["user_name"])
    it.replace_program(text.replace("1234567890", str(principal["id"])))
    result = it.preview()
    assert "+ 2 to create" in result.text, str(result)
    it.up()
    it.up("--expect-no-changes")
    it.destroy()


def test_csharp_programs_parse(tmp_path):
    """The programs parse on every machine, and state only what the SDK has. Compiling needs more: see below."""
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
    """They compile where the .NET SDK and NuGet are available. Elsewhere the tests' summary says that they did not."""
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
    """The doc comments carry the description of every property, and of each page only the program in their language."""
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
