"""Requests share passes through a model: read in one thread, sorted by length, answered in another.

request --> reader thread --> waiting, by length --> model thread --> answer
request --'     (tokenises)       (Former)       '-- one pass at a time
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.inference.former import Former, Waiting
from pipelines.inference.pass_cost import PassCost
from pipelines.inference.predictor import Reading, num_characters
from pipelines.inference.rescue import each


class Reader(Protocol):
    """What is served: a Predictor, or in a test something simpler."""

    def read(self, inputs: Sequence[Any]) -> list[Reading]: ...

    def answer(self, readings: Sequence[Reading]) -> list[Any]: ...


class Overloaded(Exception):
    """More waits already than can be answered in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.1f} s of work wait already")
        self.seconds = seconds
        """Until what waits now is answered."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass through the model."""

    lengths: tuple[int, ...]
    """Sub-words of each input that was in it."""


class Batcher:
    """Of one replica. Belongs to the event loop in which it is first asked."""

    def __init__(
        self,
        reader: Reader,
        cost: PassCost,
        *,
        most: int,
        wait: float,
        patience: float,
        told: Callable[[Pass], None] = lambda _: None,
    ) -> None:
        """
        Args:
            most: inputs in one pass.
            wait: seconds that a request waits at most for others when the model is free. Never longer than starting a
                pass takes: more is not to be saved.
            patience: seconds of work that may wait; what comes then is refused.
        """
        self._reader, self._cost, self._patience, self._told = reader, cost, patience, told
        self._wait = min(wait, cost.fixed)
        self._former = Former(cost, most=most)
        self._open: dict[int, tuple[Reading, asyncio.Future[Any]]] = {}
        self._number = 0
        self._alone = True
        """Whether the last pass had one input only and none waited behind it: then others are not waited for."""
        self._came = asyncio.Event()
        self._passes: asyncio.Task[None] | None = None
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def answer(self, inputs: list[Any]) -> list[Any | None]:
        """An output for each input; None for one that the model failed on.

        Raises:
            Overloaded: too much waits; nothing was done.
        """
        loop = asyncio.get_running_loop()
        if self._former.seconds > self._patience:
            raise Overloaded(self._former.seconds)
        readings = await loop.run_in_executor(self._reading, self._read, inputs)
        futures = [self._put(reading, loop) for reading in readings if reading is not None]
        if self._passes is None or self._passes.done():
            self._passes = loop.create_task(self._run())
        try:
            found = iter(await asyncio.gather(*futures))
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        return [None if reading is None else next(found) for reading in readings]

    def _put(self, reading: Reading, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = loop.create_future()
        if not reading.pieces:
            # Nothing to compute, as of an empty text: it need not wait for what has.
            future.set_result(self._reader.answer([reading])[0])
            return future
        self._number += 1
        self._open[self._number] = reading, future
        self._former.add(Waiting(reading.length, self._number, len(reading.pieces)))
        self._came.set()
        return future

    async def _run(self) -> None:
        try:
            while True:
                await self._came.wait()
                await self._one_pass()
        except BaseException as error:
            # Nobody else would ever answer those that wait.
            for _, future in self._open.values():
                if not future.done():
                    future.set_exception(RuntimeError(f"no more passes: {type(error).__name__}"))
            raise

    async def _one_pass(self) -> None:
        if not self._alone:
            await self._gather()
        self._came.clear()
        taken = [self._open.pop(number) for number in self._former.take()]
        if len(self._former):
            self._came.set()
        # Who has gone away needs no answer.
        wanted = [(reading, future) for reading, future in taken if not future.done()]
        if not wanted:
            return
        self._alone = len(taken) == 1 and not len(self._former)
        readings = [reading for reading, _ in wanted]
        answers = await asyncio.get_running_loop().run_in_executor(self._answering, self._pass, readings)
        self._told(Pass(tuple(reading.length for reading in readings)))
        for (_, future), answer in zip(wanted, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _gather(self) -> None:
        """Others may be about to come: wait for them as long as it may pay."""
        deadline = asyncio.get_running_loop().time() + self._wait
        while not self._former.is_full:
            self._came.clear()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._came.wait(), left)
            except TimeoutError:
                return

    def _read(self, inputs: list[Any]) -> list[Reading | None]:
        return each(self._reader.read, inputs, num_characters)

    def _pass(self, readings: list[Reading]) -> list[Any | None]:
        return each(self._reader.answer, readings, lambda reading: num_characters(reading.given))
