"""The worker's end of its lines: it takes on passes, and answers each as soon as it is done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from pipelines.line.keys import LineKeys
from pipelines.line.line import Address, notice_silence
from pipelines.line.messages import Answered, Asked, Failed, Leaving, frame, receive

logger = logging.getLogger(__name__)


class Station:
    """Belongs to the event loop that it was opened in."""

    def __init__(self, compute: Callable[[Asked], Awaitable[Answered]]) -> None:
        self._compute = compute
        self._server: asyncio.Server | None = None
        self.address: Address = ("", 0)
        self._writers: set[asyncio.StreamWriter] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, compute: Callable[[Asked], Awaitable[Answered]], keys: LineKeys, *, host: str) -> Station:
        """Listen on a free port of `host`, for whoever has the keys."""
        station = cls(compute)
        station._server = await asyncio.start_server(station._serve, host, 0, ssl=keys.context(server=True))
        station.address = station._server.sockets[0].getsockname()[:2]
        return station

    async def leave(self) -> None:
        """Take on nothing more, and answer what is under way."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.write(frame(Leaving()))
        # What was on its way meanwhile is answered too.
        while self._under_way:
            await asyncio.wait(self._under_way)
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A front has called."""
        notice_silence(writer.get_extra_info("socket"))
        self._writers.add(writer)
        try:
            while True:
                asked = await receive(reader)
                if not isinstance(asked, Asked):
                    raise ValueError("a front answers nothing")
                task = asyncio.get_running_loop().create_task(self._answer(asked, writer))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        except (OSError, EOFError):
            # The front has ended.
            pass
        except ValueError:
            logger.error("What came over a line was no message: it is closed.")
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        try:
            found = frame(await self._compute(asked))
        # A model's own code may raise anything. Neither the message nor the traceback: both may quote a text.
        except Exception as error:
            logger.error("A pass failed: %s.", type(error).__name__)
            found = frame(Failed(asked.number, type(error).__name__))
        # The front may have ended meanwhile.
        with contextlib.suppress(OSError):
            writer.write(found)
            await writer.drain()
