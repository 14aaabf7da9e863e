"""Calls about what is not ours go to the official plugin. A script stands in for that; a raw client is the engine."""

import json
import signal
import subprocess
import threading

import grpc
import pytest
from conftest import (
    SIGNATURE, TOKEN_TYPE, UNKNOWN, clean_environment, init_failed, plain, plugin_bin, secret, struct,
    wait_for,
)
from pulumi.runtime.proto import provider_pb2 as pb
from support_forward import CLUSTER, VARIABLE, Scripted, alive, urn

LIKE_A_TOKEN = "dapi" + "0123456789abcdef" * 2
ASSET = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "hash": "h", "text": "t"}


def reference(**fields):
    return {SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e", "urn": "u", **fields}


def status_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


@pytest.fixture
def official(tmp_path):
    """Makes scripted plugins: official(mode). None of their processes may be left in the end."""
    made = []

    def make(mode="well", folder=None):
        made.append(Scripted(tmp_path / (folder or f"official-{len(made)}"), mode))
        return made[-1]

    yield make
    for it in made:
        wait_for(lambda it=it: not any(map(alive, it.pids())), what=f"the end of {it.pids()}")


@pytest.fixture
def connect(official, plugin, workspace, fake_engine):
    """Starts our plugin with a scripted one: (client, scripted, process)."""

    def start(mode="well", configure=True, **env):
        it = official(mode)
        process = plugin(engine=fake_engine.address, env=it.env | env)
        client = process.connect()
        client.handshake(engine_address=fake_engine.address, root_directory="/ours", program_directory="/ours")
        if configure:
            client.configure(host=workspace.host, token=secret(workspace.token), version="1.118.0")
        return client, it, process

    return start


# --- What goes where ---


def test_credentials_never_start_it(connect):
    client, it, _ = connect()
    client.check({"comment": "c"})
    token_id, outputs = client.create({"comment": "c"})
    client.diff(token_id, {"comment": "c"}, {"comment": "c"}, outputs)
    client.read(token_id, {"comment": "c"}, outputs)
    client.list(TOKEN_TYPE)
    client.delete(token_id, {"comment": "c"}, outputs)
    client.check_config({"host": "http://localhost"})
    client.cancel()
    assert it.calls() == []


def test_everything_else_goes_to_it(connect, fake_engine):
    client, it, _ = connect()
    inputs, failures = client.check({"name": "n"}, urn=urn("c"))
    assert (inputs, failures) == ({"name": "n"}, [])
    client.diff("i", {"name": "n"}, {}, {}, urn=urn("c"))
    assert client.create({"name": "n"}, urn=urn("c")) == ("id of c", {"name": "n", "computed": "c"})
    assert client.read("i", {"name": "n"}, {"name": "n"}, urn=urn("c")).id == "i"
    assert client.update("i", {"name": "m"}, {}, {}, urn=urn("c")) == {"name": "m"}
    client.delete("i", {}, {}, urn=urn("c"))
    assert client.list(CLUSTER) == [("0", "n0"), ("1", "n1"), ("2", "n2")]
    answer = client.stub.Invoke(pb.InvokeRequest(tok="databricks:index/getCluster:getCluster", preview=True))
    assert plain(getattr(answer, "return")) == {"answer": "of databricks:index/getCluster:getCluster", "preview": True}
    client.stub.Call(pb.CallRequest(tok=f"{CLUSTER}/start"))
    assert client.stub.Construct(pb.ConstructRequest(type="databricks:index:Component")).urn == "urn"
    assert it.methods()[1:] == [
        "Handshake", "Configure", "Check", "Diff", "Create", "Read", "Update", "Delete",
        "List", "Invoke", "Call", "Construct",
    ]
    # It speaks to the engine through us.
    handshake = it.wait("Handshake")["request"]
    address = handshake["engineAddress"]
    assert it.methods()[0] == f"start ['{address}']" and address != fake_engine.address
    assert handshake == {
        "engineAddress": address,
        "rootDirectory": str(it.path.parent),
        "programDirectory": str(it.path.parent),
    }
    # After a token in between, the same process goes on.
    client.create({"comment": "c"})
    client.check({"name": "n"}, urn=urn("d"))
    assert len(it.pids()) == 1


def test_the_type_field_comes_before_the_urn(connect):
    client, it, _ = connect()
    request = pb.CheckRequest(urn=urn("c", TOKEN_TYPE), type=CLUSTER, news=struct({"name": "n"}))
    assert plain(client.stub.Check(request).inputs) == {"name": "n"}
    nested = f"urn:pulumi:test::test::my:Component${CLUSTER}::c"
    client.check({"name": "n"}, urn=nested)
    assert len(it.calls("Check")) == 2


def test_it_is_configured_as_the_engine_said(connect, workspace):
    client, it, _ = connect()
    client.check({}, urn=urn("c"))
    configure = it.wait("Configure")["request"]
    assert configure["args"]["token"] == secret(workspace.token)
    assert configure["args"]["host"] == workspace.host
    assert configure["acceptSecrets"]


def test_fields_and_metadata_that_nobody_here_knows_arrive(connect):
    client, it, process = connect()
    unknown = b"\x82\x7d\x03new"
    create = process.channels[0].unary_unary("/pulumirpc.ResourceProvider/Create")
    for properties in ({"a": "b"}, {"a": secret("b")}):
        request = pb.CreateRequest(urn=urn("c"), properties=struct(properties)).SerializeToString()
        create(request + unknown, metadata=[("traceparent", "00-1-2-03")], timeout=60)
    for call in it.calls("Create"):
        assert bytes.fromhex(call["bytes"]).endswith(unknown)
        assert call["metadata"]["traceparent"] == "00-1-2-03"


def test_every_connection_has_a_process_of_its_own(official, plugin, workspace, fake_engine):
    it = official()
    process = plugin(engine=fake_engine.address, env=it.env)
    clients = [process.connect() for _ in range(2)]
    for number, client in enumerate(clients):
        client.handshake(engine_address=fake_engine.address)
        client.configure(host=workspace.host, token=secret(workspace.token), profile=str(number))
    for client in clients:
        client.check({}, urn=urn("c"))
    assert len(it.pids()) == 2
    profiles = {call["pid"]: call["request"]["args"]["profile"] for call in it.calls("Configure")}
    assert [profiles[call["pid"]] for call in it.calls("Check")] == ["0", "1"]


def test_calls_that_come_at_once_share_one_start(connect):
    client, it, _ = connect()
    threads = [threading.Thread(target=client.check, args=({},), kwargs={"urn": urn("c")}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(it.pids()) == len(it.calls("Configure")) == 1
    assert len(it.calls("Check")) == 8


def test_a_new_command_gets_a_new_process(official, plugin, workspace, fake_engine):
    """A debugger keeps our process, and often the connection, over many commands."""
    it = official()
    client = plugin(stdin=subprocess.DEVNULL, env=it.env).connect()
    for number in range(2):
        client.handshake(engine_address=fake_engine.address)
        client.attach(fake_engine.address)
        client.configure(host=workspace.host, token=secret(workspace.token))
        client.check({}, urn=urn("c"))
        client.cancel()
        assert len(it.pids()) == number + 1
    assert len(it.calls("Attach")) == 2
    wait_for(lambda: not alive(it.pids()[0]), what="the end of the first one")
    it.wait("Cancel")


def test_a_lost_connection_is_made_anew_after_many_commands(official, plugin, workspace, fake_engine):
    """The configuration of a command that has ended does not count, nor does a connection that asks for the schema."""
    it = official()
    process = plugin(engine=fake_engine.address, env=it.env)
    for number in range(2):
        client = process.connect()
        client.handshake(engine_address=fake_engine.address)
        client.configure(host=workspace.host, token=secret(workspace.token), profile=str(number))
        if number == 0:
            client.cancel()
    process.channels[-1].close()
    client = process.connect()
    assert CLUSTER in client.stub.GetSchema(pb.GetSchemaRequest()).schema
    code, text = status_of(lambda: client.create({"a": "b"}, urn=urn("refusing")))
    assert (code, text) == (grpc.StatusCode.PERMISSION_DENIED, "refused: ***"), text
    assert client.create({"a": "b"}, urn=urn("c"))[0] == "id of c"
    (configure,) = it.calls("Configure")
    assert configure["request"]["args"]["profile"] == "1"
    # The command ends on the new connection, and its configuration with it.
    client.cancel()
    code, text = status_of(lambda: process.connect().create({}, urn=urn("c")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "Configure was not called" in text


def test_the_next_of_several_providers_has_to_be_configured(official, plugin, workspace, fake_engine):
    it = official()
    process = plugin(engine=fake_engine.address, env=it.env)
    clients = [process.connect() for _ in range(2)]
    for number, client in enumerate(clients):
        client.configure(host=workspace.host, token=secret(workspace.token), profile=str(number))
    code, text = status_of(lambda: process.connect().check({}, urn=urn("c")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert text.startswith(f"cannot check {CLUSTER}: ") and "serves several providers" in text
    assert it.calls("Configure") == []


def test_a_long_message_passes(connect):
    client, _, _ = connect()
    long = "x" * (20 << 20)
    _, outputs = client.create({"long": long}, urn=urn("c"))
    assert outputs["long"] == long


# --- Secrets ---


def test_what_takes_no_secrets_gets_none_and_their_marks_come_back(connect):
    client, it, _ = connect()
    sent = {
        "plain": "p",
        "hidden": secret("h"),
        "list": ["a", secret({"b": secret("c")})],
        "nested": {"in": secret("i"), "out": "o"},
        "reference": reference(id="i"),
        "unborn": reference(id=""),
        "component": reference(),
        "asset": ASSET,
        "unknown": secret(UNKNOWN),
    }
    got = {
        "plain": "p",
        "hidden": "h",
        "list": ["a", {"b": "c"}],
        "nested": {"in": "i", "out": "o"},
        "reference": "i",
        "unborn": UNKNOWN,
        "component": "u",
        "asset": ASSET,
        "unknown": UNKNOWN,
    }
    back = got | {
        "hidden": secret("h"),
        "list": secret(["a", {"b": "c"}]),
        "nested": {"in": secret("i"), "out": "o"},
        "unknown": secret(UNKNOWN),
    }
    inputs, _ = client.check(sent, olds=sent, urn=urn("c"))
    assert inputs == back
    assert client.create(sent, urn=urn("c"))[1] == back | {"computed": "c"}
    read = client.read("i", sent, sent, urn=urn("c"))
    assert plain(read.inputs) == plain(read.properties) == back
    assert client.update("i", sent, sent, sent, urn=urn("c")) == back
    client.diff("i", sent, sent, sent, urn=urn("c"))
    client.delete("i", sent, sent, urn=urn("c"))
    for method, fields in {
        "Check": ["olds", "news"],
        "Create": ["properties"],
        "Read": ["properties", "inputs"],
        "Update": ["olds", "news", "oldInputs"],
        "Diff": ["olds", "news", "oldInputs"],
        "Delete": ["properties", "oldInputs"],
    }.items():
        request = it.wait(method)["request"]
        for field in fields:
            assert request[field] == got, (method, field)


def test_a_function_with_a_secret_argument_has_a_secret_answer(connect):
    client, it, _ = connect()
    for args, expected in [({"a": "x"}, "of f"), ({"a": [secret("x")]}, secret("of f"))]:
        answer = client.stub.Invoke(pb.InvokeRequest(tok="f", args=struct(args)))
        assert plain(getattr(answer, "return"))["answer"] == expected
    assert it.calls("Invoke")[1]["request"]["args"] == {"a": ["x"]}


def test_what_takes_secrets_gets_them(connect):
    client, it, _ = connect("marks")
    sent = {"hidden": secret("h"), "reference": reference(id="i")}
    assert client.create(sent, urn=urn("c"))[1] == sent | {"computed": "c"}
    assert it.wait("Create")["request"]["properties"] == sent


def test_a_resource_left_incomplete_keeps_its_marks(connect):
    client, _, _ = connect()
    with pytest.raises(grpc.RpcError) as caught:
        client.create({"hidden": secret("h"), "plain": "p"}, urn=urn("half"))
    status, detail = init_failed(caught.value)
    assert (status.code, status.message) == (caught.value.code().value[0], caught.value.details()) == (2, "no: ***")
    assert detail.id == "half" and list(detail.reasons) == ["no: ***"]
    assert plain(detail.properties) == {"hidden": secret("h"), "plain": "p", "computed": "c"}


def test_its_words_are_shown_without_credentials(connect, workspace):
    client, _, process = connect()
    code, text = status_of(lambda: client.create({}, urn=urn("error")))
    assert (code, text) == (grpc.StatusCode.ALREADY_EXISTS, "there is one: ***")
    wait_for(lambda: "to stderr: ***" in process.stderr, what="its stderr")
    assert process.stdout == f"{process.port}\n"
    assert LIKE_A_TOKEN not in process.stderr
    client, _, _ = connect("refusing")
    code, text = status_of(lambda: client.check({}, urn=urn("c")))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"cannot check {CLUSTER}: cannot configure the official databricks plugin "), text
    assert "no configuration: " in text and workspace.token not in text and LIKE_A_TOKEN not in text


def test_what_it_says_to_the_user_is_shown_without_credentials(connect, fake_engine):
    client, _, _ = connect()
    # A method that the engine does not know is refused by the engine itself.
    code, _ = status_of(lambda: client.create({}, urn=urn("talking")))
    assert code == grpc.StatusCode.UNKNOWN
    assert fake_engine.messages == [("WARNING", urn("talking"), "it is ***", False)]


# --- None, or none that works ---


def install(home, *versions):
    """Installs scripted plugins where Pulumi installs plugins; ours looks there when the variable is not set."""
    made = {}
    for version in versions:
        made[version] = Scripted(home / ".pulumi" / "plugins" / f"resource-databricks-v{version}")
    return made


def test_none_is_installed(plugin, workspace, fake_engine):
    client = plugin(engine=fake_engine.address).connect()
    client.configure(host=workspace.host, token=secret(workspace.token), version="1.106.0")
    for call in (
        lambda: client.check({}, urn=urn("c")),
        lambda: client.create({}, urn=urn("c")),
        lambda: client.list(CLUSTER),
        lambda: client.stub.Construct(pb.ConstructRequest(type=CLUSTER)),
        lambda: client.stub.Invoke(pb.InvokeRequest(tok=CLUSTER)),
        lambda: client.stub.Call(pb.CallRequest(tok=CLUSTER)),
    ):
        code, text = status_of(call)
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert text.startswith(f"{CLUSTER} needs the official databricks plugin (1.x)")
        assert "`pulumi plugin install resource databricks 1.106.0`" in text
    assert plain(client.stub.Check(pb.CheckRequest(urn=urn("t", TOKEN_TYPE), news=struct({}))).inputs) == {}
    assert client.stub.GetMapping(pb.GetMappingRequest(key="terraform")).provider == "databricks"


def test_the_version_that_the_sdk_asks_for_is_found(plugin, workspace, fake_engine, tmp_path):
    installed = install(tmp_path, "1.106.0", "1.118.0", "1.20.0")
    (tmp_path / ".pulumi" / "plugins" / "resource-databricks-v1.200.0.partial").write_text("")
    for asked, used in [("1.106.0", "1.106.0"), ("1.107.0", "1.118.0"), ("2.0.0", "1.118.0"), (None, "1.118.0")]:
        process = plugin(engine=fake_engine.address)
        client = process.connect()
        version = {"version": asked} if asked else {}
        client.configure(host=workspace.host, token=secret(workspace.token), **version)
        before = len(installed[used].pids())
        client.check({}, urn=urn("c"))
        assert len(installed[used].pids()) == before + 1, asked
        process.stop()
    for it in installed.values():
        wait_for(lambda it=it: not any(map(alive, it.pids())), what="the end")


def test_help_says_which_one_is_used(tmp_path):
    def told(**env):
        environment = clean_environment(tmp_path) | env
        command = [plugin_bin(), "--help"]
        text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
        return text.split("found now: ")[1].strip()

    assert told() == "not installed"
    (it,) = install(tmp_path, "1.118.0").values()
    assert told() == str(it.path)
    assert told(**{VARIABLE: "off"}) == f"none: {VARIABLE} is off"


def test_off(connect):
    client, it, _ = connect(**{VARIABLE: "off"})
    code, text = status_of(lambda: client.check({}, urn=urn("c")))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"manages only {TOKEN_TYPE}" in text and f"unset {VARIABLE}" in text
    assert CLUSTER not in client.stub.GetSchema(pb.GetSchemaRequest()).schema
    assert it.calls() == []


def test_a_path_that_leads_nowhere(connect):
    client, _, _ = connect(**{VARIABLE: "/none/here"})
    code, text = status_of(lambda: client.check({}, urn=urn("c")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert CLUSTER in text and "none at /none/here" in text and VARIABLE in text


def test_a_path_that_leads_to_ourselves(connect):
    client, _, _ = connect(**{VARIABLE: str(plugin_bin())})
    code, text = status_of(lambda: client.check({}, urn=urn("c")))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"manages only {TOKEN_TYPE}" in text


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("rubbish", "its first line should be a port, and is `no port, but ***`"),
        ("mute", "it ended before it answered (exit status: 5). Its last words:\n  to stderr: ***\n"),
        ("lost", "ended while it was configured (exit status: 9)"),
    ],
)
def test_one_that_does_not_start(connect, mode, says):
    client, it, _ = connect(mode)
    for _ in range(2):
        code, text = status_of(lambda: client.check({}, urn=urn("c")))
        assert code == grpc.StatusCode.UNAVAILABLE
        assert says in text and str(it.path) in text and CLUSTER in text, text
        assert LIKE_A_TOKEN not in text
    it.gone()
    # Programs with credentials alone are not affected.
    client.create({"comment": "c"})


@pytest.mark.slow
@pytest.mark.waits
def test_one_that_never_answers(connect):
    """It is given a minute, which this test waits for, once for both ways."""
    started = [connect(mode) for mode in ("silent", "deaf")]
    checks = [client.stub.Check.future(pb.CheckRequest(urn=urn("c"), news=struct({}))) for client, _, _ in started]
    for check, (_, it, _) in zip(checks, started, strict=True):
        error = check.exception(timeout=120)
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert "it did not answer within 60 s, and was ended" in error.details()
        it.gone()


@pytest.mark.parametrize("mode", ["silent", "deaf", "stuck"])
def test_cancel_does_not_wait_for_its_start(connect, mode):
    client, it, _ = connect(mode)
    errors = []
    waiting = threading.Thread(target=lambda: errors.append(status_of(lambda: client.check({}, urn=urn("c")))))
    waiting.start()
    wait_for(it.pids, what="its start")
    if mode == "stuck":
        it.wait("Configure")
    client.cancel()
    waiting.join(timeout=60)
    assert errors[0][0] == grpc.StatusCode.CANCELLED


# --- Its end ---


def test_it_ends_in_mid_call(connect):
    client, it, _ = connect()
    client.check({}, urn=urn("c"))
    code, text = status_of(lambda: client.create({"a": "b"}, urn=urn("crash")))
    assert code == grpc.StatusCode.UNAVAILABLE
    assert text.startswith(f"cannot create {CLUSTER}: the official databricks plugin "), text
    assert "ended meanwhile (exit status: 7). It may have been created all the same" in text
    assert "Its last words:" in text and "goroutine 1: ***" in text and LIKE_A_TOKEN not in text
    assert len(it.calls("Create")) == 1, "a create is never repeated"
    # A preview creates nothing.
    _, text = status_of(lambda: client.create({"a": "b"}, preview=True, urn=urn("crash")))
    assert "may have been" not in text
    # The next call has a new process, configured like the first.
    assert client.create({"a": "b"}, urn=urn("c"))[0] == "id of c"
    first, second, third = it.pids()
    assert [call["pid"] for call in it.calls("Configure")] == [first, second, third]


def test_it_is_killed_in_mid_call(connect):
    client, it, _ = connect()
    errors = []
    waiting = threading.Thread(target=lambda: errors.append(status_of(lambda: client.create({}, urn=urn("hang")))))
    waiting.start()
    it.wait("Create")
    subprocess.run(["kill", "-9", str(it.pids()[0])], check=True)
    waiting.join(timeout=60)
    assert "ended meanwhile (signal: 9 (SIGKILL))" in errors[0][1]


def test_cancel_reaches_it(connect):
    client, it, _ = connect()
    client.check({}, urn=urn("c"))
    client.cancel()
    it.wait("Cancel")


def hanging(connect):
    """A create that is not answered."""
    client, it, process = connect()
    future = client.stub.Create.future(pb.CreateRequest(urn=urn("hang")))
    it.wait("Create")
    return client, it, process, future


@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "SIGKILL", "stdin"])
def test_it_goes_with_us(connect, way):
    client, it, process = connect()
    client.check({}, urn=urn("c"))
    if way == "stdin":
        process.process.stdin.close()
    else:
        process.process.send_signal(getattr(signal, way))
    process.process.wait(timeout=60)
    it.gone()
    if way != "SIGKILL":
        it.wait("Cancel")


@pytest.mark.parametrize("way", ["SIGTERM", "SIGKILL"])
def test_it_goes_with_us_in_mid_call(connect, way):
    _, it, process, future = hanging(connect)
    process.process.send_signal(getattr(signal, way))
    process.process.wait(timeout=60)
    it.gone()
    if way == "SIGTERM":
        assert "It may have been created all the same" in future.exception().details()


def test_a_call_that_nobody_waits_for_does_not_keep_it(connect):
    """The engine dies: its connection closes, and so does our stdin."""
    _, it, process, future = hanging(connect)
    future.cancel()
    process.channels[0].close()
    process.process.stdin.close()
    process.process.wait(timeout=60)
    it.gone()


def test_it_goes_with_the_connection(connect):
    client, it, process = connect()
    client.check({}, urn=urn("c"))
    process.channels[0].close()
    it.gone()
    assert process.process.poll() is None


# --- One package of two ---


def test_one_schema_and_one_mapping(connect):
    client, it, _ = connect(configure=False)
    schema = json.loads(client.stub.GetSchema(pb.GetSchemaRequest()).schema)
    assert {TOKEN_TYPE, CLUSTER} <= set(schema["resources"])
    assert schema["name"] == "databricks" and schema["version"].startswith("2.")
    mapping = client.stub.GetMapping(pb.GetMappingRequest(key="terraform"))
    assert (mapping.provider, mapping.data) == ("databricks", b"mapping")
    assert list(client.stub.GetMappings(pb.GetMappingsRequest(key="terraform")).providers) == ["databricks"]
    assert it.calls("Configure") == []


@pytest.mark.parametrize("mode", ["broken", "mute"])
def test_a_schema_that_is_not_to_be_had(connect, fake_engine, mode):
    client, _, _ = connect(mode, configure=False)
    if mode == "broken":
        _, text = status_of(lambda: client.stub.GetSchema(pb.GetSchemaRequest()))
        assert "the schema of the official databricks plugin" in text
        return
    schema = json.loads(client.stub.GetSchema(pb.GetSchemaRequest()).schema)
    assert TOKEN_TYPE in schema["resources"] and CLUSTER not in schema["resources"]
    (warning,) = [message for severity, _, message, _ in fake_engine.messages if severity == "WARNING"]
    assert "GetSchema covers only credentials: cannot start the official databricks plugin" in warning
