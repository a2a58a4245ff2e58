"""An OpenTelemetry collector for tests: OTLP over HTTP, decoded with OpenTelemetry's own messages."""

import contextlib
import gzip
import http.server
import threading
from collections.abc import Generator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(http.server.ThreadingHTTPServer):
    """Keeps the spans that it is sent, by the ids of their traces."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def endpoint(self) -> str:
        """Where spans are sent."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace, in the order of their beginnings."""
        found = [span for span in self.spans if span.trace_id.hex() == trace_id]
        return sorted(found, key=lambda span: (span.start_time_unix_nano, span.kind != Span.SPAN_KIND_SERVER))


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        collector = self.server
        assert isinstance(collector, Collector)
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            collector.resources.append(named)
            for scope in resource.scope_spans:
                collector.spans += scope.spans
        collector.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name is the base class's)
        pass


@contextlib.contextmanager
def running_collector() -> Generator[Collector]:
    """One that runs."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def told(span: Span) -> dict[str, Any]:
    """A span's attributes."""
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}
