"""A collector of traces, by hand: takes OTLP by HTTP, and keeps the spans that come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Kept:
    """A span as it came over the line."""

    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, str | int | float]
    begin: int
    end: int
    failed: bool


@dataclass
class Collector:
    url: str
    spans: list[Kept] = field(default_factory=list)
    raw: bytes = b""
    """Everything that was sent."""
    came: threading.Condition = field(default_factory=threading.Condition)

    def of(self, trace: str) -> dict[str, Kept]:
        """The spans of a trace by their names."""
        return {span.name: span for span in self.spans if span.trace == trace}

    def wait_for(self, trace: str, *names: str, timeout: float = 60) -> dict[str, Kept]:
        """The spans of a trace as soon as these are there."""
        with self.came:
            there = self.came.wait_for(lambda: {*names} <= {*self.of(trace)}, timeout)
            assert there, f"of {names} only {sorted(self.of(trace))} came in {timeout:g} s"
            return self.of(trace)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self.came:
            self.raw += body
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        values = {
                            one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
                            for one in span.attributes
                        }
                        self.spans.append(
                            Kept(
                                span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), values,
                                span.start_time_unix_nano, span.end_time_unix_nano, span.status.code == 2,
                            )
                        )  # fmt: skip
            self.came.notify_all()


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listens inside the `with`, at a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}/v1/traces")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
