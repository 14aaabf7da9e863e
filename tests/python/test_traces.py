"""Traces: an OTLP collector of the tests stands in for the engine's."""

import socket
from concurrent import futures

import grpc
import pytest
from conftest import ANY_VALUE, TOKEN_TYPE, secret, struct
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from pulumi.runtime.proto import provider_pb2

ENDPOINT = "PULUMI_OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent."""

    def __init__(self):
        self.requests = []
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def Export(self, request, context):
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self, name=""):
        """Spans whose name contains this, in the order of their beginning, with their attributes."""
        found = [
            (span, {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in span.attributes})
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if name in span.name
        ]
        return sorted(found, key=lambda it: it[0].start_time_unix_nano)


@pytest.fixture
def collector():
    it = Collector()
    yield it
    it.server.stop(grace=None)


@pytest.fixture
def traced(plugin, workspace, fake_engine):
    """Starts a plugin that sends traces to an endpoint, and returns it and a configured client."""

    def start(endpoint):
        process = plugin(engine=fake_engine.address, env={ENDPOINT: endpoint})
        client = process.connect()
        client.handshake(engine_address=fake_engine.address)
        client.configure(host=workspace.host, token=secret(workspace.token))
        return process, client

    return start


def create(client, flags="01"):
    request = provider_pb2.CreateRequest(urn=client.URN, properties=struct({"comment": "c"}))
    metadata = [("traceparent", f"00-{TRACE}-{PARENT}-{flags}")]
    return client.stub.Create(request, timeout=client.TIMEOUT, metadata=metadata)


def ended(process):
    """Asks the plugin to end, as the engine does, and waits until it has."""
    for channel in process.channels:
        channel.close()
    process.process.terminate()
    assert process.process.wait(timeout=60) == 0


def test_calls_and_requests_are_spans(traced, collector, workspace):
    process, client = traced(collector.address)
    workspace.fault("/token/create", {"status": 429, "message": "busy", "headers": {"retry-after": "0"}}, times=1)
    token = create(client)
    ended(process)

    ((rpc, said),) = collector.spans("pulumirpc.ResourceProvider/Create")
    assert (rpc.trace_id.hex(), rpc.parent_span_id.hex()) == (TRACE, PARENT)
    assert said["rpc.method"] == "Create" and said["pulumi.urn"].endswith(f"{TOKEN_TYPE}::t")
    assert said["rpc.grpc.status_code"] == 0 and not rpc.status.code
    attempts = collector.spans("POST /api/2.0/token/create")
    statuses = [(it["http.request.resend_count"], it["http.response.status_code"]) for _, it in attempts]
    assert statuses == [(0, 429), (1, 200)]
    for span, it in attempts:
        assert (span.trace_id, span.parent_span_id) == (rpc.trace_id, rpc.span_id)
        assert rpc.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert it["url.path"] == "/api/2.0/token/create"
    assert token.id in workspace.live()
    everything = "".join(map(str, collector.requests))
    assert "service.name" in everything
    assert not ANY_VALUE.search(everything) and workspace.token not in everything


def test_failures_are_marked(traced, collector, workspace):
    process, client = traced(collector.address)
    workspace.fault("/token/list", {"status": 403, "message": "not for you"})
    with pytest.raises(grpc.RpcError):
        client.list()
    ended(process)
    ((rpc, said),) = collector.spans("ResourceProvider/List")
    assert rpc.status.code == 2 and said["rpc.grpc.status_code"] == grpc.StatusCode.PERMISSION_DENIED.value[0]
    assert "not for you" not in "".join(map(str, collector.requests))
    assert collector.spans("GET /api/2.0/token/list")[0][1]["http.response.status_code"] == 403


def test_a_create_that_is_left_incomplete_is_marked(traced, collector, workspace):
    process, client = traced(collector.address)
    # The answer does not say when the token expires, and the list, which does, is refused.
    token_id, value = workspace.mint(comment="c")
    answer = {"token_value": value, "token_info": {"token_id": token_id, "comment": "c", "creation_time": 1}}
    workspace.fault("/token/create", {"status": 200, "body": answer})
    workspace.fault("/token/list", {"status": 403, "message": "not for you"}, times=0)
    with pytest.raises(grpc.RpcError):
        create(client)
    ended(process)
    ((rpc, said),) = collector.spans("ResourceProvider/Create")
    assert rpc.status.code == 2 and said["rpc.grpc.status_code"] == grpc.StatusCode.UNKNOWN.value[0]


def test_what_the_engine_does_not_sample_is_not_sent(traced, collector):
    process, client = traced(collector.address)
    create(client, flags="00")
    ended(process)
    assert not collector.spans("Create") and not collector.spans("token/create")
    assert collector.spans("Configure")


def test_names_in_queries_are_left_out(traced, collector):
    process, client = traced(collector.address)
    client.list(query=struct({"createdByUsername": "ada@example.com"}))
    ended(process)
    assert collector.spans("GET /api/2.0/token-management/tokens")
    assert "ada" not in "".join(map(str, collector.requests))


@pytest.mark.parametrize("kind", ["dead", "silent", "no address"])
def test_an_endpoint_that_takes_nothing_is_in_nobodys_way(traced, workspace, kind):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "silent":
            listener.listen(1)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        process, client = traced("no address" if kind == "no address" else address)
        for _ in range(3):
            create(client)
        assert len(client.list()) == 3
        ended(process)
    assert process.stderr == ""


def test_without_an_endpoint_nothing_is_collected(provider, collector, workspace):
    create(provider)
    assert collector.requests == []


def test_the_real_engine_gets_them(pulumi, workspace):
    """The engine writes what it receives into a file of JSON."""
    path = pulumi.project_dir.parent / "traces.json"
    pulumi.token({"comment": "c"})
    pulumi.init()
    pulumi.up("--otel-traces", f"file://{path}")
    text = path.read_text()
    assert "pulumirpc.ResourceProvider/Create" in text and "POST /api/2.0/token/create" in text
