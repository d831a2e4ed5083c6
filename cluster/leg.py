"""Runs steps on several replicas: hands waves to them, and waits for the updates that come of it.

    sync, replica 1 three times slower            bounded by 1
    replica 0   0.0 ······ 1.0 ······ 2.0         replica 0   0.0 1.0 1.1 2.1 ···     STEP.WAVE, ··· waits
    replica 1   0.1        1.1        2.1         replica 1   0.1         2.0

Nothing that the model computes passes through here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from cluster.crew import StageCrew
from cluster.data_crew import DataCrew
from cluster.fleet import Landed, Start, Work
from cluster.server_crew import ServerCrew
from cluster.waiting import wait_for_any
from pipelines.plan.actions import Action
from pipelines.plan.schedules import make_schedule
from pipelines.plan.simulate import ideal_seconds
from pipelines.plan.waves import Handed, Handing, in_wave, split_in_waves
from pipelines.plan_settings import PlanConfig
from pipelines.train.events import StageReport, added, step_loss
from pipelines.train.executor import StepOrder, WaveOrder
from pipelines.train.parameter_server import ServerReport
from pipelines.train.poison import Poison, first_of

AHEAD = 2
"""Waves that a replica may have been sent at once where each has its own: the next one's rows are there already."""


def shares_of(config: PlanConfig) -> list[float]:
    """How the micro-batches of a step fall to waves, one share a wave."""
    assert config.replicas != "auto"
    # Whole steps are the waves where each is an update of its own.
    return [1.0] if config.sharing == "async" else list(config.shares or [1.0] * config.replicas)


@dataclass(slots=True)
class _Flight:
    """A wave that a replica has been sent."""

    handed: Handed
    replica: int
    schedule: list[list[Action]]
    refs: dict[str, Any]
    """Of its stages, by who is awaited."""
    missing: set[str]
    """Who has not answered yet."""


@dataclass(slots=True)
class _Step:
    """A step that is known, of which some waves may have been run."""

    work: Work
    waves: dict[int, tuple[int, list[StageReport], float]] = field(default_factory=dict)
    """By wave: the replica that ran it, what its stages report, and its ideal time."""


