"""The front's end of the line to a worker: passes go out, and what is found comes back in any order."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any

from pipelines.inference.groups import WorkerLost
from pipelines.line.keys import LineKeys
from pipelines.line.messages import Answered, Asked, Failed, Leaving, frame, receive
from pipelines.traces.spans import Traced

Address = tuple[str, int]
"""Host and port."""
SILENT = 30
"""Seconds that a node may be silent, on which nothing runs any more; a process that ends is noticed at once."""
PATIENCE = 10.0
"""Seconds that a worker may take to answer a call."""


class PassFailed(Exception):
    """The worker is there, and could not compute a pass."""


class Line:
    """Open for as long as both ends live. Belongs to the event loop that it was opened in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: Callable[[], None]) -> None:
        self._reader, self._writer, self._ended = reader, writer, ended
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Answered]] = {}
        self._takes_on = True
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def open(cls, address: Address, keys: LineKeys, ended: Callable[[], None] = lambda: None) -> Line:
        """
        Args:
            ended: is called once, when the worker takes on nothing more or is gone.

        Raises:
            OSError: nobody is there, or somebody without the keys.
        """
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(*address, ssl=keys.context(server=False)), PATIENCE
        )
        notice_silence(writer.get_extra_info("socket"))
        return cls(reader, writer, ended)

    @property
    def num_out(self) -> int:
        """Passes that the worker has."""
        return len(self._asked)

    @property
    def takes_on(self) -> bool:
        return self._takes_on

    async def ask(self, uri: str, inputs: list[Any], traced: Traced) -> Answered:
        """
        Raises:
            WorkerLost: the worker has ended, or takes on nothing more.
            PassFailed: it could not compute it.
        """
        if not self._takes_on:
            raise WorkerLost("it takes on nothing more")
        number = next(self._numbers)
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._writer.write(frame(Asked(number, uri, inputs, traced.version, list(traced.traceparents))))
            return await answer
        finally:
            self._asked.pop(number, None)

    def close(self) -> None:
        self._reading.cancel()

    async def _read(self) -> None:
        why = "closed"
        try:
            while True:
                self._hear(await receive(self._reader))
        except (OSError, EOFError, ValueError) as error:
            why = type(error).__name__
        finally:
            self._writer.close()
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(WorkerLost(why))
            self._stop()

    def _hear(self, message: Asked | Answered | Failed | Leaving) -> None:
        match message:
            case Answered():
                if (answer := self._waiting(message.number)) is not None:
                    answer.set_result(message)
            case Failed():
                if (answer := self._waiting(message.number)) is not None:
                    answer.set_exception(PassFailed(message.why))
            case Leaving():
                self._stop()
            case Asked():
                raise ValueError("a worker asks for nothing")

    def _stop(self) -> None:
        if self._takes_on:
            self._takes_on = False
            self._ended()

    def _waiting(self, number: int) -> asyncio.Future[Answered] | None:
        """Whoever asked may have gone away."""
        answer = self._asked.get(number)
        return None if answer is None or answer.done() else answer


def notice_silence(connection: socket.socket) -> None:
    """Have the system end a connection to a node that has gone without a word, in the time that Ray takes for it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not every system has all of them.
    for name, value in (
        ("TCP_KEEPIDLE", SILENT // 3), ("TCP_KEEPINTVL", SILENT // 6), ("TCP_KEEPCNT", 4),
        ("TCP_USER_TIMEOUT", SILENT * 1000),
    ):  # fmt: skip
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
