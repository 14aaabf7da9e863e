"""The plugin, as the engine runs it: a process that answers gRPC."""

import json
import subprocess
import threading

import grpc
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

URN = "urn:pulumi:test::agreement::databricks:index/token:Token::token"
PROVIDER_URN = "urn:pulumi:test::agreement::pulumi:providers:databricks::default"


def list_tokens(binary, env, stated, patience):
    """Configures the plugin and has it read a token that does not exist; returns what went wrong, if anything did."""
    process = subprocess.Popen([binary], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # Nobody reads the log, and a full pipe would stop the plugin.
    log = []
    reader = threading.Thread(target=lambda: log.append(process.stderr.read()), daemon=True)
    reader.start()
    try:
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
            return drive(provider_pb2_grpc.ResourceProviderStub(channel), stated, patience)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        reader.join()
        process.stderr.close()


def drive(stub, stated, patience):
    arguments = Struct()
    # The SDKs of Pulumi send whatever is not a string as JSON in a string.
    arguments.update({name: value if isinstance(value, str) else json.dumps(value) for name, value in stated.items()})
    stub.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address=""), timeout=patience)
    checked = stub.CheckConfig(provider_pb2.CheckRequest(urn=PROVIDER_URN, news=arguments), timeout=patience)
    refused = "\n".join(failure.reason for failure in checked.failures) or None
    try:
        stub.Configure(
            provider_pb2.ConfigureRequest(args=arguments, acceptSecrets=True, acceptResources=True), timeout=patience
        )
    except grpc.RpcError as error:
        assert refused and refused in error.details(), f"Check: {refused}; Configure: {error.details()}"
        return error.details()
    assert refused is None, f"Check alone refuses: {refused}"
    # For a token whose time is over, the plugin needs to know no more than that the list lacks it.
    expired = Struct()
    expired.update({"tokenId": "0", "tokenValue": "", "expiryTime": 1})
    try:
        read = stub.Read(
            provider_pb2.ReadRequest(id="0", urn=URN, type="databricks:index/token:Token", properties=expired),
            timeout=patience,
        )
    except grpc.RpcError as error:
        return error.details()
    assert read.id == "", "the token that does not exist was found"
    return None
