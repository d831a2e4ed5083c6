"""Versions of the model on the workers: each worker holds what is wanted, and is asked for one version a pass."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayTaskError

from cluster.crowd import TELL_EVERY, Crowd
from cluster.lines import Lines
from pipelines.errors import UserError
from pipelines.inference.batcher import Batcher, Pass
from pipelines.inference.groups import Computed, Group
from pipelines.inference.holder import Facts
from pipelines.inference.registry import ModelRef
from pipelines.line.messages import plain, typed
from pipelines.serve_settings import ServeConfig
from pipelines.traces.spans import Traced
from pipelines.versions.lane import Lane
from pipelines.watch.watch import Passed, Watch


@dataclass(frozen=True, slots=True, eq=False)
class WorkerLane:
    """One version, with a batcher of its own: its passes may cost something else."""

    ref: ModelRef
    by_group: tuple[Facts, ...]
    """As each group of workers has it."""
    batcher: Batcher

    @property
    def facts(self) -> Facts:
        """Of what all groups have alike."""
        return self.by_group[0]

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

    def __init__(self, handles: Sequence[Any], lines: Lines, crowd: Crowd, settings: ServeConfig, watch: Watch) -> None:
        """
        Args:
            handles: of the groups of workers, which are asked what is no pass.
        """
        self._handles, self._lines = handles, lines
        self._crowd, self._settings, self._watch = crowd, settings, watch
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
            facts: list[Facts] = await asyncio.gather(
                *(self._asked(handle.facts.remote(ref.uri)) for handle in self._handles)
            )
            while not self._crowd.all_hold(ref.uri):
                if (why := self._crowd.reason(ref.uri)) is not None:
                    raise UserError(why)
                await asyncio.sleep(TELL_EVERY / 4)
        except BaseException:
            self._crowd.leave(ref.uri)
            raise
        settings = self._settings
        batcher = Batcher(
            [self._group(k, ref, one) for k, one in enumerate(facts)],
            most=settings.max_batch_size,
            wait=settings.batch_wait_ms / 1000,
            patience=settings.max_wait_seconds,
            told=lambda done: self._passed(ref, done),
            lost=lambda _: self._lost(),
        )
        lane = WorkerLane(ref, tuple(facts), batcher)
        self.opened.append(lane)
        self._watch.serves(ref.version, lane.facts.baseline)
        return lane

    def _group(self, number: int, ref: ModelRef, facts: Facts) -> Group:
        """One of the groups of workers, as a version's passes are shared among them."""

        async def run(inputs: list[Any], traceparents: tuple[str, ...]) -> Computed:
            given, traced = plain(inputs, facts.predictor.takes), Traced(ref.version, traceparents)
            name, found = await self._lines.ask(number, ref.uri, given, traced)
            return Computed(typed(found.outputs, facts.predictor.gives), found.lengths, found.seconds, name)

        scale = self._settings.groups[number].scale
        ahead = None if scale is None else scale.wait
        return Group(run, facts.cost, workers=lambda: self._crowd.number(number), ahead=ahead)

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

    def _passed(self, ref: ModelRef, done: Pass) -> None:
        computed, was = done.computed, self.served
        self.served = Served(was.num_inputs + len(computed.outputs), was.num_passes + 1, was.num_lost)
        lengths, place = tuple(computed.lengths), self._crowd.place(computed.worker)
        self._watch.passed(Passed(ref.version, place, lengths, done.waited, computed.seconds))
        self._watch.answered(ref.version, lengths, computed.outputs)

    def _lost(self) -> None:
        was = self.served
        self.served = Served(was.num_inputs, was.num_passes, was.num_lost + 1)
        self._watch.pass_retried()
