"""Versions of the model on the workers: each worker holds what is wanted, and is asked for one version a pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError, RayTaskError

from cluster.crowd import TELL_EVERY, Crowd
from pipelines.errors import UserError
from pipelines.inference.batcher import Batcher, Computed, Pass, WorkerLost
from pipelines.inference.holder import Facts
from pipelines.inference.registry import ModelRef
from pipelines.serve_settings import ServeConfig
from pipelines.versions.lane import Lane

Told = Callable[[ModelRef, Pass], None]
Lost = Callable[[ModelRef, int], None]


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


class WorkerLanes:
    """Opens versions on all workers that are there, and has those that come hold them, too."""

    def __init__(self, worker: Any, crowd: Crowd, settings: ServeConfig, *, told: Told, lost: Lost) -> None:
        """
        Args:
            worker: the handle of the workers.
        """
        self._worker, self._crowd, self._settings = worker, crowd, settings
        self._told, self._lost = told, lost

    async def open(self, ref: ModelRef) -> WorkerLane:
        """
        Raises:
            UserError: a worker cannot load it.
        """
        self._crowd.want(ref.uri)
        try:
            # Of a worker that starts for it, where there is none.
            facts: Facts = await self._worker.facts.remote(ref.uri)
            while not self._crowd.all_hold(ref.uri):
                if (why := self._crowd.reason(ref.uri)) is not None:
                    raise UserError(why)
                await asyncio.sleep(TELL_EVERY / 4)
        except BaseException:
            self._crowd.leave(ref.uri)
            raise
        settings = self._settings
        batcher = Batcher(
            lambda inputs: self._compute(ref, inputs),
            facts.cost,
            most=settings.max_batch_size,
            wait=settings.batch_wait_ms / 1000,
            patience=settings.max_wait_seconds,
            workers=lambda: len(self._crowd.present),
            told=lambda done: self._told(ref, done),
            lost=lambda num_inputs: self._lost(ref, num_inputs),
        )
        return WorkerLane(ref, facts, batcher)

    async def close(self, lane: Lane) -> None:
        """The workers hear of it within a second."""
        assert isinstance(lane, WorkerLane)
        lane.batcher.close()
        self._crowd.leave(lane.ref.uri)

    async def _compute(self, ref: ModelRef, inputs: list[Any]) -> Computed:
        try:
            computed: Computed = await self._worker.compute.remote(ref.uri, inputs)
        except RayTaskError:
            # The worker is there, and could not do it.
            raise
        except RayError as error:
            raise WorkerLost(type(error).__name__) from None
        return computed
