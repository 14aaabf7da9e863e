"""Creates: for every point at which something can fail between "about to send" and "the engine has the answer", no
token exists, or the engine has it, or it was revoked by its id, or the error names it.

docs/reliability-and-security.md has the same points in its table "Creates". Those of the engine itself are in
test_faults_engine.py.
"""

import datetime
import signal
import subprocess
import sys
import time

import grpc
import pytest
from conftest import ROOT, Provider, struct
from pulumi.runtime.proto import provider_pb2
from support_reliability import (
    COMMENT,
    CREATE,
    DELETE,
    INPUTS,
    LIST,
    Case,
    End,
    SideBySide,
    create_and_never_read,
    finish,
    http_server,
    rows,
    self_signed_server,
    wait_until,
)

DOCUMENT = ROOT / "docs/reliability-and-security.md"
HTML = {"html": True, "message": "upstream"}
BUSY = {"status": 503, "error_code": "TEMPORARILY_UNAVAILABLE", "message": "busy"}

# --- What the workspace, or what stands before it, does to the request ---

# Name of the case: (fault of POST token/create, fate of the token, part of the error or None).
ANSWERS = {
    # Refused for certain: nothing was created, and asking again is safe.
    "429": ({"status": 429}, "state", None),
    "429, Retry-After in seconds": ({"status": 429, "retry_after": "1"}, "state", None),
    "429, Retry-After as a date": ({"status": 429, "retry_after": "+2"}, "state", None),
    "429 without a Databricks body": ({"status": 429, **HTML}, "state", None),
    "503 of Databricks": (BUSY, "state", None),
    "503 of Databricks, Retry-After": (BUSY | {"retry_after": "1"}, "state", None),
    "Retry-After beyond the limit": ({"status": 429, "retry_after": "7200"}, "none", "gave up"),
    "400": ({"status": 400, "error_code": "INVALID_PARAMETER_VALUE", "message": "no"}, "none", "(400 INVALID"),
    "401": ({"status": 401}, "none", "(401 "),
    "403": ({"status": 403}, "none", "(403 "),
    "404": ({"status": 404}, "none", "(404 "),
    "a redirect": ({"status": 302, "headers": {"location": "https://elsewhere.invalid/x"}}, "none", "not followed"),
}
# No complete answer, or one that leaves open whether the token was created. Each comes without and with the work done.
OPEN = {
    "reset connection": {"drop": "before"},
    "no answer": {"hang": True},
    "408": {"status": 408, **HTML},
    "500": {"status": 500},
    "502": {"status": 502, **HTML},
    "503 of a proxy": {"status": 503, **HTML},
    "504": {"status": 504, **HTML},
    "HTML with status 200": HTML,
    "another answer with status 200": {"status": 200, "body": {"something": "else"}},
    "an answer without an id": {"status": 200, "body": {"token_value": "x", "token_info": {"comment": COMMENT}}},
}
for name, action in OPEN.items():
    ANSWERS[f"{name}, not done"] = (action, "none", "lists no new token")
    done = {"drop": "after"} if "drop" in action else action | {"work": True}
    ANSWERS[f"{name}, done"] = (done, "named", "whose value nobody has")
ANSWERS |= {
    "late answer, done": ({"delay_ms": 1600, "work": True}, "named", "timed out"),
    "nothing of the body": ({"truncate_after_bytes": 0}, "named", "no complete answer"),
    "half the body": ({"truncate_after_bytes": 60}, "named", "no complete answer"),
    "half the body, then silence": ({"truncate_after_bytes": 60, "hang": True}, "named", "timed out"),
}