class Leg:
    """Steps between two pauses."""

    def __init__(
        self,
        config: PlanConfig,
        start: Start,
        crews: Sequence[StageCrew],
        servers: ServerCrew,
        data: DataCrew,
        version: int,
    ) -> None:
        """`version`: updates that were done before."""
        self._plans = start.replicas
        self._config, self._crews, self._servers, self._data = config, crews, servers, data
        self._shares = shares_of(config)
        self._handing = Handing(config.sharing, config.staleness)
        self._steps: dict[int, _Step] = {}
        self._flights: list[_Flight] = []
        self._version, self._known = version, version
        self._finishing: dict[str, ray.ObjectRef[ServerReport]] = {}
        self._finished: dict[str, ServerReport] = {}
        self._updates: list[list[ServerReport]] = []
        each_its_own = config.sharing == "sync"
        self._sent_at_once = AHEAD if each_its_own else 1
        self._steps_at_once = {"sync": AHEAD, "bounded": config.staleness + 2, "async": 2 * len(crews)}[config.sharing]

    def run(self, works: Iterator[Work]) -> Iterator[Landed]:
        """Run the steps, and yield the updates in their order.

        Raises:
            TimeoutError, ActorLost: as the actors say.
        """
        more = True
        while True:
            more = self._send_all(works) if more else self._send_known()
            self._watch()
            awaited = {
                who: ref for flight in self._flights for who, ref in flight.refs.items() if who in flight.missing
            }
            awaited |= {who: ref for who, ref in self._finishing.items() if who not in self._finished}
            if not awaited:
                assert not self._steps, f"steps that never ended: {sorted(self._steps)}"
                return
            self._take(set(wait_for_any(awaited, to="run its part of a step", timeout=self._config.timeout)))
            while self._updates and self._is_whole(self._updates[0][0].step):
                yield self._land(self._updates.pop(0))

    # -- sending --------------------------------------------------------------------------------

    def _send_all(self, works: Iterator[Work]) -> bool:
        """Send what can be sent, with as many new steps as may be on their way; returns whether there may be more."""
        self._send_known()
        while len(self._steps) < self._steps_at_once:
            work = next(works, None)
            if work is None:
                return False
            self._steps[work.number] = _Step(work)
            self._known += 1
            self._handing.add(work.number, split_in_waves(len(work.step.micro_batches), self._shares))
            self._send_known()
        return True

    def _send_known(self) -> bool:
        for r in range(len(self._crews)):
            while sum(flight.replica == r for flight in self._flights) < self._sent_at_once:
                handed = self._handing.take(r, self._version)
                if handed is None:
                    break
                self._flights.append(self._send(r, handed))
        return False

    def _send(self, r: int, handed: Handed) -> _Flight:
        work, wave, crew, plan = self._steps[handed.step].work, handed.wave, self._crews[r], self._plans[r]
        schedule = make_schedule(plan.schedule, plan.pipeline, wave.end - wave.first)
        order = WaveOrder(handed.number, handed.num_waves, wave.first, handed.version)
        orders = [
            StepOrder(work.number, in_wave(actions, wave.first), work.target_weight, order) for actions in schedule
        ]
        parts = self._data.hand_out("train", work.step.micro_batches[wave.first : wave.end])
        awaited = crew.awaited(crew.start_step(orders, parts))
        refs = {f"{who} (wave {handed.number} of step {handed.step + 1})": ref for who, ref in awaited.items()}
        return _Flight(handed, r, schedule, refs, set(refs))

    def _watch(self) -> None:
        """Ask the servers for the next update, if one is to come."""
        if not self._finishing and self._version < self._known:
            self._finishing = self._servers.start_finish(self._version + 1)

    # -- landing --------------------------------------------------------------------------------

    def _take(self, done: set[str]) -> None:
        """Take up what those report who are done."""
        for flight in list(self._flights):
            flight.missing -= done
            if not flight.missing:
                self._flights.remove(flight)
                reports: list[StageReport] = [ray.get(ref) for ref in flight.refs.values()]
                ideal = ideal_seconds(flight.schedule, [report.events for report in reports])
                self._steps[flight.handed.step].waves[flight.handed.number] = (flight.replica, reports, ideal)
        self._finished |= {who: ray.get(ref) for who, ref in self._finishing.items() if who in done}
        if self._finishing and len(self._finished) == len(self._finishing):
            self._updates.append(list(self._finished.values()))
            self._version += 1
            self._finishing, self._finished = {}, {}

    def _is_whole(self, step: int) -> bool:
        known = self._steps[step]
        return len(known.waves) == len(split_in_waves(len(known.work.step.micro_batches), self._shares))

    def _land(self, servers: Sequence[ServerReport]) -> Landed:
        step = self._steps.pop(servers[0].step)
        waves = [step.waves[number] for number in sorted(step.waves)]
        ran = tuple(sum(replica == r for replica, _, _ in waves) for r in range(len(self._crews)))
        ideal = [math.fsum(seconds for replica, _, seconds in waves if replica == r) for r in range(len(self._crews))]
        every = [report for _, reports, _ in waves for report in reports]
        return Landed(
            version=servers[0].version,
            work=step.work,
            loss=added(step_loss(reports) for _, reports, _ in waves),
            grad_norm=servers[0].grad_norm,
            begin=min(report.events[0].start for report in every),
            end=max(server.end for server in servers),
            # Where nobody waits for the slowest, replicas share the work of several steps.
            ideal_seconds=max(ideal) if self._config.sharing == "sync" else math.fsum(ideal) / len(self._crews),
            bytes_sent=sum(report.bytes_sent for report in every) + sum(server.bytes_sent for server in servers),
            reports=self._by_stage(step.work, waves, skipped=servers[0].skipped),
            staleness=max((server.staleness for server in servers), key=sum),
            waves=ran,
        )

    def _by_stage(
        self, work: Work, waves: Sequence[tuple[int, Sequence[StageReport], float]], *, skipped: bool
    ) -> tuple[StageReport, ...]:
        """What each stage did in all of the step's waves; stages are numbered through all replicas."""
        together = Poison.together(len(work.step.micro_batches))
        merged: list[StageReport] = []
        for r, crew in enumerate(self._crews):
            for j in range(crew.num_stages):
                own = [reports[j] for replica, reports, _ in waves if replica == r]
                events = sorted((event for report in own for event in report.events), key=lambda event: event.start)
                empty = StageReport(0, work.number, (), None, 0.0, 0)
                report = own[-1] if own else empty
                sent = sum(part.bytes_sent for part in own)
                # Waves that are not sound each may add up to gradients that are.
                poison = first_of((together, *(part.poison for part in own))) if skipped else None
                merged.append(
                    replace(
                        report,
                        stage=len(merged),
                        events=tuple(events),
                        bytes_sent=sent,
                        skipped=skipped,
                        poison=poison,
                    )
                )
        return tuple(merged)
