"""Writes the list of components of the plugin (an SBOM, as CycloneDX 1.6) for one target.

Usage: sbom.py TARGET FILE. The list holds what cargo links into the program for that target, with the checksums of
Cargo.lock, and nothing that only its build or its tests use. It has neither a time nor a random number, so that the
same commit gives the same bytes.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = "pulumi-resource-databricks"


def main():
    target, file = sys.argv[1:]
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    entry = r'\[\[package\]\]\nname = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"'
    lock = (ROOT / "Cargo.lock").read_text()
    checksums = {(name, version): checksum for name, version, checksum in re.findall(entry, lock)}

    # The packages that the program's own features need. The metadata also has those that only the tests need.
    command = ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none"]
    command += ["--format", "{p}", "--package", PROGRAM]
    tree = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    needed = {tuple(line.split()[:2]) for line in tree.splitlines() if line}

    def linked(node):
        """Yields what a package is linked with: no dependencies for builds and tests, and no macros."""
        for dependency in nodes[node]["deps"]:
            package = packages[dependency["pkg"]]
            is_linked = None in {kind["kind"] for kind in dependency["dep_kinds"]}
            if is_linked and (package["name"], "v" + package["version"]) in needed:
                yield dependency["pkg"]

    def reference(node):
        return "pkg:cargo/{name}@{version}".format(**packages[node])

    def component(node, kind="library"):
        package = packages[node]
        found = {"type": kind, "bom-ref": reference(node), "name": package["name"], "version": package["version"]}
        if package["license"]:
            # Older packages write a slash where SPDX has OR.
            found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        found["purl"] = reference(node)
        if checksum := checksums.get((package["name"], package["version"])):
            found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        return found

    root = next(node for node in nodes if packages[node]["name"] == PROGRAM)
    found, waiting = {root}, [root]
    while waiting:
        new = set(linked(waiting.pop())) - found
        found |= new
        waiting += new
    others = sorted(found - {root}, key=reference)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": component(root, "application"),
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": [component(node) for node in others],
        "dependencies": [
            {"ref": reference(node), "dependsOn": sorted({reference(other) for other in linked(node)})}
            for node in [root, *others]
        ],
    }
    pathlib.Path(file).write_text(json.dumps(document, indent=2) + "\n")
    print(f"    {len(others)} components: {file}")


main()
