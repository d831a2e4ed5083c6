"""How far a cut model is from the plain one. Pure: from tensors by name to numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines.train.device import Peaks


@dataclass(frozen=True, slots=True)
class Bounds:
    """What counts as equal."""

    bound: float
    """Largest relative difference: against the largest value of a tensor."""
    floor: float
    """A tensor is not taken to be smaller than this part of the largest value of all."""
    noise: float
    """A gradient below this part of the largest one is rounding: AdamW makes a whole step of it all the same."""


BOUNDS = {"float64": Bounds(1e-10, 1e-5, 1e-12), "float32": Bounds(1e-3, 1e-3, 1e-5)}
MIXED = Bounds(1e-4, 1e-3, 1e-5)
"""For float64 weights in a model that computes in float32 inside."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest one of one kind."""

    what: str
    largest: float
    where: str
    """The parameter, or the row, or the step, where it is found."""
    bound: float
    first: str | None
    """The first one that lies beyond the bound."""

    @property
    def ok(self) -> bool:
        return self.first is None


def difference(what: str, cut: Mapping[str, Tensor], plain: Mapping[str, Tensor], bounds: Bounds) -> Difference:
    """Compare by name; one side may lack a name only where the other has nothing but zeros."""
    top = max((_size(value) for value in plain.values()), default=0.0)
    worst, where, first = -1.0, "", None
    for name in dict.fromkeys((*plain, *cut)):
        mine, value = cut.get(name), plain.get(name)
        if mine is None or value is None or mine.shape != value.shape:
            there = value if mine is None else mine if value is None else None
            here = 0.0 if there is not None and not there.any() else math.inf
        else:
            apart, scale = _size(mine - value), max(_size(value), bounds.floor * top)
            here = 0.0 if apart == 0 else apart / scale if scale else math.inf
        here = math.inf if math.isnan(here) else here
        if here > worst:
            worst, where = here, name
        if here > bounds.bound and first is None:
            first = name
    return Difference(what, max(worst, 0.0), where, bounds.bound, first)


def without_noise(
    weights: Mapping[str, Tensor], quietest: Mapping[str, Tensor], noise: float
) -> tuple[dict[str, Tensor], int]:
    """The weights with 0 in place of values whose gradient was once nothing but rounding, and how many these are."""
    kept, count = {}, 0
    for name, value in weights.items():
        quiet = quietest[name] < noise if name in quietest else None
        if quiet is not None and quiet.shape == value.shape and quiet.any():
            count += int(quiet.sum())
            value = value.masked_fill(quiet, 0)
        kept[name] = value
    return kept, count


@dataclass(frozen=True, slots=True)
class Results:
    """What one side, cut or plain, came to."""

    logits: Mapping[str, Tensor]
    losses: Sequence[float]
    """Of the pass without an update, and of every step."""
    gradients: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    peaks: Sequence[Peaks] = ()
    """Of each stage's memory; the plain side runs in the process of the driver, and has none."""
    devices: Sequence[str] = ()
    """What each stage ran on."""


def compare(
    cut: Results, plain: Results, quietest: Mapping[str, Tensor], bounds: Bounds
) -> tuple[tuple[Difference, ...], int]:
    """All kinds of differences, and how many weights were left out because their gradient is rounding."""
    cut_weights, _ = without_noise(cut.weights, quietest, bounds.noise)
    plain_weights, left_out = without_noise(plain.weights, quietest, bounds.noise)
    found = (
        difference("logits", cut.logits, plain.logits, bounds),
        difference("loss", _by_step(cut.losses), _by_step(plain.losses), bounds),
        difference("gradients", cut.gradients, plain.gradients, bounds),
        difference("updated weights", cut_weights, plain_weights, bounds),
    )
    return found, left_out


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What one stage holds."""

    stage: int
    first: str
    """Its first unit."""
    last: str
    num_units: int
    num_parameters: int
    """Values in its parameters; one that stages share counts on each of them."""
    num_bytes: int
    """Of its parameters and buffers."""
    memory: Peaks
    device: str
    """What it ran on."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that a check found."""

    model: str
    model_class: str
    task: str
    dtype: str
    steps: int
    num_micro_batches: int
    silenced: tuple[str, ...]
    adapter: str | None
    """Its method, where one was trained in place of the whole model."""
    num_trained: int
    """Values of the parameters that were trained."""
    wider_for_float32: bool
    """Whether the bounds are those for a float64 model that computes in float32 inside: it missed the narrow ones."""
    losses: tuple[float, ...]
    """The plain model's: of the pass without an update, and of every step."""
    num_weights: int
    weights_left_out: int
    """Those not compared after the updates: their gradient is rounding."""
    stages: tuple[StageFacts, ...]
    differences: tuple[Difference, ...]

    @property
    def first(self) -> str | None:
        """What differs first; None if nothing does."""
        return next((f"{found.what} of {found.first}" for found in self.differences if not found.ok), None)

    def to_json(self) -> dict[str, Any]:
        """JSON knows no infinity: what is missing or not a number has the difference null."""
        tree = asdict(self) | {"equal": self.first is None}
        for found, entry in zip(self.differences, tree["differences"], strict=True):
            entry |= {"largest": found.largest if math.isfinite(found.largest) else None, "ok": found.ok}
        return tree


def _by_step(losses: Sequence[float]) -> dict[str, Tensor]:
    return {f"pass {n}": torch.tensor(loss, dtype=torch.float64) for n, loss in enumerate(losses)}


def _size(value: Tensor) -> float:
    return float(value.abs().max()) if value.numel() else 0.0
