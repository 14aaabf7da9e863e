"""The plugin signs in where the Databricks SDKs do, in the same way, and refuses what they refuse.

Each case of tests/agreement/cases.json is an environment and a configuration. It runs through the plugin, through the
unmodified SDK for Go, whose rules the plugin follows, and through the unmodified SDK for Python. The test compares the
way to sign in, the host, the headers, the requests for tokens, the commands that were run, and what errors are about.

Where an SDK differs, the case names one of the exceptions at the top of that file, which says in which fields and why;
the test fails too if the SDK does not differ there.
"""

import fcntl
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import conftest
import pytest
from support_agreement import AGREEMENT, ROOT, Laboratory
from support_agreement_plugin import list_tokens

# These tests build a program in Go.
pytestmark = pytest.mark.slow

DATA = json.loads((AGREEMENT / "cases.json").read_text())
CASES, EXCEPTIONS = DATA["cases"], DATA["exceptions"]
FIELDS = {
    "go": ("error", "config", "env", "auth", "host", "headers", "asked", "commands"),
    # Errors of the SDK for Python list the configuration in another order, and partly under other names.
    "python": ("error", "auth", "host", "headers", "asked", "commands"),
}


@pytest.fixture(scope="module")
def go_sdk():
    """The program of tests/agreement/go; building it again takes no time."""
    folder = ROOT / "target" / "agreement"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["go", "build", "-o", str(folder / "go-sdk"), "."]
        subprocess.run(command, cwd=AGREEMENT / "go", check=True, timeout=540)
    return folder / "go-sdk"


@pytest.fixture(scope="module")
def outcomes(request, go_sdk):
    """The outcome of each selected case, by its name, as soon as it is there; cases run side by side."""
    laboratory = Laboratory(conftest.plugin_bin(), go_sdk)
    items = [item for item in request.session.items if item.module is request.module and hasattr(item, "callspec")]
    selected = [item.callspec.params["case"] for item in items]
    with ThreadPoolExecutor(4) as pool:
        yield {case["name"]: pool.submit(laboratory.run, case) for case in selected}
        pool.shutdown(cancel_futures=True)
    laboratory.close()


def differing(sdk, outcome):
    return [field for field in FIELDS[sdk] if outcome["plugin"].get(field) != outcome[sdk].get(field)]


# The first case also builds the program in Go.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
def test_agreement(case, outcomes, agreements):
    """One case, through the plugin and both SDKs."""
    outcome = outcomes[case["name"]].result()
    plugin = outcome["plugin"]
    ended = plugin["auth"] or " ".join(plugin["error"])
    assert ended == case["expect"], json.dumps(outcome, indent=1)
    for sdk in FIELDS:
        exception = EXCEPTIONS[case[sdk]] if sdk in case else {"fields": []}
        fields = differing(sdk, outcome)
        assert set(fields) <= set(exception["fields"]) and bool(fields) == bool(exception["fields"]), (
            f"the plugin and the SDK for {sdk} differ in {fields or 'nothing'}; expected: {exception}\n"
            + json.dumps({"plugin": plugin, sdk: outcome[sdk]}, indent=1)
        )
        agreements[sdk] += not fields
    agreements["cases"] += 1


@pytest.fixture(scope="module")
def agreements(pytestconfig):
    """How many cases agreed with each SDK. Printed when all have run."""
    counts = dict.fromkeys(("cases", *FIELDS), 0)
    yield counts
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(
            f"\n{counts['cases']} cases: the plugin agrees with the SDK for Go in {counts['go']}, with the SDK for Python "
            f"in {counts['python']}; the others are exceptions with a reason"
        )


def test_every_exception_has_a_reason():
    """An exception without a reason would be a bug that nobody looks at."""
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert {case[sdk] for case in CASES for sdk in FIELDS if sdk in case} == set(EXCEPTIONS)
    for name, exception in EXCEPTIONS.items():
        assert exception["fields"] and len(exception["because"]) > 20, name


def test_the_page_about_signing_in_has_every_way_and_property():
    """docs/sign-in.md has a section for each way, in the order in which they are tried, and names what exists."""
    page = (ROOT / "docs" / "sign-in.md").read_text()
    error = list_tokens(conftest.plugin_bin(), {}, {"host": "http://127.0.0.1:1", "authType": "none"}, 60)
    ways = re.search(r"is one of ([\w, -]+)\.", error)[1].split(", ")
    sections = page.split("\n## The ways\n")[1].split("\n## ")[0]
    assert re.findall(r"^### (.+)$", sections, re.MULTILINE) == ways
    properties = json.loads((ROOT / "schema.json").read_text())["provider"]["inputProperties"]
    assert set(re.findall(r"databricks:([a-z]\w+)", page)) <= set(properties)
