"""When each action of a schedule runs, and what the stages hold: an event simulation."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Memory, Pipeline, Schedule
from pipelines.train.events import Event

Duration = Callable[[int, Action], float]
"""Seconds that stage `j` takes for an action when no other device of its node works."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Stages that share a node slow each other."""

    of: tuple[int, ...]
    """The node of each stage."""
    rates: tuple[tuple[float, ...], ...]
    """By node: the speed of a device when 1, 2, ... of them work at once. Where more work than there are numbers, the
    node does no more in sum than with as many as there are."""

    def rate(self, node: int, working: int) -> float:
        rates = self.rates[node]
        return rates[working - 1] if working <= len(rates) else rates[-1] * len(rates) / working


@dataclass(frozen=True, slots=True)
class Simulated:
    times: list[list[tuple[float, float]]]
    """Start and end in seconds of every action of every stage, in the schedule's order."""
    peak_bytes: tuple[int, ...]
    """The most that each stage holds for micro-batches under way; 0 where the pipeline says nothing of bytes."""

    @property
    def seconds(self) -> float:
        """From the first action's start to the last one's end."""
        return max((spans[-1][1] for spans in self.times if spans), default=0.0)

    @property
    def busy(self) -> tuple[float, ...]:
        """Seconds that each stage works."""
        return tuple(sum(end - start for start, end in spans) for spans in self.times)

    @property
    def idle(self) -> tuple[float, ...]:
        """The part of the step that each stage waits."""
        return tuple(1 - busy / self.seconds if self.seconds else 0.0 for busy in self.busy)

    @property
    def bubble(self) -> float:
        """The part of the step that the busiest stage waits.

        No schedule is shorter than the busiest stage's work, so this is what a better one could save at most. Where
        all stages have the same work it is the usual one, the part of all device time that is idle.
        """
        return min(self.idle)


def simulate(
    schedule: Schedule, pipeline: Pipeline, duration: Duration | None = None, nodes: Nodes | None = None
) -> Simulated:
    """Run a schedule on paper.

    A forward of a chunk waits for that of the chunk before, a backward for that of the chunk behind, the last chunk's
    for its own forward; an update waits for the weight gradients of all chunks, since clipping needs the global norm.
    Messages between stages take the time that the pipeline's costs say, one after the other on each link, while both
    stages go on working.

    Args:
        duration: instead of the pipeline's costs.
        nodes: which stages slow each other; none when left out.

    Raises:
        ValueError: the schedule waits for itself.
    """
    run = _Run(schedule, pipeline, duration or costs_of(pipeline), nodes)
    return Simulated(run.times(), peak_bytes(schedule, pipeline.memory))


def ideal_seconds(schedule: Schedule, measured: Sequence[Sequence[Event]]) -> float:
    """The step's time if its actions took what was `measured` of each stage, with nothing between them."""
    lasted = {
        (j, action): event.end - event.start
        for j, (actions, events) in enumerate(zip(schedule, measured, strict=True))
        for action, event in zip(actions, events, strict=True)
    }
    return simulate(schedule, Pipeline.of(schedule), lambda j, action: lasted[j, action]).seconds


def costs_of(pipeline: Pipeline) -> Duration:
    """What the pipeline's costs say that an action takes; `weights` takes what the micro-batches of its part do."""
    raise NotImplementedError


def peak_bytes(schedule: Schedule, memory: Memory | None) -> tuple[int, ...]:
    """The most that each stage holds: what forwards keep for their backwards, and these for the weight gradients."""
    if memory is None:
        return (0,) * len(schedule)
    peaks = []
    for actions in schedule:
        held = peak = 0
        noted = dict.fromkeys((action.chunk for action in actions), 0)
        for action in actions:
            if action.kind == "forward":
                held += memory.kept[action.chunk]
            elif action.kind == "backward":
                held += memory.noted[action.chunk] - memory.kept[action.chunk]
                noted[action.chunk] += 1
            elif action.kind == "weights":
                held -= memory.noted[action.chunk] * noted[action.chunk]
                noted[action.chunk] = 0
            peak = max(peak, held)
        peaks.append(peak)
    return tuple(peaks)
