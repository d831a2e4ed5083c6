"""When does each action of a schedule run, and what do the stages hold? An event simulation."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.plan.actions import Action
from pipelines.plan.links import Links
from pipelines.plan.pipeline import Memory, Nodes, Pipeline, Schedule
from pipelines.train.events import Event, Kind

Duration = Callable[[int, Action], float]
"""Seconds that stage `j` takes for an action while no other device of its node works."""


@dataclass(frozen=True, slots=True)
class Simulated:
    times: list[list[tuple[float, float]]]
    """Start and end in seconds of every action of every stage, in the schedule's order."""
    peak_bytes: tuple[int, ...]
    """The most that each stage holds of micro-batches under way; 0 where nothing is known of bytes."""

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
        """The part of the step that each stage does not work."""
        return tuple(1 - busy / self.seconds if self.seconds else 0.0 for busy in self.busy)

    @property
    def bubble(self) -> float:
        """The part of the step that the busiest stage does not work.

        No schedule is shorter than the busiest stage's work: a better one saves no more than this. Where all stages
        have the same work, it is what is called bubble elsewhere, the idle part of all devices' time.
        """
        return min(self.idle)


def simulate(schedule: Schedule, pipeline: Pipeline, duration: Duration | None = None) -> Simulated:
    """Run a step on paper.

    A forward of a chunk waits for that of the chunk before, a backward for that of the chunk behind (the last chunk's
    for its own forward), and an update for the weight gradients of all chunks, since clipping needs the global norm.
    Messages between stages take what the pipeline's costs say, while the stages go on working.

    Args:
        duration: of actions, instead of what the pipeline's costs say.

    Raises:
        ValueError: the schedule waits for itself.
    """
    run = _Run(schedule, pipeline, duration or duration_of(schedule, pipeline))
    return Simulated(run.times(), peak_bytes(schedule, pipeline.memory))


def ideal_seconds(schedule: Schedule, measured: Sequence[Sequence[Event]]) -> float:
    """The step's time if its actions took what was `measured` of each stage, with nothing between them."""
    lasted = {
        (j, action): event.end - event.start
        for j, (actions, events) in enumerate(zip(schedule, measured, strict=True))
        for action, event in zip(actions, events, strict=True)
    }
    return simulate(schedule, Pipeline.of(schedule), lambda j, action: lasted[j, action]).seconds


def fits(result: Simulated, pipeline: Pipeline) -> bool:
    """Whether every stage keeps its limit."""
    limit = pipeline.memory.limit if pipeline.memory is not None else None
    return limit is None or all(peak <= most for peak, most in zip(result.peak_bytes, limit, strict=True))


def duration_of(schedule: Schedule, pipeline: Pipeline) -> Duration:
    """What the pipeline's costs say; `weights` takes what all micro-batches since the last ones take together.

    Raises:
        ValueError: the pipeline has no costs.
    """
    costs = pipeline.costs
    if costs is None:
        raise ValueError("nothing is known of how long these chunks take")
    parts: dict[Action, float] = {}
    for actions in schedule:
        done: dict[int, int] = {}
        for action in actions:
            if action.kind == "weights" and action.micro_batch is not None:
                part = range(done.get(action.chunk, 0), action.micro_batch + 1)
                parts[action] = costs.weights[action.chunk] * sum(costs.size(i) for i in part)
                done[action.chunk] = part.stop

    def duration(j: int, action: Action) -> float:
        if action.micro_batch is None:
            return costs.update[j]
        if action.kind == "weights":
            return parts[action]
        each = costs.forward if action.kind == "forward" else costs.backward
        return each[action.chunk] * costs.size(action.micro_batch)

    return duration


def peak_bytes(schedule: Schedule, memory: Memory | None) -> tuple[int, ...]:
    """The most that each stage holds: what forwards keep for their backwards, and those for the weight gradients."""
    if memory is None:
        return (0,) * len(schedule)
    peaks = []
    for actions in schedule:
        held = peak = 0
        done: dict[int, int] = {}
        for action in actions:
            if action.kind == "forward":
                held += memory.kept[action.chunk]
            elif action.kind == "backward":
                held += memory.noted[action.chunk] - memory.kept[action.chunk]
            elif action.kind == "weights" and action.micro_batch is not None:
                part = range(done.get(action.chunk, 0), action.micro_batch + 1)
                held -= memory.noted[action.chunk] * len(part)
                done[action.chunk] = part.stop
            peak = max(peak, held)
        peaks.append(peak)
    return tuple(peaks)


