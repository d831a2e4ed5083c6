"""How spans leave a process: from a bounded queue, by a thread beside it. A request never waits for a collector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

MOST_WAITING = 2048
"""Spans that wait to be sent, some 2 MB; those that end meanwhile are dropped."""
MOST_TOGETHER = 512
"""Spans that are sent at once."""


class Outlet(SpanProcessor):
    """A batch processor that says how many spans it dropped: those for which there was no room, and those of batches
    that the collector did not take."""

    def __init__(self, exporter: SpanExporter, dropped: Callable[[int], None], *, most: int = MOST_WAITING) -> None:
        """
        Args:
            dropped: is told numbers of spans, from any thread.
            most: spans that may wait.
        """
        self._dropped, self._most = dropped, most
        self._waiting, self._lock = 0, Lock()
        # Never full by itself: what it drops it only writes to its log.
        self._batches = BatchSpanProcessor(
            _Told(exporter, self._left), max_queue_size=most, max_export_batch_size=min(most, MOST_TOGETHER)
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            full = self._waiting >= self._most
            self._waiting += not full
        if full:
            self._dropped(1)
        else:
            self._batches.on_end(span)

    def shutdown(self) -> None:
        self._batches.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._batches.force_flush(timeout_millis))

    def _left(self, number: int, taken: bool) -> None:
        with self._lock:
            self._waiting -= number
        if not taken:
            self._dropped(number)


class _Told(SpanExporter):
    """Says of each batch how many spans it had, and whether the collector took it."""

    def __init__(self, exporter: SpanExporter, told: Callable[[int, bool], None]) -> None:
        self._exporter, self._told = exporter, told

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._told(len(spans), result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
