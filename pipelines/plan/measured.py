"""What was measured of one model's units on every type of device, as planner and simulator read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from pipelines.plan.fit import Floats, bound, fit, terms

Fitting = Callable[[Sequence[tuple[int, int]], Sequence[float]], Floats]


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a micro-batch."""

    rows: int
    width: int
    """Sub-words of its longest row."""


@dataclass(frozen=True, slots=True)
class Times:
    """One shape of micro-batch on one device of a type. Seconds and bytes, one entry a unit."""

    shape: Shape
    forward: tuple[float, ...]
    backward: tuple[float, ...]
    """Without what `weights` computes later."""
    weights: tuple[float, ...]
    stage_forward: float
    """What a forward costs a stage whatever units it holds."""
    stage_backward: float
    kept: tuple[int, ...]
    """Bytes from a forward to its backward."""
    noted: tuple[int, ...]
    """Bytes that stay until the weight gradients are computed."""
    crossing: tuple[tuple[int, int], ...]
    """Bytes over each boundary: of activations, and of gradients back."""


@dataclass(frozen=True, slots=True)
class MeasuredType:
    """One type of device: those of a type are interchangeable."""

    name: str
    kind: Literal["cpu", "gpu"]
    chip: str
    threads: int
    precision: str
    memory: int
    """Bytes that a stage may fill."""
    times: tuple[Times, ...]
    """One for each shape that was measured."""
    update: tuple[float, ...]
    """Seconds of the optimizer, by unit."""
    rates: tuple[float, ...]
    """Speed of a device when 1, 2, ... devices of its node work at once, against the speed it was measured at."""
    process: int = 0
    """Bytes that a process takes before it has a model; `memory` is without them."""
    varies: float = 0.0
    """How much forwards and backwards through the whole model differ that are alike: the standard deviation, as a part
    of what they take."""


@dataclass(frozen=True, slots=True)
class Link:
    """Between devices of two types; the two may be the same."""

    ends: tuple[str, str]
    latency: float
    """Seconds."""
    bandwidth: float
    """Bytes a second."""
    same_node: bool = False
    """Whether it is the way within a node, or that from node to node."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one model, in one precision, by certain versions of the libraries."""

    model: str
    units: tuple[str, ...]
    held: tuple[int, ...]
    """Bytes of weights, gradients and optimizer state, by unit."""
    types: tuple[MeasuredType, ...]
    links: tuple[Link, ...]
    versions: dict[str, str]

    def type(self, name: str) -> MeasuredType:
        """
        Raises:
            ValueError: nothing was measured of such a type.
        """
        for kind in self.types:
            if kind.name == name:
                return kind
        raise ValueError(
            f"unknown type of device {name!r}: choose one of {', '.join(kind.name for kind in self.types)}"
        )

    def times_at(self, name: str, shape: Shape) -> Times:
        """Of a device type, for a micro-batch of a shape: as measured where it was, else fitted to all that were.

        Bytes of memory are fitted so that no shape that was measured took more.
        """
        return times_at(self.type(name).times, shape)

    def link(self, one: str, other: str, *, same_node: bool = False) -> Link:
        """Between devices of two types, within a node or from node to node; the other way if only that was measured.

        Raises:
            ValueError: neither was measured.
        """
        found = [link for link in self.links if sorted(link.ends) == sorted((one, other))]
        if not found:
            raise ValueError(f"nothing was measured of the way between {one} and {other}")
        return min(found, key=lambda link: link.same_node != same_node)


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """Of some units together on one device, as one chunk."""

    forward: float
    """Seconds a micro-batch, with what a forward costs whatever the units; so is `backward`."""
    backward: float
    weights: float
    update: float
    """Seconds a step."""
    held: int
    """Bytes of weights, gradients and optimizer state."""
    kept: int
    noted: int


def costs_of(measured: Measured, name: str, shape: Shape, first: int, end: int) -> UnitCosts:
    """Units `first` to `end - 1` as one chunk on a device of a type."""
    times, kind = measured.times_at(name, shape), measured.type(name)
    return UnitCosts(
        forward=times.stage_forward + sum(times.forward[first:end]),
        backward=times.stage_backward + sum(times.backward[first:end]),
        weights=sum(times.weights[first:end]),
        update=sum(kind.update[first:end]),
        held=sum(measured.held[first:end]),
        kept=sum(times.kept[first:end]),
        noted=sum(times.noted[first:end]),
    )


def shapes_to_measure(shapes: Iterable[Shape]) -> tuple[Shape, ...]:
    """Of a run's shapes those with the fewest and the most padded tokens, the narrowest, the widest, and a middle one.

    All others lie between them. Of several that are as narrow the one with the most rows, and of several as wide the
    one with the fewest: the others are near those of the fewest and the most tokens.
    """

    def tokens(shape: Shape) -> tuple[int, int]:
        return shape.rows * shape.width, shape.width

    def width(shape: Shape) -> tuple[int, int]:
        return shape.width, -shape.rows

    ordered = sorted(set(shapes), key=tokens)
    chosen = {
        ordered[0],
        ordered[(len(ordered) - 1) // 2],
        ordered[-1],
        min(ordered, key=width),
        max(ordered, key=width),
    }
    return tuple(sorted(chosen, key=tokens))


@lru_cache(maxsize=4096)
def times_at(measured: tuple[Times, ...], shape: Shape) -> Times:
    """As `Measured.times_at`, of one type of device."""
    for times in measured:
        if times.shape == shape:
            return times
    fitted, at = _fitted(measured), terms(shape.rows, shape.width)
    forward, backward, weights, kept, noted, there, back, stages = (part @ at for part in fitted)

    def whole(numbers: Floats) -> tuple[int, ...]:
        return tuple(math.ceil(round(number, 3)) for number in numbers.tolist())

    return Times(
        shape,
        forward=tuple(forward.tolist()),
        backward=tuple(backward.tolist()),
        weights=tuple(weights.tolist()),
        stage_forward=float(stages[0]),
        stage_backward=float(stages[1]),
        kept=whole(kept),
        noted=whole(noted),
        crossing=tuple(zip(whole(there), whole(back), strict=True)),
    )


@lru_cache(maxsize=32)
def _fitted(measured: tuple[Times, ...]) -> tuple[Floats, ...]:
    """For every quantity the fit of each unit or boundary, [units, 3]."""
    shapes = [(times.shape.rows, times.shape.width) for times in measured]

    def rows(of: Callable[[Times], Sequence[float]], fitting: Fitting = fit) -> Floats:
        series = list(zip(*map(of, measured), strict=True))
        return np.array([fitting(shapes, values) for values in series]).reshape(-1, 3)

    return (
        rows(lambda times: times.forward),
        rows(lambda times: times.backward),
        rows(lambda times: times.weights),
        rows(lambda times: times.kept, bound),
        rows(lambda times: times.noted, bound),
        rows(lambda times: [there for there, _ in times.crossing]),
        rows(lambda times: [back for _, back in times.crossing]),
        rows(lambda times: (times.stage_forward, times.stage_backward)),
    )
