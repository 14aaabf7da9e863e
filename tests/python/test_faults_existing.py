"""Reads, deletes and updates under faults: no live token is dropped from the state because of an error, and what may
have been carried out is repeated safely.

docs/reliability-and-security.md has the same faults in its table "Reads, deletes and updates".
"""

import grpc
import pytest
from conftest import ROOT, plain
from support_reliability import DELETE, INPUTS, LIST, UPDATE, Case, End, SideBySide, attempt, rows

DOCUMENT = ROOT / "docs/reliability-and-security.md"
HTML = {"html": True, "message": "upstream"}
BUSY = {"status": 503, "error_code": "TEMPORARILY_UNAVAILABLE", "message": "busy"}
# An update states its rotation, so that the comment changes in place.
STATED = INPUTS | {"rotateBeforeSeconds": 60}
CHANGED = STATED | {"comment": "changed"}

# Name of the fault: (fault of the one request, whether the plugin itself gets over it).
FAULTS = {
    "reset connection, not done": ({"drop": "before"}, True),
    "reset connection, done": ({"drop": "after"}, True),
    "no answer, not done": ({"hang": True}, True),
    "no answer, done": ({"hang": True, "work": True}, True),
    "late answer, done": ({"delay_ms": 1600, "work": True}, True),
    "nothing of the body": ({"truncate_after_bytes": 0}, True),
    "half the body": ({"truncate_after_bytes": 1}, True),
    "half the body, then silence": ({"truncate_after_bytes": 1, "hang": True}, True),
    "429": ({"status": 429, "retry_after": "1"}, True),
    "503 of Databricks": (BUSY, True),
    "503 of a proxy, not done": ({"status": 503, **HTML}, True),
    "503 of a proxy, done": ({"status": 503, "work": True, **HTML}, True),
    "400": ({"status": 400, "error_code": "INVALID_PARAMETER_VALUE", "message": "no"}, False),
    "401": ({"status": 401}, False),
    "403": ({"status": 403}, False),
    "404 of a proxy": ({"status": 404, **HTML}, False),
    "404, tokens are switched off": ({"status": 404, "error_code": "FEATURE_DISABLED", "message": "off"}, False),
    "a redirect": ({"status": 302, "headers": {"location": "/login"}}, False),
    "500, not done": ({"status": 500}, False),
    "500, done": ({"status": 500, "work": True}, False),
    "502, not done": ({"status": 502, **HTML}, False),
    "502, done": ({"status": 502, "work": True, **HTML}, False),
    "504, not done": ({"status": 504, **HTML}, False),
    "504, done": ({"status": 504, "work": True, **HTML}, False),
    "HTML with status 200": (HTML, False),
}
# Only reads can get another answer: the answers to deletes and updates carry nothing.
FAULTS_OF_READS = {
    "another answer with status 200": ({"status": 200, "body": {"something": "else"}}, False),
    "an empty answer with status 200": ({"status": 200, "body": ""}, False),
}


def read(case, token_id, outputs, gets_over):
    """The result is the live token; anything else is an error, and never "gone"."""
    response = attempt(case.provider.read, token_id, STATED, outputs)
    if gets_over:
        assert plain(response.properties)["tokenValue"] == outputs["tokenValue"]
    else:
        assert isinstance(response, End) and response.text, response
    # The next read is right, whatever happened.
    assert case.provider.read(token_id, STATED, outputs).id == token_id
    assert case.workspace.live() == [token_id]


def delete(case, token_id, outputs, gets_over):
    """Success means that the token is revoked. After an error the state keeps it, and the next delete succeeds."""
    end = attempt(case.provider.delete, token_id, STATED, outputs)
    if gets_over:
        assert end is None, end
    else:
        assert isinstance(end, End) and end.text, end
        case.provider.delete(token_id, STATED, outputs)
    assert case.workspace.live() == []
    # Nothing else was revoked, and a delete too many is no error.
    assert {entry["body"]["token_id"] for entry in case.workspace.requests(DELETE)} == {token_id}
    case.provider.delete(token_id, STATED, outputs)


def update(case, token_id, outputs, gets_over):
    """After an error the state keeps what was there, value included, and the next update brings it up to date."""
    end = attempt(case.provider.update, token_id, CHANGED, STATED, outputs)
    if gets_over:
        assert end["comment"] == "changed" and end["tokenValue"] == outputs["tokenValue"], end
    else:
        assert isinstance(end, End) and end.text, end
        again = case.provider.update(token_id, CHANGED, STATED, outputs)
        assert again["tokenValue"] == outputs["tokenValue"]
    (token,) = case.workspace.tokens()
    assert token["comment"] == "changed" and token["live"]


OPERATIONS = {"read": (read, LIST, "GET"), "delete": (delete, DELETE, "POST"), "update": (update, UPDATE, "PATCH")}
CASES = {
    f"{operation}: {fault}": (operation, fault)
    for operation in OPERATIONS
    for fault in [*FAULTS, *(FAULTS_OF_READS if operation == "read" else [])]
}


def run(name, home):
    operation, fault = CASES[name]
    check, path, method = OPERATIONS[operation]
    action, gets_over = (FAULTS | FAULTS_OF_READS)[fault]
    with Case(home, httpTimeoutSeconds=1) as case:
        token_id, outputs = case.provider.create(STATED)
        case.workspace.fault(path, action, method=method)
        check(case, token_id, outputs, gets_over)


@pytest.fixture(scope="module")
def ends(request):
    cases = SideBySide(request, run)
    yield cases
    cases.stop()


@pytest.mark.parametrize("name", CASES)
def test_no_live_token_is_forgotten(ends, name):
    assert ends[name] is None


def test_a_fault_that_stays_is_an_error(provider, workspace):
    """As long as the workspace fails, a read is an error."""
    token_id, outputs = provider.create(INPUTS)
    provider.configure(host=workspace.host, token=workspace.token, retryTimeoutSeconds=1)
    for action in ({"drop": "before"}, BUSY, {"status": 429, "retry_after": "30"}):
        workspace.fault(LIST, action, times=0)
        with pytest.raises(grpc.RpcError) as caught:
            provider.read(token_id, INPUTS, outputs)
        assert "cannot read token: " in caught.value.details()
        workspace.control("/faults", method="DELETE")
    assert provider.read(token_id, INPUTS, outputs).id == token_id


def test_a_token_that_is_gone_is_gone(provider, workspace):
    """The other side: what Databricks certainly no longer has leaves the state."""
    token_id, outputs = provider.create(INPUTS)
    workspace.revoke_later(token_id)
    response = provider.read(token_id, INPUTS, outputs)
    assert (response.id, plain(response.properties)) == ("", {})
    provider.delete(token_id, INPUTS, outputs)


def test_the_document_has_every_fault():
    assert sorted(rows(DOCUMENT, "### Reads, deletes and updates")) == sorted([*FAULTS, *FAULTS_OF_READS])
