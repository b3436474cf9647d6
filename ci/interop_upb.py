#!/usr/bin/env python3
"""Receives what a command sends, and decodes it with Google's protobuf (upb).

    interop_upb.py PROTOCOL RECEIVED COMMAND [ARGUMENT...]

Serves OTLP on a loopback port, over HTTP/1.1 (PROTOCOL is `http/protobuf`) or by gRPC's own server (`grpc`), runs the
command with the endpoint in place of each argument `{}`, and writes each request that upb decodes to RECEIVED, as one
line of OTLP/JSON. upb refuses more than 100 nested messages and lengths of more than 5 bytes, and so does a request
that it does not decode: exit 1. So does the command's failure. Needs protobuf, grpcio and opentelemetry-proto from the
Python package index.
"""

import base64
import contextlib
import http.server
import json
import subprocess
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf import json_format
from google.protobuf.internal import api_implementation
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}
SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": ExportTraceServiceRequest,
    "opentelemetry.proto.collector.logs.v1.LogsService": ExportLogsServiceRequest,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": ExportMetricsServiceRequest,
}
IDS = ("traceId", "spanId", "parentSpanId")
COMMAND_LIMIT_S = 80


class Received:
    """What came, whichever way."""

    lines, failures = [], []

    @classmethod
    def take(cls, path, message, body):
        """True if it was decoded."""
        try:
            cls.lines.append(otlp_json(message.FromString(body)))
            return True
        except Exception as error:  # Whatever it is, it is the result of this test.
            cls.failures.append(f"{path}: {len(body)} bytes: {error!r}")
            return False


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_decoded = Received.take(self.path, REQUESTS[self.path], body)
        self.send_response(200 if is_decoded else 400)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def otlp_json(request):
    """protobuf's JSON with OTLP's deviations: enums are numbers and ids are hexadecimal."""
    if has_unknown_fields(request):
        raise ValueError("fields that the descriptors do not know")
    return json.dumps(with_ids(json_format.MessageToDict(request, use_integers_for_enums=True)))


def has_unknown_fields(message):
    copy = type(message)()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()
    return copy.ByteSize() != message.ByteSize()


def with_ids(value):
    if isinstance(value, list):
        return [with_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(one).hex() if key in IDS else with_ids(one) for key, one in value.items()
    }


@contextlib.contextmanager
def http_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextlib.contextmanager
def grpc_server():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    handlers = [grpc.method_handlers_generic_handler(name, {"Export": export(name, of)}) for name, of in SERVICES.items()]
    server.add_generic_rpc_handlers(handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def export(name, message):
    def handle(body, context):
        if not Received.take(name, message, body):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not decoded")
        return b""

    # Bytes in and out: the messages are decoded by `take`.
    return grpc.unary_unary_rpc_method_handler(handle)


def main(protocol, received_path, *command):
    if api_implementation.Type() != "upb":
        sys.exit(f"protobuf is implemented in {api_implementation.Type()}, not upb")
    with {"grpc": grpc_server, "http/protobuf": http_server}[protocol]() as port:
        endpoint = f"http://127.0.0.1:{port}"
        command = [endpoint if argument == "{}" else argument for argument in command]
        done = subprocess.run(command, timeout=COMMAND_LIMIT_S, stdout=subprocess.PIPE, text=True)
    with open(received_path, "w", encoding="utf-8") as received:
        received.writelines(f"{line}\n" for line in Received.lines)
    for failure in Received.failures:
        print(failure, file=sys.stderr)
    if Received.failures or done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"{len(Received.failures)} requests were not decoded; the sender ended with {done.returncode}")


if __name__ == "__main__":
    main(*sys.argv[1:])
