"""Versions of the model on the workers: each worker holds what is wanted, and is asked for one version a pass."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError, RayTaskError

from cluster.crowd import TELL_EVERY, Crowd
from pipelines.errors import UserError
from pipelines.inference.batcher import Batcher, Computed, Pass, WorkerLost
from pipelines.inference.holder import Facts
from pipelines.inference.registry import ModelRef
from pipelines.serve_settings import ServeConfig
from pipelines.traces.spans import Traced
from pipelines.versions.lane import Lane
from pipelines.watch.watch import Passed, Watch

NOBODY = "unknown"
"""The place of a worker that ended in a pass: Ray Serve does not say which one it was."""


@dataclass(frozen=True, slots=True, eq=False)
class WorkerLane:
    """One version, with a batcher of its own: its passes may cost something else."""

    ref: ModelRef
    facts: Facts
    batcher: Batcher

    @property
    def takes(self) -> type:
        return self.facts.predictor.takes

    @property
    def gives(self) -> type:
        return self.facts.predictor.gives

    async def answer(self, inputs: list[Any]) -> list[Any | None]:
        return await self.batcher.answer(inputs)


@dataclass(frozen=True, slots=True)
class Served:
    """How much was computed."""

    num_inputs: int
    num_passes: int
    num_lost: int
    """Passes whose worker ended, and which were computed again."""


class WorkerLanes:
    """Opens versions on all workers that are there, and has those that come hold them, too."""

    def __init__(self, worker: Any, crowd: Crowd, settings: ServeConfig, watch: Watch) -> None:
        """
        Args:
            worker: the handle of the workers.
        """
        self._worker, self._crowd, self._settings, self._watch = worker, crowd, settings, watch
        self.opened: list[WorkerLane] = []
        self.served = Served(0, 0, 0)

    async def open(self, ref: ModelRef) -> WorkerLane:
        """
        Raises:
            UserError: a worker cannot load it.
        """
        self._crowd.want(ref.uri)
        try:
            # Of a worker that starts for it, where there is none.
            facts: Facts = await self._asked(self._worker.facts.remote(ref.uri))
            while not self._crowd.all_hold(ref.uri):
                if (why := self._crowd.reason(ref.uri)) is not None:
                    raise UserError(why)
                await asyncio.sleep(TELL_EVERY / 4)
        except BaseException:
            self._crowd.leave(ref.uri)
            raise
        settings = self._settings
        batcher = Batcher(
            lambda inputs, traceparents: self._compute(ref, inputs, Traced(ref.version, traceparents)),
            facts.cost,
            most=settings.max_batch_size,
            wait=settings.batch_wait_ms / 1000,
            patience=settings.max_wait_seconds,
            ahead=None if settings.scale is None else settings.scale.wait,
            workers=lambda: len(self._crowd.present),
            told=lambda done: self._passed(ref, done),
            lost=lambda _: self._lost(),
        )
        lane = WorkerLane(ref, facts, batcher)
        self.opened.append(lane)
        self._watch.serves(ref.version, facts.baseline)
        return lane

    async def _asked(self, answer: Any) -> Any:
        """What a worker answers; what is meant for people without the traceback that Ray adds."""
        try:
            return await answer
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise

    async def close(self, lane: Lane) -> None:
        """The workers hear of it within a second."""
        assert isinstance(lane, WorkerLane)
        self.opened.remove(lane)
        lane.batcher.close()
        if all(other.ref != lane.ref for other in self.opened):
            self._crowd.leave(lane.ref.uri)
            self._watch.retired(lane.ref.version)

    async def _compute(self, ref: ModelRef, inputs: list[Any], traced: Traced) -> Computed:
        try:
            computed: Computed = await self._worker.compute.remote(ref.uri, inputs, traced)
        except RayTaskError:
            # The worker is there, and could not do it.
            self._watch.worker_failed(NOBODY)
            raise
        except RayError as error:
            raise WorkerLost(type(error).__name__) from None
        return computed

    def _passed(self, ref: ModelRef, done: Pass) -> None:
        computed, was = done.computed, self.served
        self.served = Served(was.num_inputs + len(computed.outputs), was.num_passes + 1, was.num_lost)
        lengths, place = tuple(computed.lengths), self._crowd.place(computed.worker)
        self._watch.passed(Passed(ref.version, place, lengths, done.waited, computed.seconds))
        self._watch.answered(ref.version, lengths, computed.outputs)

    def _lost(self) -> None:
        was = self.served
        self.served = Served(was.num_inputs, was.num_passes, was.num_lost + 1)
        self._watch.worker_failed(NOBODY)
        self._watch.pass_retried()
