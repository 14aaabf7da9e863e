"""What a release is made of, without building one: its archives, its lists of components, and how it is installed."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile

import pytest
import yaml
from conftest import ROOT, engine_bin_dir, plugin_bin

NAME = "pulumi-resource-databricks"
ARCHIVE = f"{NAME}-v2.0.0-linux-amd64.tar.gz"


def run(*command, ok=True, **options):
    result = subprocess.run([str(it) for it in command], capture_output=True, text=True, timeout=120, **options)
    assert (result.returncode == 0) == ok, result.stdout + result.stderr
    return result.stdout + result.stderr


def pack(folder, archive):
    run(sys.executable, ROOT / "scripts/archive.py", archive, folder, "1700000000")
    return archive.read_bytes()


def test_an_archive_depends_on_nothing_but_its_files(tmp_path):
    content = tmp_path / "content"
    content.mkdir()
    for name in (NAME, "README.md", "LICENSE"):
        (content / name).write_text(name)
    first = pack(content, tmp_path / "first.tar.gz")
    # In another order, at another time, with other permissions.
    other = tmp_path / "other"
    other.mkdir()
    for name in ("LICENSE", NAME, "README.md"):
        (other / name).write_text(name)
        os.utime(other / name, (1, 1))
        (other / name).chmod(0o600)
    assert pack(other, tmp_path / "second.tar.gz") == first
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(first))) as tar:
        assert {entry.name: entry.mode for entry in tar} == {NAME: 0o755, "README.md": 0o644, "LICENSE": 0o644}
        assert {(entry.mtime, entry.uid, entry.uname) for entry in tar} == {(1700000000, 0, "")}


def test_the_time_at_which_a_program_for_windows_was_linked_is_not_in_an_archive(tmp_path):
    packed = []
    for linked in (1, 2):
        content = tmp_path / str(linked)
        content.mkdir()
        header = b"PE\0\0" + bytes(4) + linked.to_bytes(4, "little") + b"rest"
        (content / f"{NAME}.exe").write_bytes(b"MZ".ljust(0x3C, b"\0") + (0x40).to_bytes(4, "little") + header)
        packed.append(pack(content, tmp_path / f"{linked}.tar.gz"))
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed[0]))) as tar:
        assert tar.extractfile(f"{NAME}.exe").read().endswith((1700000000).to_bytes(4, "little") + b"rest")


def test_the_list_of_components(tmp_path):
    """The list is valid for others who read it, and true: it has what is linked, and no more."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    file = tmp_path / "sbom.json"
    target = "x86_64-unknown-linux-musl"
    run(sys.executable, ROOT / "scripts/sbom.py", target, file)
    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    listed = {it["name"]: it for it in document["components"]}
    # It has what is linked, also below a dependency; and neither what only a build or a test needs, nor macros.
    assert {"databricks-auth", "reqwest", "rustls", "hyper", "libc"} <= set(listed)
    assert not {"protox", "tonic-prost-build", "bolero", "databricks-local-workspace", "serde_derive"} & set(listed)
    assert all("hashes" in it or name == "databricks-auth" for name, it in listed.items())
    assert all("licenses" in it for it in listed.values())
    # It has nothing of this machine, and is the same twice.
    assert str(ROOT) not in text
    run(sys.executable, ROOT / "scripts/sbom.py", target, file)
    assert file.read_text() == text


@pytest.fixture(scope="module")
def packed_release(tmp_path_factory):
    """A folder like that of a release, with the plugin under test."""
    content, folder = tmp_path_factory.mktemp("content"), tmp_path_factory.mktemp("release")
    shutil.copy(plugin_bin(), content / NAME)
    packed = pack(content, folder / ARCHIVE)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(packed).hexdigest()}  {ARCHIVE}\n")
    shutil.copy(ROOT / "scripts/install.sh", folder)
    return folder


@pytest.fixture
def release(packed_release, tmp_path):
    """A copy of `packed_release`, to be changed."""
    return shutil.copytree(packed_release, tmp_path / "release")


def environment(tmp_path):
    # Neither Rust nor anything else but the system and Pulumi.
    path = f"{engine_bin_dir()}:/usr/bin:/bin"
    # The engine looks for the home folder by itself, whatever HOME is.
    return {"HOME": str(tmp_path), "PULUMI_HOME": str(tmp_path / ".pulumi"), "PATH": path, "PULUMI_SKIP_UPDATE_CHECK": "true"}


@pytest.mark.parametrize("by", ["./install.sh", "make"])
def test_installing_from_the_folder_of_a_release(release, tmp_path, by):
    (release / "Makefile").write_text("install:\n\t@./install.sh\n")
    run(*([by] if by != "make" else ["make", "install"]), cwd=release, env=environment(tmp_path))
    installed = tmp_path / ".pulumi/plugins/resource-databricks-v2.0.0" / NAME
    assert installed.read_bytes() == plugin_bin().read_bytes()
    # The doctor, as the script and the documentation say.
    said = run("pulumi", "plugin", "run", "--kind", "resource", "databricks", "--", "doctor", "--help", env=environment(tmp_path))
    assert "Looks at how the provider is configured" in said


def test_installing_from_a_release_with_make_in_the_repository(release, tmp_path):
    run("make", "install", f"FROM={release}", cwd=ROOT, env=environment(tmp_path))
    assert (tmp_path / ".pulumi/plugins/resource-databricks-v2.0.0" / NAME).exists()


def test_an_archive_that_was_changed_is_not_installed(release, tmp_path):
    with (release / ARCHIVE).open("ab") as archive:
        archive.write(b"x")
    said = run("./install.sh", cwd=release, env=environment(tmp_path), ok=False)
    assert "is not what SHA256SUMS says" in said
    assert not (tmp_path / ".pulumi/plugins").exists()


@pytest.mark.parametrize(
    ("missing", "reason"), [(ARCHIVE, "there is no archive for linux-amd64"), ("SHA256SUMS", "SHA256SUMS is missing")]
)
def test_what_is_missing_is_named(release, tmp_path, missing, reason):
    (release / missing).unlink()
    assert reason in run("./install.sh", cwd=release, env=environment(tmp_path), ok=False)


def test_a_tag_of_another_version_is_refused():
    said = run(ROOT / "scripts/release.sh", "--tag", "v1.0.0", "linux-amd64", ok=False)
    assert "the tag v1.0.0 is not that of version" in said


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_call_commands_that_there_are(workflow):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]
    commands = [step["run"].split() for step in steps if "run" in step]
    assert commands
    for first, second, *_ in commands:
        assert first in ("sudo", "gh") or first == "make" and second in targets or (ROOT / first).exists()
