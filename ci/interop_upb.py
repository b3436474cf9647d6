#!/usr/bin/env python3
"""Receives what a command sends, and decodes it with Google's protobuf (upb).

    interop_upb.py RECEIVED COMMAND [ARGUMENT...]

Serves OTLP/HTTP on a loopback port, runs the command with the endpoint in place of each argument `{}`, and writes
each request body that upb decodes to RECEIVED, as one line of OTLP/JSON. upb refuses more than 100 nested messages
and lengths of more than 5 bytes, and so does a request that it does not decode: exit 1. So does the command's
failure. Needs protobuf and opentelemetry-proto from the Python package index.
"""

import base64
import http.server
import json
import subprocess
import sys
import threading

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
IDS = ("traceId", "spanId", "parentSpanId")
COMMAND_LIMIT_S = 80


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lines, failures = [], []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.lines.append(otlp_json(REQUESTS[self.path].FromString(body)))
            status = 200
        except Exception as error:  # Whatever it is, it is the result of this test.
            self.failures.append(f"{self.path}: {len(body)} bytes: {error!r}")
            status = 400
        self.send_response(status)
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


def main(received_path, *command):
    if api_implementation.Type() != "upb":
        sys.exit(f"protobuf is implemented in {api_implementation.Type()}, not upb")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        command = [endpoint if argument == "{}" else argument for argument in command]
        done = subprocess.run(command, timeout=COMMAND_LIMIT_S, stdout=subprocess.PIPE, text=True)
        server.shutdown()
    with open(received_path, "w", encoding="utf-8") as received:
        received.writelines(f"{line}\n" for line in Receiver.lines)
    for failure in Receiver.failures:
        print(failure, file=sys.stderr)
    if Receiver.failures or done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"{len(Receiver.failures)} requests were not decoded; the sender ended with {done.returncode}")


if __name__ == "__main__":
    main(*sys.argv[1:])