class _Node:
    """Work is counted in seconds of a device that works alone."""

    def __init__(self) -> None:
        self.done = self.at = 0.0
        """What each of its working devices has done, and when that was so."""
        self.working: list[tuple[float, int]] = []
        """For each working stage, at which `done` it will be through; a heap."""
        self.changes = 0


class _Run:
    def __init__(self, schedule: Schedule, pipeline: Pipeline, duration: Duration) -> None:
        self._schedule, self._stage_of, self._duration = schedule, pipeline.stage_of, duration
        self._links = Links(pipeline)
        self._shared = pipeline.nodes or Nodes(tuple(range(len(schedule))), ((1.0,),) * len(schedule))
        self._nodes = [_Node() for _ in self._shared.rates]
        self._events: list[tuple[float, int, int]] = []
        """Time; a stage to look at, or -1 and a node; how often the node had changed. A heap."""
        self._arrived: dict[Action, float] = {}
        """When that is there which an action waits for."""
        self._working = [False] * len(schedule)
        self._begun: list[list[float]] = [[] for _ in schedule]
        self._ended: list[list[float]] = [[] for _ in schedule]
        self._weights_left = sum(action.kind == "weights" for actions in schedule for action in actions)

    def times(self) -> list[list[tuple[float, float]]]:
        for j in range(len(self._schedule)):
            self._look(j, 0.0)
        while self._events:
            now, which, changes = heapq.heappop(self._events)
            if which >= 0:
                self._look(which, now)
            elif self._nodes[~which].changes == changes:
                self._end(~which, now)
        for j, (actions, ended) in enumerate(zip(self._schedule, self._ended, strict=True)):
            if len(ended) < len(actions):
                raise ValueError(f"stage {j} waits for ever before {actions[len(ended)]}")
        return [list(zip(begun, ended, strict=True)) for begun, ended in zip(self._begun, self._ended, strict=True)]

    def _look(self, j: int, now: float) -> None:
        """Begin the next action of a stage if it has nothing to wait for."""
        position = len(self._ended[j])
        if self._working[j] or position == len(self._schedule[j]):
            return
        action = self._schedule[j][position]
        if self._ready(action) <= now:
            self._working[j] = True
            self._begun[j].append(now)
            node = self._nodes[self._shared.of[j]]
            self._go_on(self._shared.of[j], now)
            heapq.heappush(node.working, (node.done + self._duration(j, action), j))
            self._expect(self._shared.of[j])

    def _ready(self, action: Action) -> float:
        if action.kind == "weights" or (action.kind == "forward" and action.chunk == 0):
            return 0.0
        if action.kind == "update":
            return float("inf") if self._weights_left else 0.0
        return self._arrived.get(action, float("inf"))

    def _end(self, n: int, now: float) -> None:
        """The first of a node's working stages is through."""
        node = self._nodes[n]
        self._go_on(n, now)
        node.done, j = heapq.heappop(node.working)
        self._working[j] = False
        action = self._schedule[j][len(self._ended[j])]
        self._ended[j].append(now)
        self._expect(n)
        self._pass_on(action, now)
        self._look(j, now)

    def _pass_on(self, action: Action, now: float) -> None:
        chunk, i = action.chunk, action.micro_batch
        if action.kind == "weights":
            self._weights_left -= 1
            if not self._weights_left:
                for j in range(len(self._schedule)):
                    self._look(j, now)
        elif i is not None:
            last = len(self._stage_of) - 1
            taker = min(chunk + 1, last) if action.kind == "forward" else chunk - 1
            if taker >= 0:
                kind: Kind = "backward" if action.kind == "backward" or chunk == last else "forward"
                there = self._links.arrival(chunk, taker, i, now)
                self._arrived[Action(kind, i, taker)] = there
                heapq.heappush(self._events, (there, self._stage_of[taker], 0))

    def _go_on(self, n: int, now: float) -> None:
        """Account for what a node's stages did until now."""
        node = self._nodes[n]
        if node.working:
            node.done += (now - node.at) * self._shared.rate(n, len(node.working))
        else:
            node.done = 0.0
        node.at = now

    def _expect(self, n: int) -> None:
        """When the first of a node's stages will be through, if none begins or ends before."""
        node = self._nodes[n]
        node.changes += 1
        if node.working:
            left = (node.working[0][0] - node.done) / self._shared.rate(n, len(node.working))
            heapq.heappush(self._events, (node.at + left, ~n, node.changes))
