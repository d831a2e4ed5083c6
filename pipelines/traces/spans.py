"""The spans of a request, for whatever works on it: `child` here, a `Traced` for work in another process.

    POST /v1/predict                         continues the caller's trace, if the request names one (W3C Trace Context)
    |-- admission                            who asks, for what, how often
    |-- queue                                each pass: from when its inputs came until it was sent
    |-- tokenise                             on the worker
    |-- pass                                 on the worker
    '-- answer                               what was found, masked and written

Attributes are numbers and names of our own: never a text, a key, an address that somebody chose, or a message of an
error, which may quote any of these.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

Attributes = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Traced:
    """The requests that work in another process belongs to. Crosses processes."""

    version: str
    """Which version of the model works."""
    traceparents: tuple[str, ...] = ()
    """Of the requests whose traces are kept, in the form of W3C Trace Context."""


UNTRACED = Traced("")


@dataclass(frozen=True, slots=True, eq=False)
class Parent:
    """A request's span, here or in another process. Compared by identity."""

    tracer: Tracer
    span: Span

    @property
    def trace_id(self) -> str:
        return format_trace_id(self.span.get_span_context().trace_id)

    @property
    def is_sampled(self) -> bool:
        """Whether the trace is kept."""
        return self.span.get_span_context().trace_flags.sampled

    @property
    def traceparent(self) -> str:
        context = self.span.get_span_context()
        return f"00-{self.trace_id}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"

    def record(
        self, name: str, begin: int, end: int, attributes: Attributes | None = None, *, error: str | None = None
    ) -> None:
        """A child that is over.

        Args:
            begin, end: in nanoseconds since 1970.
            error: the kind of what went wrong, if anything did.
        """
        if not self.is_sampled:
            return
        context = set_span_in_context(self.span, Context())
        span = self.tracer.start_span(name, context, SpanKind.INTERNAL, attributes=attributes, start_time=begin)
        if error is not None:
            mark_failed(span, error)
        span.end(end)


def mark_failed(span: Span, error: str) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", error)


_CURRENT: ContextVar[Parent | None] = ContextVar("parent", default=None)


def here() -> Parent | None:
    """The request under way; None outside of one, or where no traces are made."""
    return _CURRENT.get()


def traced_here(version: str) -> Traced:
    """The request under way, for work of a version in another process."""
    parent = here()
    return Traced(version, (parent.traceparent,) if parent is not None and parent.is_sampled else ())


@contextmanager
def within(parent: Parent) -> Iterator[None]:
    """Let what happens inside the `with` belong to this request."""
    token = _CURRENT.set(parent)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def child(name: str) -> Iterator[None]:
    """Let what happens inside the `with` be a span of the request under way."""
    if (parent := here()) is None:
        yield
        return
    begin, error = time.time_ns(), None
    try:
        yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        parent.record(name, begin, time.time_ns(), error=error)
