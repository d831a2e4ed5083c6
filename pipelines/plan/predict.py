"""What a step will take on given devices: measured unit times, put together by the event simulation.

Where actions take now more and now less, stages wait for each other that would not if all took the mean: a step ends
when the last of many is done. So every action takes its mean times a draw of its own, which varies as actions did when
the device was measured, and is 1 in the mean. The same step is always predicted to take the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import fmean

from pipelines.plan.actions import Action
from pipelines.plan.measured import Measured, MeasuredType, Shape, Times
from pipelines.plan.pipeline import Costs, Memory, Nodes, Pipeline, Schedule
from pipelines.plan.schedules import make_schedule
from pipelines.plan.simulate import Duration, Simulated, simulate
from pipelines.train.events import Kind

KINDS: tuple[Kind, ...] = ("forward", "backward", "weights")


@dataclass(frozen=True, slots=True)
class Seating:
    """Chunks on stages, and stages on devices."""

    bounds: tuple[int, ...]
    """The first unit of every chunk, and the number of units."""
    stage_of: tuple[int, ...]
    """The stage of every chunk."""
    types: tuple[str, ...]
    """Of every stage, the type of its device."""
    nodes: tuple[str, ...]
    """Of every stage, the node of its device."""


@dataclass(frozen=True, slots=True)
class _ChunkTimes:
    forward: float
    backward: float
    weights: float
    kept: int
    noted: int


class Predictor:
    """Predicts steps of one seating."""

    def __init__(
        self,
        measured: Measured,
        seating: Seating,
        ordinary: Shape,
        largest: Shape | None = None,
        beside: Mapping[tuple[str, str], int] | None = None,
        *,
        rounds: int = 1,
    ) -> None:
        """
        Args:
            ordinary: what schedules are made for.
            largest: what there must be room for; `ordinary` when left out.
            beside: by node and type, how many devices there always work that are not the seating's.
            rounds: how often a step runs its micro-batches.
        """
        self.seating = seating
        self._beside, self._rounds = beside or {}, rounds
        self._measured = measured
        by_name = {kind.name: kind for kind in measured.types}
        self._types = [by_name[name] for name in seating.types]
        self._spans = list(pairwise(seating.bounds))
        self._found: dict[tuple[int, Shape], _ChunkTimes] = {}
        self.pipeline = self._pipeline(ordinary, largest or ordinary)
        """What schedules are made for, in the run as here: a schedule is the same for all steps of as many
        micro-batches."""

    def step(self, schedule: str, shapes: Sequence[Shape]) -> Simulated:
        """One step whose micro-batches have these shapes.

        Raises:
            UserError: the schedule cannot keep the devices' memory.
        """
        actions = self.actions(schedule, len(shapes))
        return simulate(actions, self.pipeline, self._durations(actions, [*shapes] * self._rounds))

    def actions(self, schedule: str, num_micro_batches: int) -> Schedule:
        """What each stage does in a step.

        Raises:
            UserError: the schedule cannot keep the devices' memory.
        """
        return make_schedule(schedule, self.pipeline, num_micro_batches, rounds=self._rounds)

    def _pipeline(self, ordinary: Shape, largest: Shape) -> Pipeline:
        numbers = range(len(self._spans))
        chunks = [self._chunk(c, ordinary) for c in numbers]
        large = [self._chunk(c, largest) for c in numbers]
        messages = [self._message(c, ordinary) for c in numbers[:-1]]
        costs = Costs(
            forward=tuple(chunk.forward for chunk in chunks),
            backward=tuple(chunk.backward for chunk in chunks),
            weights=tuple(chunk.weights for chunk in chunks),
            update=tuple(self._update(j) for j in range(len(self._types))),
            latency=tuple(latency for latency, _, _ in messages),
            activations=tuple(there for _, there, _ in messages),
            gradients=tuple(back for _, _, back in messages),
        )
        memory = Memory(
            kept=tuple(chunk.kept for chunk in large),
            noted=tuple(chunk.noted for chunk in large),
            limit=tuple(max(0, kind.memory - self.held(j)) for j, kind in enumerate(self._types)),
        )
        return Pipeline(self.seating.stage_of, costs, memory, self._nodes())

    def held(self, j: int) -> int:
        """Bytes of weights, gradients and optimizer state of stage `j`."""
        return sum(self._measured.held[n] for n in self._units(j))

    def memory(self, j: int) -> int:
        """Bytes that the device of stage `j` may fill."""
        return self._types[j].memory

    def _units(self, j: int) -> list[int]:
        spans = zip(self._spans, self.seating.stage_of, strict=True)
        return [n for (first, end), stage in spans if stage == j for n in range(first, end)]

    def _update(self, j: int) -> float:
        return sum(self._types[j].update[n] for n in self._units(j))

    def _times(self, c: int, shape: Shape) -> Times:
        return self._measured.times_at(self._type(c).name, shape)

    def _type(self, c: int) -> MeasuredType:
        return self._types[self.seating.stage_of[c]]

    def _chunk(self, c: int, shape: Shape) -> _ChunkTimes:
        if (c, shape) not in self._found:
            times, (first, end) = self._times(c, shape), self._spans[c]
            self._found[c, shape] = _ChunkTimes(
                times.stage_forward + sum(times.forward[first:end]),
                times.stage_backward + sum(times.backward[first:end]),
                sum(times.weights[first:end]),
                sum(times.kept[first:end]),
                sum(times.noted[first:end]),
            )
        return self._found[c, shape]

    def _message(self, c: int, shape: Shape) -> tuple[float, float, float]:
        """Of the boundary behind chunk `c`: latency, and seconds that its messages take there and back."""
        giver, taker = self.seating.stage_of[c], self.seating.stage_of[c + 1]
        if giver == taker:
            return 0.0, 0.0, 0.0
        link = self._measured.link(self._types[giver].name, self._types[taker].name)
        there, back = self._times(c, shape).crossing[self._spans[c][1] - 1]
        return link.latency, there / link.bandwidth, back / link.bandwidth

    def _durations(self, actions: Schedule, shapes: Sequence[Shape]) -> Duration:
        """By the shape of each micro-batch, where the pipeline's costs know means only."""
        parts: dict[Action, float] = {}
        chance = self._chance(shapes)
        for stage in actions:
            done: dict[int, int] = {}
            for action in stage:
                if action.kind == "weights" and action.micro_batch is not None:
                    part = range(done.get(action.chunk, 0), action.micro_batch + 1)
                    parts[action] = sum(self._chunk(action.chunk, shapes[i]).weights for i in part)
                    done[action.chunk] = part.stop

        def mean(j: int, action: Action) -> float:
            if action.micro_batch is None:
                return self._update(j)
            if action.kind == "weights":
                return parts[action]
            chunk = self._chunk(action.chunk, shapes[action.micro_batch])
            return chunk.forward if action.kind == "forward" else chunk.backward

        def duration(j: int, action: Action) -> float:
            return mean(j, action) * chance.get(action, 1.0)

        return duration

    def _chance(self, shapes: Sequence[Shape]) -> dict[Action, float]:
        """What each action takes over what it takes in the mean; empty where nothing varies.

        An action has the same draw in every schedule, so that schedules are compared by what they do.
        """
        spreads = [math.sqrt(math.log1p(kind.varies**2)) for kind in self._types]
        if not any(spreads):
            return {}
        draws = random.Random(repr(shapes))
        found = {}
        for c, stage in enumerate(self.seating.stage_of):
            spread = spreads[stage]
            for i, kind in product(range(len(shapes)), KINDS):
                # Log-normal: never negative, and its mean is 1.
                found[Action(kind, i, c)] = math.exp(spread * draws.gauss(0.0, 1.0) - spread**2 / 2)
        return found

    def _nodes(self) -> Nodes:
        # Slices of one node's CPUs slow each other; a GPU beside them does not.
        places = list(zip(self.seating.nodes, self.seating.types, strict=True))
        numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
        rates = {
            place: _rates(kind.rates, self._beside.get(place, 0), places.count(place))
            for place, kind in zip(places, self._types, strict=True)
        }
        return Nodes(tuple(numbers[place] for place in places), tuple(rates[place] for place in numbers))


def _rates(rates: tuple[float, ...], beside: int, most: int) -> tuple[float, ...]:
    """The speed of a device when 1 to `most` of a seating work at once, with others beside them."""
    if not beside:
        return rates
    alone = Nodes((), (rates,))
    return tuple(alone.rate(0, working + beside) for working in range(1, most + 1))


def mean_shape(shapes: Sequence[Shape]) -> Shape:
    """A shape with the mean number of sub-words of these, about as wide as they are."""
    tokens = fmean(map(_tokens, shapes))
    width = max(1, round(fmean(shape.width for shape in shapes)))
    return Shape(max(1, round(tokens / width)), width)


def largest_shape(shapes: Iterable[Shape]) -> Shape:
    """The one with the most sub-words, with padding; of those the widest."""
    return max(shapes, key=lambda shape: (_tokens(shape), shape.width))


def _tokens(shape: Shape) -> int:
    return shape.rows * shape.width
