"""Where a process makes its spans, and where they go: the field is OpenTelemetry's, and so is the way out (OTLP)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pipelines.serve_settings import TracesConfig
from pipelines.traces.export import MOST_WAITING, Outlet
from pipelines.traces.spans import Attributes, Parent, Traced, within

SERVICE = "motley"
SECONDS = 5
"""That a collector may take for one batch."""
_FORM = TraceContextTextMapPropagator()


class Traces:
    """Not OpenTelemetry's global provider: what a library writes into that is its own, and may hold a text."""

    def __init__(
        self, exporter: SpanExporter, *, ratio: float, dropped: Callable[[int], None], most: int = MOST_WAITING
    ) -> None:
        """
        Args:
            ratio: share of the traces that begin here which are kept; of one that a caller began, the caller decides.
            dropped: is told numbers of spans that got lost, from any thread.
            most: spans that may wait to be sent.
        """
        self._provider = TracerProvider(
            ParentBased(TraceIdRatioBased(ratio)), Resource.create({"service.name": SERVICE}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(Outlet(exporter, dropped, most=most))
        self._tracer = self._provider.get_tracer(SERVICE)

    @classmethod
    def of(cls, settings: TracesConfig | None, dropped: Callable[[int], None]) -> Traces | None:
        """None where no traces are asked for. Headers for the collector, such as a token, are in
        OTEL_EXPORTER_OTLP_HEADERS, as everywhere in the field."""
        if settings is None:
            return None
        # Imported here: few endpoints send traces.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(settings.endpoint, timeout=SECONDS)
        return cls(exporter, ratio=settings.sampling_ratio, dropped=dropped)

    @contextmanager
    def request(self, traceparent: str) -> Iterator[Parent]:
        """The span of a request to the interface, which what happens inside the `with` belongs to.

        Args:
            traceparent: as the request has it; one of the wrong form is none. `tracestate` is not taken along: it
                holds whatever a caller likes.
        """
        span = self._tracer.start_span("request", _context(traceparent), SpanKind.SERVER)
        try:
            with within(parent := Parent(self._tracer, span)):
                yield parent
        finally:
            span.end()

    def record(self, traced: Traced, name: str, begin: int, end: int, attributes: Attributes) -> None:
        """A span that is over, in each request that it belongs to.

        Args:
            begin, end: in nanoseconds since 1970.
        """
        for traceparent in traced.traceparents:
            parent = Parent(self._tracer, get_current_span(_context(traceparent)))
            parent.record(name, begin, end, {"motley.model.version": traced.version, **attributes})

    def flush(self) -> None:
        """Send what waits; returns when it is sent, or lost."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what waits, and make no more."""
        self._provider.shutdown()


def _context(traceparent: str) -> Context:
    return _FORM.extract({"traceparent": traceparent}, Context())
