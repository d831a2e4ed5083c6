"""How long a caller has use for an answer: nothing is computed for one that comes too late.

    request --> Deadlines --> the interface --> Batcher: takes it on if what waits leaves time, else 503 at once
                    |
                    '-- the time is over: what is under way is cancelled, so that it leaves the queue; 504

Triton's rule: a request may ask for less time than the endpoint allows, never for more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from fastapi import Header
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.inference.problems import say

REQUEST_TIMEOUT = "Request-Timeout"
Missed = Literal["refused", "passed"]
"""A deadline that what waited left no time for; and one that was over before the answer."""
Piece = TypeVar("Piece")


@dataclass(slots=True)
class Deadline:
    """Of one request."""

    seconds: float
    """From when the request was let in."""
    at: float = field(init=False)
    missed: Missed | None = None

    def __post_init__(self) -> None:
        self.at = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds; below 0 when it is over."""
        return self.at - time.monotonic()

    def over(self) -> HTTPException:
        """What to say when it is."""
        self.missed = "passed"
        return HTTPException(
            504,
            f"There was no whole answer within the {self.seconds:g} s that this request had: ask again later, give it "
            f"longer ({REQUEST_TIMEOUT}, up to serve.deadline_seconds), or ask for less at once.",
        )


_CURRENT: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def deadline() -> Deadline | None:
    """Of the request under way; None outside of one."""
    return _CURRENT.get()


def note_refused() -> None:
    """Say that the request under way is refused because its deadline cannot be met."""
    if (by := deadline()) is not None:
        by.missed = "refused"


@contextmanager
def due(by: Deadline) -> Iterator[None]:
    """Let what happens inside the `with` be for a request with this deadline."""
    token = _CURRENT.set(by)
    try:
        yield
    finally:
        _CURRENT.reset(token)


async def until_due(pieces: AsyncGenerator[Piece]) -> AsyncGenerator[Piece]:
    """The pieces of an answer whose status is sent, while the request under way has time. Closes them at its end.

    Raises:
        HTTPException: 504 when its deadline is over.
    """
    by = deadline()
    async with aclosing(pieces):
        while True:
            try:
                # One that is ready at once would slip through a timeout that is over.
                if by is not None and by.left <= 0:
                    raise TimeoutError
                async with asyncio.timeout(None if by is None else by.left):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if by is None or by.left > 0:
                    raise
                raise by.over() from None
            yield piece


async def request_timeout(
    request_timeout: Annotated[
        float | None,
        Header(
            gt=0,
            allow_inf_nan=False,
            description="Seconds after which an answer is of no use: 503 at once if so much waits that there will be "
            "none, 504 when they are over.",
        ),
    ] = None,
) -> None:
    """Only for the documentation: `Deadlines` has read it by now."""


class Deadlines:
    """ASGI middleware that ends what takes longer than its caller, or the endpoint, has time for."""

    def __init__(self, app: ASGIApp, *, most: float, missed: Callable[[Missed], None] = lambda _: None) -> None:
        """
        Args:
            most: seconds that a request has which asks for no less.
            missed: hears of every deadline that was.
        """
        self._app, self._most, self._missed = app, most, missed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Only what asks the model takes time.
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get(REQUEST_TIMEOUT)
        seconds = self._most if asked is None else _seconds(asked)
        if seconds is None:
            text = f"{REQUEST_TIMEOUT} must be a number of seconds above 0, such as 0.5."
            await say(scope["path"], text, 400)(scope, receive, send)
            return
        by = Deadline(min(seconds, self._most))
        timeout = asyncio.timeout(by.seconds)

        async def begun(message: Message) -> None:
            if message["type"] == "http.response.start":
                # From here on it is for whoever sends the rest to end it: `until_due`.
                timeout.reschedule(None)
            await send(message)

        try:
            with due(by):
                async with timeout:
                    await self._app(scope, receive, begun)
        except TimeoutError:
            if not timeout.expired():
                raise
            over = by.over()
            await say(scope["path"], over.detail, over.status_code)(scope, receive, send)
        finally:
            if by.missed is not None:
                self._missed(by.missed)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None