def one_answer(name, home):
    action, fate, text = ANSWERS[name]
    if str(action.get("retry_after", "")).startswith("+"):
        at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=int(action["retry_after"]))
        action = action | {"retry_after": at.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    with Case(home, httpTimeoutSeconds=1) as case:
        case.workspace.fault(CREATE, action)
        end = case.create()
        assert case.fate(end) == {fate}
        assert (text is None) == (end.code == grpc.StatusCode.OK), end
        assert text is None or text in end.text, end
        # Where the outcome is not certain, the tokens are listed, and the error says what to look for.
        open_end = "not done" in name or fate == "named"
        assert len(case.workspace.requests(LIST)) == open_end
        assert "lists no new token" not in end.text or COMMENT in end.text, end
        # A create that may have been carried out is never sent again.
        assert len(case.workspace.requests(CREATE)) == (2 if fate == "state" else 1)


# --- Everything else between the request and the engine ---


def list_fails_as_well(case):
    """Nothing can be found out: the error says what to look for, since when, and why it does not know."""
    case.workspace.fault(CREATE, {"drop": "after"})
    case.workspace.fault(LIST, {"status": 500}, times=0)
    before = datetime.datetime.now(datetime.UTC)
    end = case.create()
    for part in (COMMENT, "could not be found out", "(500 ", before.strftime("%Y-%m-%d %H:%M"), "evoke"):
        assert part in end.text, end
    (token,) = case.workspace.tokens()
    assert token["live"]
    return "described"


def others_with_the_same_comment(case):
    """Any of them may be somebody else's, so none is revoked. One that was there long before is not suspected."""
    case.workspace.advance(-3600)
    old, _ = case.workspace.mint(comment=COMMENT)
    case.workspace.advance(3600)
    mine, _ = case.workspace.mint(comment=COMMENT)
    case.workspace.mint(comment="another")
    case.workspace.fault(CREATE, {"drop": "after"})
    end = case.create()
    named = [it["id"] for it in case.workspace.tokens() if it["comment"] == COMMENT and it["id"] != old]
    assert len(named) == 2 and mine in named
    assert all(it in end.text for it in named) and old not in end.text, end
    assert len(case.workspace.live()) == 4 and not case.workspace.requests(DELETE)
    return "named"


def description_of_the_host_fails(case):
    case.workspace.fault("/.well-known/databricks-config", {"drop": "before"}, times=0)
    return case.fate(case.create())


def connection_is_refused(case):
    with http_server(None) as gone:
        pass
    case.provider.configure(**case.config | {"host": f"http://127.0.0.1:{gone.port}", "retryTimeoutSeconds": 1})
    end = case.create()
    assert "cannot connect to" in end.text and "databricks:host" in end.text, end
    return case.fate(end)


def name_is_unknown(case):
    case.provider.configure(**case.config | {"host": "https://workspace.invalid", "retryTimeoutSeconds": 1})
    end = case.create()
    assert "cannot connect to https://workspace.invalid" in end.text, end
    return case.fate(end)


def tls_where_none_is(case):
    host = case.workspace.host.replace("http://", "https://")
    case.provider.configure(**case.config | {"host": host, "retryTimeoutSeconds": 1})
    end = case.create()
    assert "does not speak TLS" in end.text and "databricks:host" in end.text, end
    assert not case.workspace.requests(CREATE)
    return case.fate(end)


def certificate_of_nobody(case):
    with self_signed_server() as server:
        host = f"https://localhost:{server.port}"
        case.provider.configure(**case.config | {"host": host, "retryTimeoutSeconds": 1})
        end = case.create()
        assert "the certificate of " in end.text and "SSL_CERT_FILE" in end.text, end
        assert server.seen == []
    return case.fate(end)


def no_credentials(case):
    case.provider.configure(host=case.workspace.host)
    end = case.create()
    assert "cannot configure default credentials" in end.text, end
    assert not case.workspace.requests(CREATE)
    return case.fate(end)


def quota(case):
    case.workspace.control("/quota", {"quota": 0})
    end = case.create()
    assert "QUOTA_EXCEEDED" in end.text and "600" in end.text, end
    return case.fate(end)


# How long a slow answer takes, in milliseconds: longer than a test needs to act meanwhile, on a busy machine too.
SLOW_MS = 2_500


def cancel_before(case):
    """Cancel comes while the plugin still finds out who answers at the host."""
    case.workspace.fault("/.well-known/databricks-config", {"delay_ms": SLOW_MS, "work": True})
    call = case.start_create()
    case.asked("/.well-known/databricks-config")
    case.provider.cancel()
    end = finish(call)
    assert "cancelled" in end.text, end
    assert not case.workspace.requests(CREATE)
    return case.fate(end)


def cancel_while_waiting(case):
    case.workspace.fault(CREATE, {"status": 429, "retry_after": "600"}, times=0)
    call = case.start_create()
    case.asked(CREATE)
    time.sleep(0.1)
    case.provider.cancel()
    end = finish(call)
    # The wait was broken off: at its end there would have been another request.
    assert end.code != grpc.StatusCode.OK and len(case.workspace.requests(CREATE)) == 1, end
    return case.fate(end)


def cancel_in_flight(case):
    """The engine still waits for the create that it has asked for."""
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
    call = case.start_create()
    case.asked(CREATE)
    case.provider.cancel()
    return case.fate(finish(call))


def cancel_then_the_answer_is_lost(case):
    """The search for what may have been left behind is not cancelled."""
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "drop": "after"})
    call = case.start_create()
    case.asked(CREATE)
    case.provider.cancel()
    return case.fate(finish(call))


