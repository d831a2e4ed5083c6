"""Whether a model is as often right as it says (Guo et al. 2017, On Calibration of Modern Neural Networks)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of like confidence."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean."""
    right: float
    """The share of them that is right."""


@dataclass(frozen=True, slots=True)
class Calibration:
    ece: float
    """Expected calibration error: the mean distance of confidence and share of right ones, over all predictions."""
    bins: tuple[Bin, ...]
    """Those that hold any."""


def calibrate(predictions: Sequence[tuple[float, bool]]) -> Calibration | None:
    """In ten bins of equal width; None where no prediction has a probability.

    Args:
        predictions: confidence, 0 to 1, and whether it is right.
    """
    if not predictions:
        return None
    confidence = np.array([p for p, _ in predictions])
    right = np.array([r for _, r in predictions], float)
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for n in np.unique(number):
        here = number == n
        bins.append(
            Bin(n / BINS, (n + 1) / BINS, int(here.sum()), float(confidence[here].mean()), float(right[here].mean()))
        )
    ece = sum(one.count * abs(one.confidence - one.right) for one in bins) / len(predictions)
    return Calibration(float(ece), tuple(bins))
