"""Which learning rate to take: what the loss does while the rate rises (Smith 2017, section 3.3)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipelines.errors import UserError
from pipelines.report.pictures import BLUE, DPI, GREY, ORANGE

MEMORY = 0.9
"""How much of the smoothed loss stays with every step."""
DIVERGED = 4.0
"""Times the lowest loss, from which on the run has diverged."""
FEWEST = 10
"""Steps without which there is nothing to see."""
BELOW = 10.0
"""How much lower than that of the lowest loss a rate is safe (Howard and Gugger 2020, chapter 5)."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    rates: tuple[float, ...]
    """Of each step until the run diverged."""
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    lowest: float
    """The rate with the lowest smoothed loss."""
    steepest: float
    """The rate at which the smoothed loss fell most for what the rate rose."""
    suggested: float
    """A tenth of the one with the lowest loss."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def range_test(rates: Sequence[float], losses: Sequence[float]) -> RangeTest:
    """Read a run whose learning rate rose by the same factor in every step.

    Raises:
        UserError: too few steps before it diverged, or a loss that never fell.
    """
    smoothed, mean = list[float](), 0.0
    for n, loss in enumerate(losses):
        mean = MEMORY * mean + (1 - MEMORY) * loss
        smooth = mean / (1 - MEMORY ** (n + 1))
        if not math.isfinite(smooth) or smooth > DIVERGED * min(smoothed, default=math.inf):
            break
        smoothed.append(smooth)
    if len(smoothed) < FEWEST:
        raise UserError(
            f"The loss diverged after {len(smoothed)} of {len(losses)} steps, and {FEWEST} are needed: the lowest rate "
            "is too high already. Give a lower --most."
        )
    kept = range(len(smoothed))
    best = min(kept, key=lambda n: smoothed[n])
    if best == 0:
        raise UserError(
            "The loss never fell while the learning rate rose: no rate can be suggested. Take more --steps, or see "
            "whether model and data go together."
        )
    # Steps are as far apart on the logarithm of the rate.
    slopes = [smoothed[n + 1] - smoothed[n] for n in range(best)]
    steepest = min(range(best), key=lambda n: slopes[n])
    return RangeTest(
        tuple(rates[: len(smoothed)]),
        tuple(losses[: len(smoothed)]),
        tuple(smoothed),
        rates[best],
        rates[steepest],
        rates[best] / BELOW,
    )


def draw(path: str | os.PathLike[str], found: RangeTest) -> None:
    """The loss by learning rate, with the rate that is suggested."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color=BLUE, linewidth=0.8, alpha=0.35, label="loss of a step")
    axes.plot(found.rates, found.smoothed, color=BLUE, linewidth=2, label="smoothed")
    axes.axvline(found.suggested, color=ORANGE, linestyle="--", label=f"suggested, {found.suggested:.1e}")
    axes.axvline(found.steepest, color=GREY, linestyle=":", label=f"steepest, {found.steepest:.1e}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
