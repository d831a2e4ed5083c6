"""Work that is not batched with the predictions: in threads beside them, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

Made = TypeVar("Made")


class BusyError(Exception):
    """So many wait already that another would wait too long."""


class Aside:
    """Threads of its own, so that however many ask, predictions lose no more of the machine than these take."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="aside")
        self._most = at_once + waiting
        self._inside = 0

    async def run(self, work: Callable[[], Made]) -> Made:
        """What it returns.

        Raises:
            BusyError: too many wait.
        """
        return await self._begun(work)

    async def pieces(self, work: Callable[[Callable[[str], bool]], Made]) -> AsyncGenerator[str | Made]:
        """What it says, piece by piece, then what it returns; it is told when nobody listens any more.

        Raises:
            BusyError: too many wait.
        """
        said: asyncio.Queue[str | None] = asyncio.Queue()
        loop, over = asyncio.get_running_loop(), Event()

        def say(piece: str) -> bool:
            loop.call_soon_threadsafe(said.put_nowait, piece)
            return not over.is_set()

        ended = self._begun(lambda: work(say))

        def end(done: asyncio.Future[Made]) -> None:
            # Looked at here, because nobody else may be left who does.
            if not done.cancelled():
                done.exception()
            said.put_nowait(None)

        # Behind all that was said: the loop keeps the order in which a thread calls it.
        ended.add_done_callback(end)
        try:
            while (piece := await said.get()) is not None:
                yield piece
            yield await ended
        finally:
            over.set()

    def _begun(self, work: Callable[[], Made]) -> asyncio.Future[Made]:
        if self._inside >= self._most:
            raise BusyError
        loop = asyncio.get_running_loop()
        self._inside += 1
        begun = self._threads.submit(work)
        # By the thread's own end: whoever waits for it may go away before.
        begun.add_done_callback(lambda _: loop.call_soon_threadsafe(self._left))
        return asyncio.wrap_future(begun)

    def _left(self) -> None:
        self._inside -= 1
