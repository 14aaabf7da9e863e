"""The plugin as a process: how it starts, what it answers, how it ends. A raw client stands where the engine would."""

import concurrent.futures
import json
import signal
import socket
import subprocess

import grpc
import pytest
from conftest import (
    CREATED_BY,
    OBO_TOKEN_TYPE,
    ROOT,
    SECRET_TYPE,
    TOKEN_TYPE,
    TOKEN_VALUE,
    UNKNOWN,
    FakeEngine,
    LocalWorkspace,
    Provider,
    clean_environment,
    init_failed,
    is_secret,
    plain,
    plugin_bin,
    secret,
    struct,
    wait_for,
)
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

VERSION = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))["version"]

# More than most workspaces allow: Check says so in a warning.
TOO_LONG = 731 * 24 * 60 * 60


def status_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def configured(process, workspace, **more):
    client = process.connect()
    client.handshake()
    client.configure(host=workspace.host, token=secret(workspace.token), **more)
    return client


def warned(engine):
    """The warnings that an engine got."""
    return [message for severity, _, message, _ in engine.messages if severity == "WARNING"]


def accepts_connections(family, address, port):
    with socket.socket(family) as client:
        client.settimeout(2)
        try:
            client.connect((address, port))
        except OSError:
            return False
        return True


# --- Start ---


def test_the_port_is_all_that_goes_to_stdout(plugin, workspace):
    process = plugin("--logtostderr", "-v=9")
    client = configured(process, workspace)
    token_id, outputs = client.create({"comment": "c"})
    client.delete(token_id, {"comment": "c"}, outputs)
    process.process.terminate()
    process.process.wait(timeout=60)
    for reader in process.readers:
        reader.join(timeout=60)
    assert process.stdout == f"{process.port}\n"


def test_it_listens_on_the_address_that_the_engine_dials_and_no_other(plugin):
    port = plugin().port
    assert accepts_connections(socket.AF_INET, "127.0.0.1", port)
    assert not accepts_connections(socket.AF_INET, "127.0.0.2", port)
    assert not accepts_connections(socket.AF_INET6, "::1", port)


@pytest.mark.parametrize(
    "flags",
    [
        ["--logtostderr", "-v=9", "--tracing", "tcp://127.0.0.1:1"],
        ["--tracing=tcp://127.0.0.1:1"],
        ["--not-known-yet", "--nor-this=x", "-z", "-vv"],
    ],
    ids=" ".join,
)
def test_flags_do_not_hide_the_engine_address(plugin, workspace, fake_engine, flags):
    process = plugin(*flags, engine=fake_engine.address)
    client = process.connect()
    # No Handshake: an address can come from the command line only.
    client.configure(host=workspace.host, token=secret(workspace.token))
    client.check({"lifetimeSeconds": TOO_LONG})
    assert "730 days" in warned(fake_engine)[0]


def run_plugin(tmp_path, *arguments):
    return subprocess.run(
        [plugin_bin(), *arguments], env=clean_environment(tmp_path), capture_output=True, text=True, timeout=60, check=True
    )


def test_version(tmp_path):
    answer = run_plugin(tmp_path, "--version")
    assert (answer.stdout, answer.stderr) == (f"{VERSION}\n", "")


def test_help(tmp_path):
    answer = run_plugin(tmp_path, "--help")
    assert "Usage: pulumi-resource-databricks" in answer.stdout
    assert "PULUMI_DEBUG_PROVIDERS=databricks:PORT" in answer.stdout
    assert answer.stderr == ""


# --- What it says of itself ---


def test_handshake_and_configure_announce_the_same(plugin, workspace):
    client = plugin().connect()
    hello = client.handshake(root_directory="/nowhere", configure_with_urn=True, supports_views=True)
    assert (hello.accept_secrets, hello.accept_resources, hello.accept_outputs) == (True, True, True)
    assert hello.supports_autonaming_configuration
    # A byte string need not be valid text, and the plugin's strings are.
    assert not hello.accepts_byte_string
    ready = client.configure(host=workspace.host, token=secret(workspace.token))
    assert (ready.acceptSecrets, ready.acceptResources, ready.acceptOutputs) == (True, True, True)
    assert ready.supportsPreview
    assert ready.supports_autonaming_configuration


