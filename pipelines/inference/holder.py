"""The models of one worker: read in one thread, computed in another, one pass at a time.

inputs --> reader thread --> model thread --> outputs
           (tokenises)       (one pass)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from pipelines.inference.groups import Computed
from pipelines.inference.pass_cost import UNMEASURED, PassCost, measure, shapes, timed
from pipelines.inference.predictor import Predictor, Reading, ReadingPredictor, num_characters
from pipelines.inference.rescue import each
from pipelines.traces.spans import UNTRACED, Attributes, Traced
from pipelines.traces.traces import Traces
from pipelines.train.device import Device
from pipelines.watch.baseline import Baseline

Made = TypeVar("Made")
PLAIN = Device(torch.device("cpu"), threads=1)
"""On which a pass lasts as long as its call."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What has to be known of a model to put an interface before it."""

    predictor: type[Predictor]
    cost: PassCost
    """Of its passes, as measured on the worker that was asked."""
    explains: bool
    writes: bool
    """Whether it writes chats."""
    baseline: Baseline | None
    """What its data were like, if that lies beside it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    predictor: Predictor
    baseline: Baseline | None = None
    close: Callable[[], None] = lambda: None
    """Ends what computes for it elsewhere."""


class Holder:
    """Models by their addresses; several share the threads, so that they take no more of the machine than one."""

    def __init__(
        self, load: Callable[[str], Loaded], *, name: str, traces: Traces | None = None, device: Device = PLAIN
    ) -> None:
        """
        Args:
            load: the model of an address; runs in a thread.
            name: the worker's, which its answers tell.
            traces: where passes get their spans; they get none without.
            device: that the models compute on; a pass lasts as long as it takes there.
        """
        self._load, self._name, self._traces, self._device = load, name, traces, device
        self._held: dict[str, asyncio.Task[Loaded]] = {}
        self._costs: dict[str, PassCost] = {}
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="model")

    @property
    def held(self) -> list[str]:
        """The addresses of the models that are ready."""
        return [
            uri for uri, task in self._held.items() if task.done() and not task.cancelled() and not task.exception()
        ]

    async def predictor(self, uri: str) -> Predictor:
        """As `loaded`."""
        return (await self.loaded(uri)).predictor

    async def loaded(self, uri: str) -> Loaded:
        """Loaded and warmed on the first call, while others go on answering.

        Raises:
            UserError: the model cannot be loaded. It is tried again on the next call.
        """
        task = self._held.get(uri)
        if task is None or (task.done() and not _is_ready(task)):
            task = self._held[uri] = asyncio.get_running_loop().create_task(self._ready(uri))
        # Whoever asked first may go away; others wait for the same.
        return await asyncio.shield(task)

    def drop(self, uri: str) -> None:
        """Forget a model; passes that it is in end first."""
        if (task := self._held.pop(uri, None)) is not None:
            if _is_ready(task):
                self._answering.submit(task.result().close)
            task.cancel()
        self._costs.pop(uri, None)

    async def facts(self, uri: str) -> Facts:
        loaded = await self.loaded(uri)
        predictor = loaded.predictor
        if uri not in self._costs:
            cost = await self._measured(predictor) if isinstance(predictor, ReadingPredictor) else UNMEASURED
            self._costs[uri] = cost
        return Facts(
            type(predictor),
            self._costs[uri],
            predictor.explainer() is not None,
            predictor.writer() is not None,
            loaded.baseline,
        )

    async def compute(self, uri: str, inputs: Sequence[Any], traced: Traced = UNTRACED) -> Computed:
        """One pass; an input on which the model fails fails alone."""
        predictor, loop, begin = await self.predictor(uri), asyncio.get_running_loop(), time.perf_counter()
        reading = await loop.run_in_executor(
            self._reading, _timed, lambda: each(predictor.read, inputs, num_characters)
        )
        readings = reading.made
        read = [one for one in readings if one is not None]
        answering = await loop.run_in_executor(self._answering, _timed, lambda: self._answered(predictor, read))
        found = iter(answering.made)
        lengths = [0 if one is None else one.length for one in readings]
        if self._traces is not None:
            on: Attributes = {"motley.worker": self._name, "motley.rows": len(inputs)}
            padded = {"motley.padded_subwords": len(inputs) * max(lengths, default=0)}
            self._traces.record(traced, "tokenise", reading.begin, reading.end, on)
            self._traces.record(traced, "pass", answering.begin, answering.end, {**on, **padded})
        return Computed(
            [None if one is None else next(found) for one in readings],
            lengths,
            time.perf_counter() - begin,
            self._name,
        )

    async def _measured(self, predictor: ReadingPredictor) -> PassCost:
        """Pass by pass, so that what others ask of this worker goes on between them."""
        loop = asyncio.get_running_loop()

        async def one(reading: Reading, rows: int) -> float:
            return await loop.run_in_executor(self._answering, timed, lambda: self._answer(predictor, [reading] * rows))

        return await measure(await loop.run_in_executor(self._reading, shapes, predictor), one)

    def _answered(self, predictor: Predictor, readings: list[Reading]) -> list[Any | None]:
        return each(lambda some: self._answer(predictor, some), readings, lambda reading: num_characters(reading.given))

    def _answer(self, predictor: Predictor, readings: Sequence[Reading]) -> list[Any]:
        begin = self._device.now()
        found = predictor.answer(readings)
        self._device.wait(begin)
        return found

    async def _ready(self, uri: str) -> Loaded:
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(self._loading, self._load, uri)
        predictor = loaded.predictor
        # The first pass is slow; better now than in somebody's request.
        await loop.run_in_executor(self._answering, predictor.predict, [predictor.hello])
        return loaded


def _is_ready(task: asyncio.Task[Loaded]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


@dataclass(frozen=True, slots=True)
class _Timed(Generic[Made]):
    made: Made
    begin: int
    """In nanoseconds since 1970, as all of a trace is, whose spans are of several machines."""
    end: int


def _timed(work: Callable[[], Made]) -> _Timed[Made]:
    begin = time.time_ns()
    return _Timed(work(), begin, time.time_ns())
