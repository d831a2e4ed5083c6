"""Measure a model on every type of device that the cluster has, and the ways between them, unless it is known already.

One type after the other, so that nothing measured disturbs another measurement. Nothing else should run meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from statistics import fmean, median
from typing import Any

import ray
from torch import Tensor

from cluster.bench_actors import BenchActor, LinkActor, Way
from cluster.devices import on
from cluster.transport import Keys
from cluster.waiting import wait_for
from pipelines.errors import UserError
from pipelines.plan.corrected import corrected, variation
from pipelines.plan.devices import Device
from pipelines.plan.measured import Link, Measured, MeasuredType, Shape
from pipelines.plan.measured_cache import merged
from pipelines.plan.unit_times import between
from pipelines.train.known import Known, as_it_is_now, by_type, joined, named, pairs, room, together
from pipelines.train.measure import FILLED, Found, rehearses
from pipelines.train.subject import Subject

LIBRARIES = ("torch", "transformers", "motley")
ROUNDS, HEAD_START = 5, 0.3
"""How often devices of a node work at once, and how many seconds before that they are told."""
WINDOW, LONGEST = 1.0, 5.0
"""For how many seconds they do, so that a step may fit in."""

Tell = Callable[[str, int, int], None]
"""What is measured, how much of it is done, and of how much."""
Batch = Mapping[str, Tensor]


def versions() -> dict[str, str]:
    """Of what times depend on."""
    return {name: version(name) for name in LIBRARIES}


@dataclass(frozen=True, slots=True)
class Survey:
    """Measures one model on one cluster."""

    known: Known
    example: Batch
    """Any micro-batch; others are made of it."""
    shapes: Sequence[Shape]
    steps: Sequence[Sequence[Shape]]
    """Shapes of the micro-batches of some steps, to be rehearsed."""
    timeout: float
    again: bool = False
    """Whether what is known is measured again."""
    correct: bool = False
    """Whether what is known is corrected by whole steps that are rehearsed once more."""
    tell: Tell | None = None

    def run(self, devices: Sequence[Device]) -> Measured:
        """Everything that planner and simulator want to know of these devices.

        Raises:
            UserError: no device has room for the largest unit, or a file of the cache makes no sense.
            TimeoutError: a device was not free, or did not answer in time.
        """
        kinds, subject = by_type(devices), self.known.subject
        largest = max(map(subject.likely_bytes, range(len(subject.units))))
        roomy = {name: found for name, found in kinds.items() if largest <= min(device.memory for device in found)}
        if not roomy:
            most = max(device.memory for device in devices)
            raise UserError(
                f"The model's largest unit takes about {largest / 2**20:,.0f} MiB to train, but no device has more "
                f"than {most / 2**20:,.0f} MiB. Raise plan.cpus_per_stage: a stage gets more of its node's memory then."
            )
        for name in kinds.keys() - roomy.keys():
            self._tell(f"{name} has no room for the largest unit", 1, 1)
        return joined([self._type(found) for found in roomy.values()], list(self._links(roomy)))

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.tell is not None:
            self.tell(what, done, total)

    # -- one type of device ---------------------------------------------------------------------

    def _type(self, devices: Sequence[Device]) -> Measured:
        beside = together(devices)
        device = beside[0]
        subject, precision = self.known.on(device)
        known = None if self.again else self.known.units(device)
        there = () if known is None else {times.shape for times in known.types[0].times}
        # What was rehearsed corrects all times of a measurement alike: none is added to another one's.
        missing = self.shapes if any(shape not in there for shape in self.shapes) else ()
        rated = known is not None and len(known.types[0].rates) >= len(beside)
        if known is None or missing or not rated:
            with self._actors(beside[:1] if rated else beside) as actors:
                if known is None or missing:
                    found, process = self._units(actors[0], subject, device, missing)
                    known = self._joined(known, found, subject, device, precision, process)
                if not rated:
                    rates = self._rates(actors, subject, device)
                    known = replace(known, types=(replace(known.types[0], rates=rates),))
            known = self.known.keep(known, device)
        elif self.correct:
            known = self.known.keep(self._corrected(known, subject, device), device)
        return as_it_is_now(known, devices)

    def _units(self, actor: Any, subject: Subject, device: Device, shapes: Sequence[Shape]) -> tuple[Found, int]:
        (process,) = self._ask(actor.base, to="start")
        memory = room([device], process)
        (parts,) = self._ask(
            lambda: actor.begin.remote(subject, self.example, shapes, self.steps, memory), to="build the model"
        )
        for part in range(parts):
            self._tell(f"units on {device.type}", part, parts)
            self._ask(actor.measure_part, to="measure the model's units")
        (found,) = self._ask(actor.measure_part, to="sum up")
        self._tell(f"units on {device.type}", parts, parts)
        return found, 0 if device.kind == "gpu" and not device.logical else process

    def _corrected(self, known: Measured, subject: Subject, device: Device) -> Measured:
        """As fast as the device is now."""
        kind = known.types[0]
        if not rehearses(subject, room([device], kind.process)):
            self._tell(f"{device.type} has no room to rehearse whole steps", 1, 1)
            return known
        self._tell(f"whole steps on {device.type}", 0, 1)
        with self._actors([device]) as (actor,):
            (ran,) = self._ask(
                lambda: actor.rehearse.remote(subject, self.example, self.steps), to="rehearse whole steps"
            )
        self._tell(f"whole steps on {device.type}", 1, 1)
        now = replace(kind, times=corrected(kind.times, ran), varies=variation(kind.times, ran))
        return replace(known, types=(now,))

    def _joined(
        self, known: Measured | None, found: Found, subject: Subject, device: Device, precision: str, process: int
    ) -> Measured:
        if known is not None:
            return replace(known, types=(replace(merged(known.types[0], found.times), varies=found.varies),))
        kind = MeasuredType(
            name=device.type,
            kind=device.kind,
            chip=device.chip,
            threads=device.threads,
            precision=precision,
            memory=room([device], process),
            times=found.times,
            update=found.update,
            rates=(1.0,),
            process=process,
            varies=found.varies,
        )
        units = tuple(unit.name for unit in subject.units.all)
        return Measured(subject.model_class, units, found.held, (kind,), (), versions())

    def _rates(self, actors: Sequence[Any], subject: Subject, device: Device) -> tuple[float, ...]:
        """How fast they are when more and more of them work.

        The mean, and not the slowest: one is that by chance, however equal they are, and what waiting for it costs is
        the predictor's to add (`MeasuredType.varies`). Each round is compared with one of them alone in that round: a
        machine that is shared with others gets faster and slower meanwhile.
        """
        if len(actors) == 1 or (device.kind == "gpu" and not device.logical):
            return (1.0,) * len(actors)
        given = subject, self.example, self.steps[len(self.steps) // 2], device.memory * FILLED
        calls = [actor.make_effort.remote(*given) for actor in actors]
        window = min(max(WINDOW, *self._all(calls, to="build a part of the model")), LONGEST)
        counts = [*(2**k for k in range(len(actors).bit_length()) if 2**k < len(actors)), len(actors)]
        speeds: dict[int, list[float]] = {count: [] for count in counts}
        for number in range(ROUNDS):
            for step, count in enumerate(counts):
                self._tell(f"several {device.type} at once", number * len(counts) + step, ROUNDS * len(counts))
                (now,) = self._ask(actors[0].clock, to="tell the time")
                working = [actor.rate.remote(now + HEAD_START, window) for actor in actors[:count]]
                speeds[count].append(fmean(self._all(working, to="work beside others")))
        self._tell(f"several {device.type} at once", ROUNDS * len(counts), ROUNDS * len(counts))
        rates = {
            count: min(1.0, median(speed / alone for speed, alone in zip(found, speeds[1], strict=True)))
            for count, found in speeds.items()
        }
        # What they do in sum is what lies between: two cores do as much for three as for two and for four.
        together = {count: count * rate for count, rate in rates.items()}
        return tuple(between(together, count) / count for count in range(1, len(actors) + 1))

    @contextmanager
    def _actors(self, devices: Sequence[Device]) -> Iterator[list[Any]]:
        """One on each of these devices, which are on one node. They are not waited for."""
        actors = [
            BenchActor.options(num_cpus=device.cpus, num_gpus=device.gpus, scheduling_strategy=on(device.node)).remote(
                device.threads
            )
            for device in devices
        ]
        try:
            yield actors
        finally:
            for actor in actors:
                ray.kill(actor)

    # -- ways -----------------------------------------------------------------------------------

    def _links(self, kinds: Mapping[str, Sequence[Device]]) -> Iterator[Link]:
        ways = list(pairs(kinds))
        cache = self.known.cache
        with _Ends(self.timeout) as ends:
            for number, (one, other) in enumerate(ways):
                self._tell("ways between devices", number, len(ways))
                same = one.node == other.node
                link = None if self.again else cache.links((one, other), same_node=same)
                if link is None:
                    way = ends.measure(one.node, other.node)
                    measured = Link((one.type, other.type), way.latency, way.bandwidth, same)
                    link = cache.keep_link(measured, (one, other))
                yield named(link, (one, other))
        self._tell("ways between devices", len(ways), len(ways))

    def _ask(self, call: Callable[..., Any], *, to: str) -> list[Any]:
        """`call`: an actor's method, or something that calls one with what it wants to know."""
        ref = call.remote() if hasattr(call, "remote") else call()
        return wait_for({"a measuring actor": ref}, to=to, timeout=self.timeout)

    def _all(self, refs: Sequence[Any], *, to: str) -> list[Any]:
        return wait_for({f"measuring actor {n}": ref for n, ref in enumerate(refs)}, to=to, timeout=self.timeout)


class _Ends:
    """Actors that send each other messages, two on a node at most, kept until the last way is measured."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._actors: dict[tuple[str, int], Any] = {}

    def __enter__(self) -> _Ends:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for actor in self._actors.values():
            ray.kill(actor)

    def measure(self, one: str, other: str) -> Way:
        """The way from a node to another, or within it."""
        keys, room = Keys.new(), f"motley-{secrets.token_hex(8)}" if one == other else None
        asking, answering = self._at(one, 0), self._at(other, 1)
        first, second = self._both(asking.bind.remote(keys, room), answering.bind.remote(keys, room), to="listen")
        way, _ = self._both(asking.run.remote(second), answering.run.remote(first), to="send to and fro")
        self._both(answering.close.remote(), to="end")
        assert isinstance(way, Way)
        return way

    def _at(self, node: str, end: int) -> Any:
        if (node, end) not in self._actors:
            make = LinkActor.options(num_cpus=0, scheduling_strategy=on(node))
            self._actors[node, end] = make.remote(end, self._timeout)
        return self._actors[node, end]

    def _both(self, *refs: Any, to: str) -> list[Any]:
        return wait_for({f"end {n} of a way": ref for n, ref in enumerate(refs)}, to=to, timeout=self._timeout)