def test_version_and_schema(plugin):
    stub = plugin().connect().stub
    assert stub.GetPluginInfo(empty_pb2.Empty()).version == VERSION
    schema = stub.GetSchema(provider_pb2.GetSchemaRequest(version=0)).schema
    assert schema == (ROOT / "schema.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", ["terraform", "tf"])
def test_converters_find_the_resources_by_their_terraform_names(plugin, key):
    stub = plugin(env={"PULUMI_DATABRICKS_OFFICIAL_PLUGIN": "off"}).connect().stub
    assert list(stub.GetMappings(provider_pb2.GetMappingsRequest(key=key)).providers) == ["databricks"]
    for provider in ("", "databricks"):
        reply = stub.GetMapping(provider_pb2.GetMappingRequest(key=key, provider=provider))
        assert reply.provider == "databricks"
        mapping = json.loads(reply.data)
        tokens = {name: it["tok"] for name, it in mapping["resources"].items()}
        assert tokens == {
            "databricks_token": TOKEN_TYPE,
            "databricks_obo_token": OBO_TOKEN_TYPE,
            "databricks_service_principal_secret": SECRET_TYPE,
        }
        for name, fields in mapping["provider"]["resources"].items():
            assert fields.keys() == mapping["resources"][name]["fields"].keys()
        assert mapping["dataSources"]["databricks_current_user"]["tok"] == "databricks:index/getCurrentUser:getCurrentUser"


def test_there_is_no_other_mapping(plugin):
    stub = plugin().connect().stub
    assert list(stub.GetMappings(provider_pb2.GetMappingsRequest(key="kubernetes")).providers) == []
    for fields in ({"key": "kubernetes"}, {"key": "terraform", "provider": "aws"}):
        mapping = stub.GetMapping(provider_pb2.GetMappingRequest(**fields))
        assert (mapping.provider, mapping.data) == ("", b"")


