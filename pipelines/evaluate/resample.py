"""How sure a score is, and whether one model is better than another: by drawing the rows anew, many times.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3 (percentile intervals); the paired test of
two models is approximate randomisation (Noreen 1989): under the hypothesis that they are alike, their answers to a row
could as well be swapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.data.examples import Array

Score = Callable[[Array], Array]
"""A score of sums of tallies; see `Task.score_of`."""

DRAWS = 2000
AT_ONCE = 100
"""Draws whose sums are made by one product of matrices."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A score, and between what it would lie in 95 of 100 draws of as many rows."""

    score: float
    low: float
    high: float
    rows: int

    def __str__(self) -> str:
        return f"{self.score:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model beside another one, on the same rows."""

    ours: float
    theirs: float
    difference: Interval
    """Ours less theirs."""
    p: float
    """How probable a difference as large as this is if both are alike."""


def interval(tallies: Array, score: Score, *, seed: int = 0) -> Interval:
    """The score of all rows with its percentile bootstrap interval.

    Args:
        tallies: [rows, figures].
    """
    drawn = np.concatenate([score(counts @ tallies) for counts in _draws(len(tallies), seed)])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(score(tallies.sum(0))), float(low), float(high), len(tallies))


def compare(ours: Array, theirs: Array, score: Score, *, seed: int = 0) -> Comparison:
    """Two models on the same rows.

    Args:
        ours, theirs: [rows, figures], row by row.

    Raises:
        ValueError: they are of different rows.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"two models are compared on the same rows, not on {len(ours)} and {len(theirs)}")
    drawn = np.concatenate([score(counts @ ours) - score(counts @ theirs) for counts in _draws(len(ours), seed)])
    low, high = np.percentile(drawn, [2.5, 97.5])
    a, b = float(score(ours.sum(0))), float(score(theirs.sum(0)))
    chance, change, as_large = np.random.default_rng(seed), ours - theirs, 0
    for _ in range(0, DRAWS, AT_ONCE):
        swapped = chance.integers(0, 2, (AT_ONCE, len(ours))) @ change
        differences = score(ours.sum(0) - swapped) - score(theirs.sum(0) + swapped)
        # What rounding makes of equal differences must count as equal.
        as_large += int((np.abs(differences) >= abs(a - b) - 1e-12).sum())
    difference = Interval(a - b, float(low), float(high), len(ours))
    return Comparison(a, b, difference, (as_large + 1) / (DRAWS + 1))


def _draws(rows: int, seed: int) -> list[Array]:
    """How often each row is drawn, [AT_ONCE, rows] each."""
    chance = np.random.default_rng(seed)
    return [chance.multinomial(rows, np.full(rows, 1 / rows), AT_ONCE) for _ in range(0, DRAWS, AT_ONCE)]
