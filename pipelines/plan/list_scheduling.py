"""List scheduling (Graham 1966): a stage that is free does the most urgent thing that it can do."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pipelines.plan.actions import Action
from pipelines.plan.links import Links
from pipelines.plan.pipeline import Costs, Pipeline, Schedule
from pipelines.plan.room import Holding, Room

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done first."""

    urgency: Callable[[Action], tuple[float, ...]]
    """The smallest goes first."""
    room: Room | None = None
    """What stages may hold; without end when left out."""
    patience: float = 0.0
    """Weight gradients wait for what will arrive before this part of them would be done."""


def list_schedule(
    pipeline: Pipeline, num_micro_batches: int, costs: Costs, rule: Rule, part_ends: Sequence[int] = ()
) -> Schedule:
    """The forwards, backwards and weight gradients of each stage as they come when actions take what `costs` say.

    Every chunk takes the micro-batches in their order, both ways. What comes out runs to its end whatever the actions
    take in truth, since they waited for each other in no circle here.

    Args:
        part_ends: the last micro-batch of each part of the weight gradients; without them nothing is said of these.

    Raises:
        ValueError: one micro-batch alone is more than a stage has room for.
    """
    run = _Run(replace(pipeline, costs=costs), num_micro_batches, costs, rule, part_ends)
    return run.lists()


class _Run:
    def __init__(self, pipeline: Pipeline, m: int, costs: Costs, rule: Rule, part_ends: Sequence[int]) -> None:
        self._stage_of, self._m, self._costs, self._rule = pipeline.stage_of, m, costs, rule
        self._links = Links(pipeline)
        bounds = [0, *(end + 1 for end in part_ends)]
        self._parts = {end: sum(costs.size(i) for i in range(first, end)) for first, end in pairwise(bounds)}
        self._next_end = dict(pairwise(bounds))
        limits = rule.room.limit if rule.room is not None else (NEVER,) * pipeline.num_stages
        self._holdings = [
            Holding(chunks, bounds[1:], rule.room, limit) for chunks, limit in zip(pipeline.chunks, limits, strict=True)
        ]
        num_chunks = len(pipeline.stage_of)
        self._forwards = [[0.0 if c == 0 else NEVER] * m for c in range(num_chunks)]
        """When that arrives which a forward waits for."""
        self._backwards = [[NEVER] * m for _ in range(num_chunks)]
        self._free_at = [0.0] * pipeline.num_stages
        self._lists: Schedule = [[] for _ in range(pipeline.num_stages)]
        self._looks = [(0.0, j) for j in range(pipeline.num_stages)]
        """When to look at which stage: something arrived, or it is through with something. A heap."""

    def lists(self) -> Schedule:
        while self._looks:
            now, j = heapq.heappop(self._looks)
            if self._free_at[j] > now:
                continue
            action = self._most_urgent(j, now)
            if action is not None:
                self._lists[j].append(action)
                self._free_at[j] = self._act(action, now)
                heapq.heappush(self._looks, (self._free_at[j], j))
        for j, holding in enumerate(self._holdings):
            if any(done < self._m for done in holding.backwards.values()):
                raise ValueError(f"stage {j} has no room for one micro-batch")
        return self._lists

    def _most_urgent(self, j: int, now: float) -> Action | None:
        holding, urgency = self._holdings[j], self._rule.urgency
        best: Action | None = None
        first: tuple[float, ...] = (NEVER,)
        soon = NEVER
        for c in holding.chunks:
            forward, backward = holding.forwards[c], holding.backwards[c]
            candidates = []
            if forward < self._m and self._forwards[c][forward] < NEVER and holding.may_forward(c):
                candidates.append((self._forwards[c][forward], Action("forward", forward, c)))
            if backward < forward and self._backwards[c][backward] < NEVER and holding.may_backward(c):
                candidates.append((self._backwards[c][backward], Action("backward", backward, c)))
            end = self._next_end.get(holding.weighed[c], self._m + 1)
            if end <= backward:
                candidates.append((0.0, Action("weights", end - 1, c)))
            for there, action in candidates:
                if there > now:
                    soon = min(soon, there)
                elif (rank := urgency(action)) < first:
                    best, first = action, rank
        if best is not None and best.kind == "weights" and soon < now + self._rule.patience * self._seconds(best):
            return None
        return best

    def _seconds(self, action: Action) -> float:
        c, i = action.chunk, action.micro_batch
        assert i is not None
        if action.kind == "weights":
            return self._costs.weights[c] * self._parts[i + 1]
        return (self._costs.forward if action.kind == "forward" else self._costs.backward)[c] * self._costs.size(i)

    def _act(self, action: Action, now: float) -> float:
        """Do it, tell who waits for it, and return when it ends."""
        c, i, holding = action.chunk, action.micro_batch, self._holdings[self._stage_of[action.chunk]]
        assert i is not None
        end = now + self._seconds(action)
        if action.kind == "weights":
            holding.weights(c, i + 1)
            return end
        last = len(self._stage_of) - 1
        if action.kind == "forward":
            holding.forward(c)
            taker, awaited = (c + 1, self._forwards) if c < last else (c, self._backwards)
        else:
            holding.backward(c)
            taker, awaited = c - 1, self._backwards
        if taker >= 0:
            there = awaited[taker][i] = self._links.arrival(c, taker, i, end)
            heapq.heappush(self._looks, (there, self._stage_of[taker]))
        return end