def revoked(case, end):
    wait_until(lambda: case.workspace.tokens() and not case.workspace.live(), "the new token's end")
    return case.fate(end)


def call_is_cancelled(case):
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
    call = case.start_create()
    case.asked(CREATE)
    call.cancel()
    return revoked(case, finish(call))


def call_is_cancelled_before_the_work(case):
    """The request is under way, and the workspace has not begun the work."""
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS})
    call = case.start_create()
    case.asked(CREATE)
    call.cancel()
    return revoked(case, finish(call))


def resource_times_out_meanwhile(case):
    """The resource's limit passes while nobody waits any more; the token is revoked all the same, at the second try."""
    case.workspace.fault(DELETE, BUSY)
    case.workspace.fault(CREATE, {"delay_ms": 2 * SLOW_MS, "work": True})
    call = case.start_create(timeout=2)
    case.asked(CREATE)
    call.cancel()
    return revoked(case, finish(call))


def deadline_of_the_call(case):
    case.workspace.fault(CREATE, {"delay_ms": 2 * SLOW_MS, "work": True})
    end = finish(case.start_create(deadline=2))
    # Caller and plugin both watch the clock; where the plugin is first, the call counts as cancelled.
    assert end.code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
    return revoked(case, end)


def connection_is_lost(case):
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
    call = case.start_create()
    case.asked(CREATE)
    case.plugin.channels[0].close()
    return revoked(case, finish(call))


def nobody_waits_and_the_answer_is_lost(case):
    """Nobody can be told any more; the log is all there is."""
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "drop": "after"})
    call = case.start_create()
    case.asked(CREATE)
    call.cancel()
    end = finish(call)
    wait_until(lambda: "nobody waited" in case.plugin.stderr, "the log")
    return case.fate(end)


def revoking_fails_at_first(case):
    case.workspace.fault(DELETE, BUSY)
    case.workspace.fault(DELETE, {"drop": "after"})
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
    call = case.start_create()
    case.asked(CREATE)
    call.cancel()
    return revoked(case, finish(call))


def revoking_fails(case):
    case.workspace.fault(DELETE, {"status": 403}, times=0)
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
    call = case.start_create()
    case.asked(CREATE)
    call.cancel()
    end = finish(call)
    wait_until(lambda: "which is left" in case.plugin.stderr, "the log")
    return case.fate(end)


def reply_is_never_taken(case):
    request = provider_pb2.CreateRequest(urn=Provider.URN, properties=struct(INPUTS))
    connection = create_and_never_read(case.plugin.port, request)
    wait_until(case.workspace.live, "the token")
    time.sleep(0.3)
    assert case.workspace.live(), "it was given up while the engine may still read"
    connection.close()
    return revoked(case, End())


def answer_without_expiry(case):
    token_id, value = case.workspace.mint(comment=COMMENT)
    (created,) = [token["creation_time"] for token in case.workspace.tokens() if token["id"] == token_id]
    info = {"token_id": token_id, "comment": COMMENT, "creation_time": created}
    case.workspace.fault(CREATE, {"status": 200, "body": {"token_value": value, "token_info": info}})
    return token_id, value


def incomplete_answer(case):
    """The answer lacks what the state needs: the list of tokens has it."""
    case.workspace.mint(comment=COMMENT, lifetime_seconds=60)
    token_id, value = answer_without_expiry(case)
    end = case.create()
    listed = {token["id"]: token["expiry_time"] for token in case.workspace.tokens()}
    assert end.id == token_id and end.outputs["expiryTime"] == listed[token_id], end
    assert case.workspace.accepts(value) and end.outputs["tokenValue"]["value"] == value
    return "state"


def incomplete_answer_and_no_list(case):
    """What is missing cannot be read: the state keeps what is known."""
    token_id, value = answer_without_expiry(case)
    case.workspace.fault(LIST, {"status": 500}, times=0)
    end = case.create()
    assert end.code == grpc.StatusCode.UNKNOWN and end.id == token_id and "expiry" in end.text, end
    assert value not in end.text
    return case.fate(end)


def asked_to_end(number):
    def run(case):
        case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
        call = case.start_create()
        case.asked(CREATE)
        case.plugin.process.send_signal(number)
        end = finish(call)
        assert case.plugin.process.wait(timeout=60) == 0
        return case.fate(end)

    return run


