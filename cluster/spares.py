"""Actors that wait for a role: one takes a lost stage's place at once, where a new process would have to start first.

    a new process    start, import Ray, torch and the model's classes ── build ── restore
    a spare          ................ done in advance ................ ── build ── restore

A spare takes no resource of Ray's: whoever it replaces leaves it the bundle of the placement group, whose CPUs stay
reserved. It computes with as many threads. A GPU comes only with an actor that Ray gave it to, so that spares are for
stages on CPUs.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from cluster.actors import Role, StageShell
from cluster.devices import on
from pipelines.train.device import Device
from pipelines.train.specs import StageSpec
from pipelines.train.stage import Stage

ANSWERS = 2.0
"""Seconds in which a spare that has nothing to do must answer."""


class SpareShell(StageShell):
    """A stage's shell without a role."""

    def __init__(self, task: str) -> None:
        super().__init__(task, None)

    def rehearse(self, spec: StageSpec) -> None:
        """Build a stage and let it go: what that imports stays."""
        Stage(spec, Device.assigned([], 1))
        gc.collect()
        gc.freeze()


# Any: which options and methods a remote class has is known to Ray, not to the type checker.
SpareActor: Any = ray.remote(SpareShell)


class Spares:
    """The spares of one run, so many on each node that has stages on CPUs."""

    def __init__(self, per_node: int, task: str) -> None:
        self._per_node, self._task = per_node, task
        self._specs: dict[str, StageSpec] = {}
        self._waiting: dict[str, list[tuple[Any, ray.ObjectRef[None]]]] = {}
        """By node: actors, and the calls that are done when they are ready."""

    def expect(self, seats: Mapping[str, StageSpec]) -> None:
        """Stages on CPUs, one of each node, that spares may have to replace. Starts nothing yet."""
        self._specs |= seats

    def fill(self) -> None:
        """Start those that are missing, without waiting for them."""
        for node, spec in self._specs.items():
            waiting = self._waiting.setdefault(node, [])
            waiting[:] = [one for one in waiting if not _failed(one[1])]
            while len(waiting) < self._per_node:
                actor = SpareActor.options(num_cpus=0, scheduling_strategy=on(node)).remote(self._task)
                waiting.append((actor, actor.rehearse.remote(spec)))

    def take(self, node: str, role: Role) -> Any | None:
        """A spare on `node`, which plays `role` now; None where none lives.

        One that is not ready yet is still ahead of a new process.
        """
        waiting = self._waiting.get(node, [])
        while waiting:
            actor, ready = waiting.pop(0)
            if _answers(actor, ready):
                actor.play.remote(role)
                return actor
            ray.kill(actor)
        return None

    def processes(self) -> list[int]:
        """Of all spares, when they are ready."""
        waiting = [one for of_node in self._waiting.values() for one in of_node]
        ray.get([ready for _, ready in waiting])
        return ray.get([actor.ping.remote() for actor, _ in waiting])

    def close(self) -> None:
        """End those that have no role."""
        for of_node in self._waiting.values():
            for actor, _ in of_node:
                ray.kill(actor)
        self._waiting.clear()


def _is_done(ref: ray.ObjectRef[Any]) -> bool:
    return bool(ray.wait([ref], timeout=0)[0])


def _failed(ref: ray.ObjectRef[Any]) -> bool:
    """Whether a call is done, and ended with an error."""
    if not _is_done(ref):
        return False
    try:
        ray.get(ref)
    except RayError:
        return True
    return False


def _answers(actor: Any, ready: ray.ObjectRef[None]) -> bool:
    """Whether it lives, as far as one that still gets ready can be asked."""
    if not _is_done(ready):
        return True
    try:
        ray.get(ready)
        ray.get(actor.ping.remote(), timeout=ANSWERS)
    except (RayError, GetTimeoutError):
        return False
    return True
