"""A scripted plugin in place of the official one. Its first argument says what is wrong with it, the second is a file to
which each call adds a line; the engine's address follows.

    well        nothing is wrong, and it takes no secrets
    marks       it takes secrets, and says so in Handshake
    silent      never prints a port
    rubbish     prints something else
    mute        ends before it prints a port
    deaf        prints a port and does not answer
    stuck       does not answer Configure
    refusing    refuses Configure
    lost        ends in Configure
    broken      has a schema that is not valid

A resource named "crash" ends it in mid-call, "hang" is not answered, "half" is left incomplete, "error" fails,
"refusing" fails with the token that the plugin was configured with in the message, and "talking" shows that token to
the user.
"""

import json
import os
import signal
import socket
import sys
import time
from concurrent import futures

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from google.rpc import status_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2 as pb, provider_pb2_grpc

MODE, LOG = sys.argv[1:3]
HIDDEN = "dapi" + "0123456789abcdef" * 2


def write(method, request, context=None):
    metadata = {key: value for key, value in context.invocation_metadata()} if context else {}
    line = {"method": method, "pid": os.getpid(), "request": json_format.MessageToDict(request), "metadata": metadata}
    line["bytes"] = request.SerializeToString().hex()
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def end(code):
    print(f"goroutine 1: {HIDDEN}", file=sys.stderr, flush=True)
    os._exit(code)


class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    def __getattribute__(self, name):
        method = super().__getattribute__(name)
        if not name[0].isupper():
            return method

        def logged(request, context):
            write(name, request, context)
            return method(request, context)

        return logged

    def Handshake(self, request, context):
        if MODE != "marks":
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "an old plugin")
        return pb.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True, accept_outputs=True)

    def Attach(self, request, context):
        return empty_pb2.Empty()

    def Configure(self, request, context):
        if MODE == "stuck":
            time.sleep(600)
        if MODE == "refusing":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no configuration: {request.args['token']} and {HIDDEN}")
        if MODE == "lost":
            end(9)
        self.token = json_format.MessageToDict(request.args).get("token")
        return pb.ConfigureResponse(supportsPreview=True)

    def GetSchema(self, request, context):
        schema = {"name": "databricks", "version": "1.0.0", "resources": {"databricks:index/cluster:Cluster": {}}}
        return pb.GetSchemaResponse(schema="{" if MODE == "broken" else json.dumps(schema))

    def GetMapping(self, request, context):
        return pb.GetMappingResponse(provider="databricks", data=b"mapping")

    def Check(self, request, context):
        return pb.CheckResponse(inputs=request.news)

    def Diff(self, request, context):
        return pb.DiffResponse(changes=pb.DiffResponse.DIFF_NONE)

    def Create(self, request, context):
        name = request.urn.rsplit("::", 1)[1]
        properties = struct_pb2.Struct()
        properties.CopyFrom(request.properties)
        properties.update({"computed": "c"})
        match name:
            case "crash":
                end(7)
            case "hang":
                time.sleep(600)
            case "error":
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"there is one: {HIDDEN}")
            case "refusing":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, f"refused: {self.token['value']}")
            case "talking":
                with grpc.insecure_channel(sys.argv[3]) as channel:
                    log = engine_pb2.LogRequest(urn=request.urn, message=f"it is {self.token['value']}", severity="WARNING")
                    engine_pb2_grpc.EngineStub(channel).Log(log, timeout=60)
                    other = channel.unary_unary("/pulumirpc.Engine/Unheard")
                    other(b"", timeout=60)
            case "half":
                detail = pb.ErrorResourceInitFailed(id="half", properties=properties, reasons=[f"no: {HIDDEN}"])
                status = status_pb2.Status(code=2, message=f"no: {HIDDEN}")
                status.details.add().Pack(detail)
                context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
                context.abort(grpc.StatusCode.UNKNOWN, status.message)
        return pb.CreateResponse(id=f"id of {name}", properties=properties)

    def Read(self, request, context):
        return pb.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Update(self, request, context):
        return pb.UpdateResponse(properties=request.news)

    def Delete(self, request, context):
        return empty_pb2.Empty()

    def Invoke(self, request, context):
        answer = struct_pb2.Struct()
        answer.update({"answer": f"of {request.tok}", "preview": request.preview})
        return pb.InvokeResponse(**{"return": answer})

    def Call(self, request, context):
        return pb.CallResponse(**{"return": request.args})

    def Construct(self, request, context):
        return pb.ConstructResponse(urn="urn", state=request.inputs)

    def List(self, request, context):
        for number in range(3):
            yield pb.ListResponse(result=pb.ListResponse.Result(id=str(number), name=f"n{number}"))

    def Cancel(self, request, context):
        return empty_pb2.Empty()

    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.0.0")


def main():
    # Like the official plugin, it ends only by a signal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    write(f"start {sys.argv[3:]}", empty_pb2.Empty())
    print(f"to stderr: {HIDDEN}", file=sys.stderr, flush=True)
    if MODE == "silent":
        time.sleep(600)
    if MODE == "rubbish":
        print(f"no port, but {HIDDEN}", flush=True)
        time.sleep(600)
    if MODE == "mute":
        end(5)
    if MODE == "deaf":
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        time.sleep(600)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=8),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Plugin(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    print("more on stdout", flush=True)
    server.wait_for_termination()


main()