def test_what_the_package_does_not_have(plugin, workspace):
    stub = configured(plugin(), workspace).stub
    code, _ = status_of(lambda: stub.Parameterize(provider_pb2.ParameterizeRequest()))
    assert code == grpc.StatusCode.UNIMPLEMENTED
    token = "databricks:index/getCluster:getCluster"
    for call in (
        lambda: stub.Invoke(provider_pb2.InvokeRequest(tok=token)),
        lambda: stub.Call(provider_pb2.CallRequest(tok=token)),
    ):
        code, text = status_of(call)
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert token in text and "official databricks plugin" in text
    code, text = status_of(lambda: stub.Construct(provider_pb2.ConstructRequest(type="databricks:index:Component")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "databricks:index:Component" in text


def test_operations_need_a_configuration(plugin):
    client = plugin().connect()
    client.handshake()
    code, text = status_of(lambda: client.create({"comment": "c"}))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "Configure" in text


# --- Cancel ---


def test_cancel_waits_for_nothing_and_the_process_survives(plugin, workspace):
    process = plugin()
    client = configured(process, workspace)
    workspace.fault("/token/create", {"delay_ms": 4000})
    creating = client.stub.Create.future(provider_pb2.CreateRequest(urn=Provider.URN, properties=struct({})))
    wait_for(lambda: workspace.requests("/token/create"), what="the request")
    for _ in range(3):
        client.cancel()
    assert not creating.done()
    assert [creating.result(timeout=60).id] == workspace.live()
    assert process.process.poll() is None
    workspace.reset()
    # The next command of an attached engine has a connection of its own.
    assert configured(process, workspace).create({"comment": "next"})[0] == workspace.live()[0]


def test_cancel_does_not_poison_a_connection_that_is_used_again(plugin, workspace):
    """A proxy between engines and plugin keeps one connection over many commands."""
    client = configured(plugin(), workspace)
    client.cancel()
    client.handshake()
    client.configure(host=workspace.host, token=secret(workspace.token))
    assert [client.create({"comment": "next"})[0]] == workspace.live()


def test_cancel_lets_a_create_in_flight_finish(plugin, workspace):
    client = configured(plugin(), workspace)
    workspace.fault("/token/create", {"delay_ms": 600})
    creating = client.stub.Create.future(provider_pb2.CreateRequest(urn=Provider.URN, properties=struct({})))
    wait_for(lambda: workspace.requests("/token/create"), what="the request")
    client.cancel()
    assert [creating.result(timeout=10).id] == workspace.live()


@pytest.mark.parametrize("operation", ["update", "delete"])
def test_cancel_lets_a_change_in_flight_finish(plugin, workspace, operation):
    """Otherwise the state would differ from the workspace."""
    client = configured(plugin(), workspace)
    old, new = {"scopes": ["sql"]}, {"scopes": ["sql", "jobs"]}
    id, outputs = client.create(old)
    path, method = {"update": (f"/token/{id}", "PATCH"), "delete": ("/token/delete", "POST")}[operation]
    workspace.fault(path, {"delay_ms": 600})
    calls = {
        "update": (client.stub.Update, provider_pb2.UpdateRequest(
            id=id, urn=Provider.URN, olds=struct(outputs), old_inputs=struct(old), news=struct(new))),
        "delete": (client.stub.Delete, provider_pb2.DeleteRequest(
            id=id, urn=Provider.URN, properties=struct(outputs), old_inputs=struct(old))),
    }
    call, request = calls[operation]
    changing = call.future(request)
    wait_for(lambda: any(it["method"] == method for it in workspace.requests(path)), what="the request")
    client.cancel()
    if operation == "delete":
        changing.result(timeout=10)
        assert workspace.live() == []
    else:
        # A change that was made is not reported as not sent.
        error = changing.exception(timeout=10)
        assert error is None or f"PATCH /api/2.0/token/{id}" not in error.details(), error
        (token,) = [token for token in workspace.tokens() if token["id"] == id]
        assert token["scopes"] == ["sql", "jobs"]


def test_a_lost_connection_is_made_anew_after_many_commands(plugin, workspace):
    """An attached process has served other commands before; only one is still under way."""
    process = plugin()
    for _ in range(2):
        client = configured(process, workspace)
        token_id, outputs = client.create({})
        client.cancel()
    configured(process, workspace)
    assert process.connect().read(token_id, {}, outputs).id == token_id


def test_the_next_of_several_providers_has_to_be_configured(plugin, workspace):
    process = plugin()
    configured(process, workspace)
    other = process.connect()
    other.handshake()
    other.configure(host=workspace.host, token=secret(workspace.token), httpTimeoutSeconds=7)
    code, text = status_of(lambda: process.connect().create({}))
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "serves several providers" in text


def test_an_engine_that_sends_no_old_inputs(provider, workspace):
    """Older engines send only outputs, which repeat what was stated."""
    stated = {"comment": "c", "lifetimeSeconds": 86400, "scopes": ["sql"]}
    token_id, outputs = provider.create(stated)

    def diff(news):
        request = provider_pb2.DiffRequest(id=token_id, urn=Provider.URN, olds=struct(outputs), news=struct(news))
        reply = provider.stub.Diff(request, timeout=60)
        return dict(reply.detailedDiff), list(reply.replaces)

    assert diff(stated) == ({}, [])
    changed, replaces = diff(stated | {"lifetimeSeconds": 3600})
    assert (set(changed), replaces) == ({"lifetimeSeconds"}, ["lifetimeSeconds"])
    request = provider_pb2.UpdateRequest(
        id=token_id, urn=Provider.URN, olds=struct(outputs), news=struct(stated | {"scopes": ["sql", "clusters"]})
    )
    workspace.forget_requests()
    assert plain(provider.stub.Update(request, timeout=60).properties)["scopes"] == ["sql", "clusters"]
    (sent,) = workspace.requests("/api/2.0/token/", "PATCH")
    assert sent["body"]["update_mask"] == "scopes", "what has not changed is not sent"


def test_cancel_ends_the_wait_for_another_try(plugin, workspace):
    client = configured(plugin(), workspace)
    workspace.fault("/token/create", {"status": 429, "retry_after": "600"}, times=0)
    creating = client.stub.Create.future(provider_pb2.CreateRequest(urn=Provider.URN, properties=struct({})))
    wait_for(lambda: workspace.requests("/token/create"), what="the request")
    with pytest.raises(grpc.FutureTimeoutError):
        creating.result(timeout=0.5)
    client.cancel()
    # The error says what was waited for, which is more than that the wait was given up.
    assert "429" in creating.exception(timeout=60).details()
    # The wait was broken off: at its end there would have been another request.
    assert workspace.operations() == ["create"]
    assert workspace.live() == []


def test_nothing_new_is_created_after_cancel(plugin, workspace):
    client = configured(plugin(), workspace)
    client.cancel()
    code, _ = status_of(lambda: client.create({}))
    assert code == grpc.StatusCode.CANCELLED
    assert workspace.operations() == []


@pytest.mark.parametrize("how", ["call", "connection"])
def test_a_create_whose_answer_nobody_awaits_leaves_no_token(plugin, workspace, how):
    process = plugin()
    client = configured(process, workspace)
    workspace.fault("/token/create", {"delay_ms": 600, "work": True})
    creating = client.stub.Create.future(provider_pb2.CreateRequest(urn=Provider.URN, properties=struct({})))
    wait_for(workspace.live, what="the token")
    if how == "call":
        creating.cancel()
    else:
        process.channels[0].close()
    wait_for(lambda: workspace.live() == [], what="its end")
    assert workspace.operations() == ["create", "delete"]
    # Whatever else the engine asks for goes on.
    other = client if how == "call" else configured(process, workspace)
    assert [other.create({})[0]] == workspace.live()


# --- End ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("connections", ["none", "configured", "silent"])
def test_signals_end_it_promptly(plugin, workspace, number, connections):
    process = plugin(engine="127.0.0.1:1")
    silent = None
    if connections == "configured":
        configured(process, workspace).create({})
    if connections == "silent":
        silent = socket.create_connection(("127.0.0.1", process.port))
    process.process.send_signal(number)
    # A plugin that waited for the connection would wait for as long as the last work may take: 90 s.
    assert process.process.wait(timeout=60) == 0
    if silent:
        silent.close()


def test_a_signal_lets_a_create_in_flight_finish(plugin, workspace):
    process = plugin()
    client = configured(process, workspace)
    workspace.fault("/token/create", {"delay_ms": 600})
    creating = client.stub.Create.future(provider_pb2.CreateRequest(urn=Provider.URN, properties=struct({})))
    wait_for(lambda: workspace.requests("/token/create"), what="the request")
    process.process.terminate()
    assert [creating.result(timeout=60).id] == workspace.live()
    assert process.process.wait(timeout=60) == 0


def test_the_end_of_stdin_is_the_end_of_the_engine(plugin):
    process = plugin(engine="127.0.0.1:1")
    process.process.stdin.close()
    assert process.process.wait(timeout=60) == 0


def test_a_signal_ends_the_wait_for_a_busy_workspace(plugin, workspace):
    process = plugin()
    client = configured(process, workspace)
    workspace.fault("/token/list", {"status": 503, "retry_after": "600"}, times=0)
    reading = client.stub.Read.future(provider_pb2.ReadRequest(id="1", urn=Provider.URN))
    wait_for(lambda: workspace.requests("/token/list"), what="the request")
    process.process.terminate()
    assert status_of(lambda: reading.result(timeout=60))[0] == grpc.StatusCode.CANCELLED
    assert process.process.wait(timeout=60) == 0


@pytest.mark.parametrize("stdin", [subprocess.PIPE, subprocess.DEVNULL])
def test_attached_it_does_not_mind_the_end_of_stdin(plugin, workspace, stdin):
    process = plugin(stdin=stdin)
    if process.process.stdin:
        process.process.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        process.process.wait(timeout=1)
    assert [configured(process, workspace).create({})[0]] == workspace.live()


# --- Messages, connections, engines ---


def test_large_messages(plugin):
    comment = "c" * (50 << 20)
    inputs, failures = plugin().connect().check({"comment": comment})
    assert failures == []
    assert inputs["comment"] == comment


def test_each_connection_is_a_provider_of_its_own(plugin, workspace):
    other = LocalWorkspace()
    try:
        process = plugin()
        first, second = configured(process, workspace), configured(process, other)
        first.create({"comment": "first"})
        second.create({"comment": "second"})
        first.create({"comment": "third"})
        assert [token["comment"] for token in workspace.tokens()] == ["first", "third"]
        assert [token["comment"] for token in other.tokens()] == ["second"]
    finally:
        other.stop()


def test_messages_go_to_the_engine_that_asked(plugin, workspace, fake_engine):
    other = FakeEngine()
    try:
        process = plugin()
        first, second = process.connect(), process.connect()
        first.handshake(engine_address=fake_engine.address)
        second.handshake()
        second.attach(other.address)
        for client in (first, second):
            client.configure(host=workspace.host, token=secret(workspace.token))
        second.check({"lifetimeSeconds": TOO_LONG})
        assert (len(warned(fake_engine)), len(warned(other))) == (0, 1)
        first.check({"lifetimeSeconds": TOO_LONG})
        assert (len(warned(fake_engine)), len(warned(other))) == (1, 1)
    finally:
        other.stop()


def test_an_engine_that_is_gone_holds_nothing_up(plugin, workspace):
    client = plugin().connect()
    client.handshake(engine_address="127.0.0.1:1")
    # Each call has a deadline.
    _, failures = client.check({"lifetimeSeconds": TOO_LONG})
    assert failures == []


def test_many_calls_at_once(plugin, workspace):
    client = configured(plugin(), workspace, rateLimit=1000)
    with concurrent.futures.ThreadPoolExecutor(max_workers=20) as pool:
        created = list(pool.map(lambda number: client.create({"comment": str(number)}), range(60)))
    assert {token_id for token_id, _ in created} == set(workspace.live())
    assert len(created) == 60


# --- Replies ---


def test_a_preview_of_create_says_what_is_unknown_and_does_nothing(provider, workspace):
    token_id, outputs = provider.create({"comment": "c"}, preview=True)
    assert token_id == ""
    assert outputs["comment"] == "c"
    assert is_secret(outputs["tokenValue"])
    # The preview asks whether the provider can sign in, and nothing else.
    (asked,) = workspace.requests("/api/")
    assert (asked["method"], asked["path"]) == ("GET", "/api/2.0/preview/scim/v2/Me")


def test_a_preview_of_update_says_what_update_gives(provider, workspace):
    rotation = {"rotateWhenChanged": {"a": "1"}}
    before = {"comment": "c", "scopes": ["sql"]} | rotation
    token_id, outputs = provider.create(before)
    # The comment goes, and a property that Databricks sets is stated all the same.
    after = {"scopes": ["sql", "clusters"], "expiryTime": 5} | rotation
    preview = provider.update(token_id, after, before, outputs, preview=True)
    assert workspace.operations() == ["create"]
    updated = provider.update(token_id, after, before, outputs)
    assert preview == {name: value for name, value in updated.items() if name not in CREATED_BY}
    assert is_secret(preview["tokenValue"]) and preview["expiryTime"] == outputs["expiryTime"]
    assert provider.update(token_id, {"comment": UNKNOWN}, before, outputs, preview=True)["comment"] == UNKNOWN


def test_a_scope_that_does_not_exist_is_no_missing_token(provider, workspace):
    before, after = {"scopes": ["sql"]}, {"scopes": ["sqk"]}
    token_id, outputs = provider.create(before)
    refusal = {"status": 400, "error_code": "INVALID_PARAMETER_VALUE", "message": "Scope sqk does not exist"}
    workspace.fault("/api/2.0/token/", refusal, method="PATCH")
    with pytest.raises(grpc.RpcError, match="Scope sqk does not exist"):
        provider.update(token_id, after, before, outputs)


def test_a_refused_token_value_is_not_named(provider):
    """The engine prints the value of the property that a failure names."""
    _, failures = provider.check({"tokenValue": "not-to-be-shown"})
    ((named, said),) = failures
    assert named == ""
    assert "has no property `tokenValue`" in said


def test_secrets_in_secrets_out(provider, workspace):
    here = secret({"workspaceId": workspace.workspace_id})
    inputs, failures = provider.check(
        {"comment": secret("hidden"), "lifetimeSeconds": secret("60"), "providerConfig": here}
    )
    assert failures == []
    assert inputs == {"comment": secret("hidden"), "lifetimeSeconds": secret(60), "providerConfig": here}
    token_id, outputs = provider.create(inputs)
    assert (outputs["comment"], outputs["providerConfig"]) == (secret("hidden"), here)
    assert is_secret(outputs["tokenValue"])
    assert provider.update(token_id, inputs, inputs, outputs) == outputs
    reply = provider.read(token_id, inputs, outputs)
    assert plain(reply.inputs) == inputs
    assert plain(reply.properties) == outputs


def test_an_import_has_a_secret_value_although_it_is_empty(provider, workspace, fake_engine):
    token_id, _ = workspace.mint(comment="there before")
    reply = provider.read(token_id)
    assert reply.id == token_id
    assert plain(reply.inputs) == {"comment": "there before"}
    assert plain(reply.properties)["tokenValue"] == secret("")
    (warning,) = warned(fake_engine)
    assert "only when it is created" in warning


def test_what_is_gone_has_neither_id_nor_properties(provider):
    reply = provider.read("no-such-token", {}, {})
    assert reply.id == ""
    assert not reply.HasField("properties")


def test_code_and_details_of_an_init_failure_agree(provider, workspace):
    token_id, value = workspace.mint(comment="half")
    reply = {"token_value": value, "token_info": {"token_id": token_id}}
    workspace.fault("/token/create", {"status": 200, "body": reply})
    workspace.fault("/token/list", {"status": 403, "error_code": "PERMISSION_DENIED", "message": "not now"})
    with pytest.raises(grpc.RpcError) as caught:
        provider.create({"comment": "half"})
    error = caught.value
    status, detail = init_failed(error)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    assert detail.id == token_id
    assert plain(detail.properties)["tokenValue"] == secret(value)
    (reason,) = detail.reasons
    assert "not now" in reason
    assert value not in reason + error.details()
    # What Update makes of it is complete.
    outputs = provider.update(token_id, {"comment": "half"}, {"comment": "half"}, plain(detail.properties))
    assert outputs["tokenValue"] == secret(value)
    assert outputs["creationTime"] == workspace.tokens()[0]["creation_time"]


def test_list(provider, workspace):
    ids = [workspace.mint(comment=comment)[0] for comment in ("a", "", "c")]
    assert sorted(provider.list()) == sorted([(ids[0], "a"), (ids[1], ids[1]), (ids[2], "c")])
    assert len(provider.list(limit=2)) == 2


def test_list_of_another_type(provider):
    code, text = status_of(lambda: provider.list(token="databricks:index/cluster:Cluster"))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "databricks:index/cluster:Cluster needs the official databricks plugin" in text


def test_no_log_level_shows_a_value(plugin, workspace, fake_engine):
    process = plugin("--logtostderr", "-v=9", engine=fake_engine.address, env={"RUST_LOG": "trace", "RUST_BACKTRACE": "1"})
    client = configured(process, workspace)
    token_id, outputs = client.create({"comment": "c", "lifetimeSeconds": 600})
    workspace.fault("/token/list", {"status": 403, "message": "refused"})
    status_of(lambda: client.read(token_id, {}, outputs))
    workspace.fault("/token/create", {"drop": "after"})
    status_of(lambda: client.create({"comment": "d"}))
    client.delete(token_id, {}, outputs)
    value = outputs["tokenValue"]["value"]
    assert TOKEN_VALUE.fullmatch(value)
    everything = process.stdout + process.stderr + repr(fake_engine.messages)
    # There is a log, or the next assertion would prove nothing.
    assert "token/create" in process.stderr
    assert not TOKEN_VALUE.search(everything)


def test_pulumi_do_works_without_a_program(pulumi, workspace):
    def do(command, *arguments):
        result = pulumi.run(
            "do", "--stateless", "--package", plugin_bin(), TOKEN_TYPE, command, *arguments, "--output", "json"
        )
        return result.stdout

    ids = [workspace.mint(comment=comment)[0] for comment in ("a", "b")]
    assert json.loads(do("list")) == [{"id": ids[0], "name": "a"}, {"id": ids[1], "name": "b"}]
    assert len(json.loads(do("list", "--count", "1"))) == 1
    read = json.loads(do("read", ids[0]))
    assert (read["comment"], read["tokenId"], read["tokenValue"]) == ("a", ids[0], "[secret]")
    # Values of the command line arrive as text.
    do("create", "--comment", "c", "--lifetime-seconds", "600", "--yes")
    created = workspace.tokens()[2]
    assert created["comment"] == "c"
    assert created["expiry_time"] - created["creation_time"] == 600_000
    do("delete", ids[0], "--yes")
    assert ids[0] not in workspace.live()
