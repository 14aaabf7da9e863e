"""proto/ is written for this project; what it says about the wire must be what Pulumi's own SDK says.

Compiles proto/ and compares every message, enum and service in it with the descriptors in the published Python SDK.
"""

import importlib.resources

import pytest
from conftest import ROOT
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, struct_pb2
from google.rpc import status_pb2
from grpc_tools import protoc
from pulumi.runtime.proto import alias_pb2, engine_pb2, errors_pb2, plugin_pb2, provider_pb2

PROTO = ROOT / "proto"
FILES = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))

# Importing these has put their descriptors into the pool.
REFERENCE = [alias_pb2, empty_pb2, engine_pb2, errors_pb2, plugin_pb2, provider_pb2, status_pb2, struct_pb2]
THEIRS = provider_pb2.DESCRIPTOR.pool

# The engine's own service has many more methods, none of which a provider calls.
PARTIAL_SERVICES = {"pulumirpc.Engine"}


def compile_protos(out):
    arguments = ["protoc", f"--proto_path={PROTO}", f"--descriptor_set_out={out}", "--include_imports"]
    # protoc brings google/protobuf/*.proto along, as the compiler of build.rs does.
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    assert protoc.main([*arguments, f"--proto_path={well_known}", *FILES]) == 0
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def everything(files):
    """(messages, enums, services) of the files by full name."""
    messages, enums, services = {}, {}, {}

    def visit(message):
        messages[message.full_name] = message
        enums.update((enum.full_name, enum) for enum in message.enum_types)
        for nested in message.nested_types:
            visit(nested)

    for file in files:
        for message in file.message_types_by_name.values():
            visit(message)
        enums.update((enum.full_name, enum) for enum in file.enum_types_by_name.values())
        services.update((service.full_name, service) for service in file.services_by_name.values())
    return messages, enums, services


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    compiled = compile_protos(tmp_path_factory.mktemp("proto") / "set.binpb")
    pool = descriptor_pool.DescriptorPool()
    for file in compiled.file:
        pool.Add(file)
    return everything(pool.FindFileByName(name) for name in FILES)


def describe_field(field):
    type_name = field.message_type or field.enum_type
    oneof = field.containing_oneof
    return {
        "name": field.name,
        "number": field.number,
        "type": field.type,
        "type name": type_name and type_name.full_name,
        "repeated": field.is_repeated,
        "packed": field.is_packed,
        "presence": field.has_presence,
        "oneof": oneof and oneof.name,
        "json name": field.json_name,
    }


def describe_message(message):
    return {
        "map entry": message.GetOptions().map_entry,
        "oneofs": sorted(oneof.name for oneof in message.oneofs),
        "fields": [describe_field(field) for field in sorted(message.fields, key=lambda field: field.number)],
    }


def describe_method(method):
    return {
        "input": method.input_type.full_name,
        "output": method.output_type.full_name,
        "client streaming": method.client_streaming,
        "server streaming": method.server_streaming,
    }


def test_messages(ours):
    messages, _, _ = ours
    # The messages that carry the protocol are among them; a test of nothing must not pass.
    assert {"pulumirpc.CheckRequest", "pulumirpc.ErrorResourceInitFailed", "google.rpc.Status"} <= set(messages)
    for name, message in messages.items():
        assert describe_message(message) == describe_message(THEIRS.FindMessageTypeByName(name)), name


def test_enums(ours):
    _, enums, _ = ours
    assert "pulumirpc.DiffResponse.DiffChanges" in enums

    def values(enum):
        return [(value.name, value.number) for value in enum.values]

    for name, enum in enums.items():
        assert values(enum) == values(THEIRS.FindEnumTypeByName(name)), name


def test_services(ours):
    _, _, services = ours
    assert set(services) == {"pulumirpc.ResourceProvider", "pulumirpc.Engine"}
    for name, service in services.items():
        mine = {method.name: describe_method(method) for method in service.methods}
        theirs = {method.name: describe_method(method) for method in THEIRS.FindServiceByName(name).methods}
        if name in PARTIAL_SERVICES:
            theirs = {method: theirs.get(method) for method in mine}
        assert mine == theirs, name