def stdin_ends(case):
    """As far as stdin shows, the engine is gone; its connection is still there, so it gets the answer."""
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
    call = case.start_create()
    case.asked(CREATE)
    case.plugin.process.stdin.close()
    end = finish(call)
    assert case.plugin.process.wait(timeout=60) == 0
    return case.fate(end)


def stdin_and_connection_end(case):
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
    call = case.start_create()
    case.asked(CREATE)
    case.plugin.process.stdin.close()
    case.plugin.channels[0].close()
    end = finish(call)
    assert case.plugin.process.wait(timeout=60) == 0
    return revoked(case, end)


# A client that is killed in the middle of its call: its kernel closes the connection.
CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
import grpc
from conftest import Provider, secret
provider = Provider(grpc.insecure_channel(f"127.0.0.1:{sys.argv[2]}"))
provider.configure(host=sys.argv[3], token=secret(sys.argv[4]))
provider.create({"comment": sys.argv[5]})
"""


def client_is_killed(case):
    case.workspace.fault(CREATE, {"delay_ms": SLOW_MS, "work": True})
    here = str(ROOT / "tests/python")
    arguments = [here, str(case.plugin.port), case.workspace.host, case.workspace.token, COMMENT]
    client = subprocess.Popen([sys.executable, "-c", CLIENT, *arguments])
    try:
        case.asked(CREATE)
    finally:
        client.kill()
        client.wait(timeout=10)
    return revoked(case, End())


# Name of the case: (what happens, fate of the token).
EVENTS = {
    "the host does not describe itself": (description_of_the_host_fails, "state"),
    "connection refused": (connection_is_refused, "none"),
    "unknown host name": (name_is_unknown, "none"),
    "TLS to a port without": (tls_where_none_is, "none"),
    "certificate that nobody signed": (certificate_of_nobody, "none"),
    "no credentials": (no_credentials, "none"),
    "quota reached": (quota, "none"),
    "Cancel before the request is sent": (cancel_before, "none"),
    "Cancel during a wait": (cancel_while_waiting, "none"),
    "Cancel after the request is sent": (cancel_in_flight, "state"),
    "Cancel, then the answer is lost": (cancel_then_the_answer_is_lost, "named"),
    "the list fails as well": (list_fails_as_well, "described"),
    "others have the same comment": (others_with_the_same_comment, "named"),
    "an answer without the expiry": (incomplete_answer, "state"),
    "an answer without the expiry, and no list": (incomplete_answer_and_no_list, "state"),
    "the call is cancelled, before the work": (call_is_cancelled_before_the_work, "revoked"),
    "the call is cancelled, after the work": (call_is_cancelled, "revoked"),
    "the call is cancelled, and the resource's timeout passes": (resource_times_out_meanwhile, "revoked"),
    "the call's deadline passes": (deadline_of_the_call, "revoked"),
    "the engine's connection is lost": (connection_is_lost, "revoked"),
    "the engine's process is killed": (client_is_killed, "revoked"),
    "the reply is never taken": (reply_is_never_taken, "revoked"),
    "revoking fails at first": (revoking_fails_at_first, "revoked"),
    "revoking fails": (revoking_fails, "logged"),
    "nobody waits, and the answer is lost": (nobody_waits_and_the_answer_is_lost, "logged"),
    "SIGTERM": (asked_to_end(signal.SIGTERM), "state"),
    "SIGINT": (asked_to_end(signal.SIGINT), "state"),
    "end of stdin": (stdin_ends, "state"),
    "end of stdin and of the connection": (stdin_and_connection_end, "revoked"),
}


def one_event(name, home):
    run, fate = EVENTS[name]
    # The end of stdin says something only about the engine that started the plugin.
    engine = "127.0.0.1:1" if "stdin" in name else None
    with Case(home, engine=engine) as case:
        found = run(case)
        assert found in (fate, {fate}), found


CASES = dict.fromkeys(ANSWERS, one_answer) | dict.fromkeys(EVENTS, one_event)


@pytest.fixture(scope="module")
def ends(request):
    cases = SideBySide(request, lambda name, home: CASES[name](name, home))
    yield cases
    cases.stop()


@pytest.mark.parametrize("name", CASES)
def test_no_token_is_lost(ends, name):
    assert ends[name] is None


def test_the_document_has_every_point():
    from test_faults_engine import POINTS

    assert sorted(rows(DOCUMENT, "### Creates")) == sorted([*CASES, *POINTS])
