"""What was measured of one model's units on every type of device, as planner and simulator read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True, slots=True)
class Link:
    """Between devices of two types; the two may be the same."""

    ends: tuple[str, str]
    latency: float
    """Seconds."""
    bandwidth: float
    """Bytes a second."""


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
