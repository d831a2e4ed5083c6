"""A front's lines to its workers: each pass goes to the one of its group that has the fewest."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from cluster.crowd import Crowd, Present
from pipelines.inference.groups import WorkerLost
from pipelines.line.keys import LineKeys
from pipelines.line.line import Line, PassFailed
from pipelines.line.messages import Answered
from pipelines.traces.spans import Traced

logger = logging.getLogger(__name__)


class Lines:
    """Workers say where they listen. Passes do not go through Ray Serve's routers, but straight to them."""

    def __init__(self, keys: LineKeys, crowd: Crowd, *, failed: Callable[[str], None] = lambda _: None) -> None:
        """
        Args:
            failed: is told the name of a worker that ended in a pass, or could not compute it.
        """
        self._keys, self._crowd, self._failed = keys, crowd, failed
        self._lines: dict[str, tuple[int, Line]] = {}
        """By the worker's name, with its group."""
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._opened = asyncio.Event()
        self._asked: Counter[int] = Counter()

    def hear(self, present: Present) -> None:
        """A worker is there."""
        if present.name not in self._lines and present.name not in self._opening and present.listens is not None:
            self._opening[present.name] = asyncio.get_running_loop().create_task(self._open(present))

    def num_asked(self, group: int) -> int:
        """Passes that a group has, or that wait for a worker of it."""
        return self._asked[group]

    async def ask(self, group: int, uri: str, inputs: list[Any], traced: Traced) -> tuple[str, Answered]:
        """Who answered, and what; waits for a worker where there is none.

        Raises:
            WorkerLost, PassFailed: as of `Line.ask`.
        """
        self._asked[group] += 1
        try:
            while (free := self._free(group)) is None:
                self._opened.clear()
                await self._opened.wait()
            name, line = free
            try:
                return name, await line.ask(uri, inputs, traced)
            except (WorkerLost, PassFailed):
                self._failed(name)
                raise
        finally:
            self._asked[group] -= 1

    def _free(self, group: int) -> tuple[str, Line] | None:
        there = [(name, line) for name, (its, line) in self._lines.items() if its == group and line.takes_on]
        return min(there, key=lambda one: one[1].num_out, default=None)

    async def _open(self, present: Present) -> None:
        name = present.name
        assert present.listens is not None
        try:
            line = await Line.open(present.listens, self._keys, ended=lambda: self._ended(name))
        except OSError as error:
            # It says again in a second that it is there.
            host, port = present.listens
            logger.warning("Worker %s cannot be reached at %s:%d: %s", name, host, port, error or type(error).__name__)
        else:
            self._lines[name] = present.group, line
            self._opened.set()
        finally:
            del self._opening[name]

    def _ended(self, name: str) -> None:
        """It has gone, or is about to; one that is still there says so again."""
        if self._lines.pop(name, None) is not None:
            self._crowd.forget(name)
