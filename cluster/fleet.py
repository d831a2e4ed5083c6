"""What the driver asks of whatever runs its steps: one replica that owns its weights, or several with servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from torch import Tensor

from cluster.actors import Seat
from cluster.copies import Copy, Salvaged
from cluster.data_crew import Refs
from cluster.handover import Named
from cluster.roll_call import Lost
from pipelines.data.batches import Step
from pipelines.plan.pipeline import Pipeline
from pipelines.train.events import StageReport
from pipelines.train.parameter_shards import Owners, Shape
from pipelines.train.specs import StageSpec

MakeSpecs = Callable[[Owners], list[StageSpec]]
"""A replica's stages, when it is known which server owns what (nobody does without servers)."""

State = Callable[[Sequence[str]], tuple[Named, Named]]
"""Weights and optimizer state of the named parameters, where the run begins."""


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """How one replica is cut, and in which order its stages act."""

    make_specs: MakeSpecs
    pipeline: Pipeline
    """Its chunks on its stages."""
    schedule: str


@dataclass(frozen=True, slots=True)
class Start:
    """All that actors get before the first step."""

    replicas: Sequence[ReplicaPlan]
    padding: Mapping[str, float]
    """What to fill each column of a batch with."""
    state: State
    shapes: Mapping[str, Shape]
    """Of the trained parameters, by fully qualified name."""
    version: int
    """Updates that were done before: where a resumed run goes on."""


@dataclass(frozen=True, slots=True)
class Work:
    """A step to be run."""

    number: int
    step: Step
    target_weight: float
    """What its valid targets weigh together."""


@dataclass(frozen=True, slots=True)
class Landed:
    """An update of the weights that was made."""

    version: int
    """How many there were, with this one."""
    work: Work
    """The step whose gradients it took."""
    loss: float
    grad_norm: float
    begin: float
    """When the step's first action began, in seconds since the epoch."""
    end: float
    """When the update was done."""
    ideal_seconds: float
    bytes_sent: int
    reports: Sequence[StageReport]
    """Of every stage of every replica, in their order."""
    staleness: tuple[int, ...] = ()
    """For each wave, how many updates its weights were behind."""
    waves: tuple[int, ...] = ()
    """For each replica, how many waves of the step it ran."""


@dataclass(frozen=True, slots=True)
class Rejoined:
    """What it took to let new actors go on in the place of lost ones."""

    version: int
    """All weights have had so many updates now."""
    seconds: Mapping[str, float]
    """By phase: until the new ones had started, they were built, their state was restored."""


class Fleet(Protocol):
    """All stages of a run, and whatever owns the weights."""

    def meet(self) -> list[Seat]:
        """Wait for the actors, let them listen for each other, and say where each stage sits."""

    def build(self, start: Start) -> None:
        """Give every actor its part of the model."""

    def describe(self, stages: Sequence[Sequence[Mapping[str, Any]]], seats: Sequence[Seat]) -> dict[str, Any]:
        """For the plan that is shown and kept: each replica's stages where they sit, and whatever else runs."""

    def run(self, works: Iterator[Work]) -> Iterator[Landed]:
        """Run steps as they are asked for; when they end, wait for all that were begun."""

    @property
    def nodes(self) -> frozenset[str]:
        """Ray's ids of the nodes that its actors sit on, when they were met."""

    def stands(self, there: Collection[str], seconds: float) -> bool:
        """Whether all can sit as reserved with only the nodes `there` alive; waits so long for Ray to see to it."""

    def salvage(self) -> Salvaged | None:
        """The newest copies that can be read, also when actors and nodes are lost; nothing comes after but `close`."""

    def replace_lost(self, seconds: float) -> list[Lost]:
        """Bring all to rest, and put others in the place of those that are dead or do not come to rest in time.

        Returns:
            Who was lost. `rejoin` comes next.
        """

    def rejoin(self, start: Start) -> Rejoined:
        """Go back to the newest copies that all have, or to `start`: as for `build`, with the newest state on disk."""

    def start_evaluation(self, call: int, parts: Refs) -> list[ray.ObjectRef[Any]]:
        """Let a replica evaluate micro-batches with the newest weights. No step may run meanwhile."""

    def finish_evaluation(self, refs: Sequence[ray.ObjectRef[Any]]) -> list[Any]:
        """The answers to each micro-batch, row by row."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """All trained weights, fetched piece by piece. No step may run meanwhile."""

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's state, in the same way."""

    def copies(self) -> list[ray.ObjectRef[Copy]]:
        """Copies of the weights and the optimizer's state as they are now, of each owner one. No step may run."""

    def close(self) -> None:
        """End the actors and free what was reserved."""
