"""One replica whose stages own their weights: two steps are on their way at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from torch import Tensor

from cluster.actors import Seat
from cluster.copies import Copies, Copy, Salvaged
from cluster.crew import StageCrew
from cluster.data_crew import DataCrew, Refs
from cluster.fleet import Landed, Rejoined, Start, Work
from cluster.keepers import Keepers
from cluster.phases import Phases
from cluster.roll_call import Lost
from cluster.spares import Spares
from pipelines.plan.actions import Action
from pipelines.plan.schedules import make_schedule
from pipelines.plan.simulate import ideal_seconds
from pipelines.train.adversarial import rounds_of
from pipelines.train.events import step_loss
from pipelines.train.executor import StepOrder
from pipelines.train.specs import held

AHEAD = 2
"""Steps on their way at once: while one runs, the next one's rows are already at the stages."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A step that the stages have been sent."""

    work: Work
    schedule: list[list[Action]]
    refs: list[Any]


class OneReplica:
    """A crew that runs whole steps."""

    def __init__(self, crew: StageCrew, data: DataCrew, *, copy_every: int, spares: Spares, timeout: float) -> None:
        """
        Args:
            copy_every: updates from one copy of the weights to the next.
            spares: who may take a lost stage's place; ended with all others.
        """
        self._crew, self._data, self._timeout = crew, data, timeout
        self._version = 0
        self._keepers, self._spares = Keepers(), spares
        self._copies = Copies(copy_every, self._keepers.keep)

    def meet(self) -> list[Seat]:
        seats = self._crew.meet()
        self._keepers.sit(self._crew.nodes)
        return seats

    def build(self, start: Start) -> None:
        (plan,) = start.replicas
        self._pipeline, self._schedule = plan.pipeline, plan.schedule
        self._specs = plan.make_specs(())
        self._rounds = rounds_of(self._specs[0].train)
        self._crew.build(self._specs, start.padding, [start.state(held(spec.units, spec)) for spec in self._specs])
        self._version = start.version
        self._copies.start(self._version, self._crew.copy, at_once=True)

    @property
    def nodes(self) -> frozenset[str]:
        return frozenset(self._crew.nodes.values())

    def stands(self, there: Collection[str], seconds: float) -> bool:
        return self._crew.stands(there, seconds)

    def salvage(self) -> Salvaged | None:
        return self._copies.salvage(self._timeout)

    def replace_lost(self, seconds: float) -> list[Lost]:
        self._crew.interrupt()
        return self._crew.replace_lost(seconds)

    def rejoin(self, start: Start) -> Rejoined:
        clock = Phases()
        self.meet()
        clock.end("started")
        found = self._copies.newest()
        if found is None:
            self._crew.forget()
            self.build(start)
            clock.end("built")
            return Rejoined(start.version, clock.seconds)
        self._version, copies = found
        self._crew.build(self._specs, start.padding, [start.state(held(spec.units, spec)) for spec in self._specs])
        clock.end("built")
        self._crew.restore([[copies[owner] for owner in (j, *spec.borrowed)] for j, spec in enumerate(self._specs)])
        self._copies.trust()
        clock.end("restored")
        return Rejoined(self._version, clock.seconds)

    def describe(self, stages: Sequence[Sequence[Mapping[str, Any]]], seats: Sequence[Seat]) -> dict[str, Any]:
        (own,) = stages
        return {"stages": [{**stage, **seat.facts()} for stage, seat in zip(own, seats, strict=True)]}

    def run(self, works: Iterator[Work]) -> Iterator[Landed]:
        flights: deque[_Flight] = deque()
        for work in works:
            if self._copies.start(work.number, self._crew.copy):
                self._spares.fill()
            flights.append(self._send(work))
            if len(flights) == AHEAD:
                yield self._land(flights.popleft())
        while flights:
            yield self._land(flights.popleft())

    def start_evaluation(self, call: int, parts: Refs) -> list[ray.ObjectRef[Any]]:
        return self._crew.start_evaluation(call, parts)

    def finish_evaluation(self, refs: Sequence[ray.ObjectRef[Any]]) -> list[Any]:
        return self._crew.finish_evaluation(refs)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        return self._crew.weights()

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        return self._crew.moments()

    def copies(self) -> list[ray.ObjectRef[Copy]]:
        return self._copies.now(self._version, self._crew.copy, timeout=self._timeout)

    def close(self) -> None:
        self._crew.close()
        self._spares.close()
        self._keepers.close()

    def _send(self, work: Work) -> _Flight:
        micro_batches = work.step.micro_batches
        schedule = make_schedule(self._schedule, self._pipeline, len(micro_batches), rounds=self._rounds)
        orders = [
            StepOrder(work.number, tuple(actions), work.target_weight, rounds=self._rounds) for actions in schedule
        ]
        parts = self._data.hand_out("train", micro_batches)
        return _Flight(work, schedule, self._crew.start_step(orders, parts))

    def _land(self, flight: _Flight) -> Landed:
        version = flight.work.number + 1
        reports = self._crew.finish_step(flight.refs, version)
        self._version = version
        return Landed(
            version=version,
            work=flight.work,
            loss=step_loss(reports),
            grad_norm=reports[0].grad_norm,
            begin=min(report.events[0].start for report in reports),
            end=max(report.events[-1].end for report in reports),
            ideal_seconds=ideal_seconds(flight.schedule, [report.events for report in reports]),
            bytes_sent=sum(report.bytes_sent for report in reports),
            reports=reports,
        )
