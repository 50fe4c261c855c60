#!/usr/bin/env python3
"""Takes what a collector passes on by OTLP over HTTP, and prints it as JSON.

otlp_receiver.py

The first line is {"port": ...}. Each span is a line of its own, and each body, unpacked, is {"raw": "<hexadecimal>"}.
"""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PRINTING = threading.Lock()


def show(what):
    with PRINTING:
        print(json.dumps(what), flush=True)


def values(attributes):
    def plain(value):
        return getattr(value, value.WhichOneof("value"))

    return {attribute.key: plain(attribute.value) for attribute in attributes}


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        show({"raw": body.hex()})
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    show(
                        {
                            "trace": span.trace_id.hex(),
                            "span": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "name": span.name,
                            "start": span.start_time_unix_nano,
                            "end": span.end_time_unix_nano,
                            "error": span.status.code == span.status.STATUS_CODE_ERROR,
                            "attributes": values(span.attributes),
                            "resource": values(resource.resource.attributes),
                        }
                    )
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
show({"port": server.server_address[1]})
server.serve_forever()
