"""What a pass through a model takes here, measured: how many sub-words pay best in one, and what padding costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.optimize import nnls

from pipelines.inference.predictor import TOKENS_PER_PASS, ReadingPredictor

LENGTHS = (8, 32, 128, 512)
ROWS = (1, 4, 16)
TRIES = 3
FIXED_SHARE = 0.05
"""A pass is large enough when starting it took this much of it."""


@dataclass(frozen=True, slots=True)
class PassCost:
    """Seconds of a pass of n rows, padded to length L: fixed + n (per_token L + per_square L^2)."""

    fixed: float
    per_token: float
    per_square: float
    """What attention adds."""

    def row(self, length: int) -> float:
        """Seconds of one row of this length."""
        return self.per_token * length + self.per_square * length * length

    def seconds(self, rows: int, length: int) -> float:
        return self.fixed + rows * self.row(length)

    @property
    def budget(self) -> float:
        """Seconds that a pass may take: with more in it, little is saved, and all that is in it waits longer."""
        return self.fixed / FIXED_SHARE


UNMEASURED = PassCost(fixed=2e-3, per_token=2e-5, per_square=0.0)
"""For models whose passes cannot be told from the lengths of what they read, those that write, say: so it is
decided by lengths alone what shares a pass."""


@dataclass(frozen=True, slots=True)
class Measured:
    rows: int
    length: int
    seconds: float


def fit(measured: Sequence[Measured]) -> PassCost:
    """The cost whose relative errors are least, in the squares; no part of it is negative."""
    terms = np.array([[1.0, one.rows * one.length, one.rows * one.length**2] for one in measured])
    seconds = np.array([one.seconds for one in measured])
    # Columns of like size, or the smallest coefficient drowns.
    scale = terms.max(axis=0)
    found, _ = nnls(terms / scale / seconds[:, None], np.ones(len(measured)))
    fixed, per_token, per_square = (found / scale).tolist()
    return PassCost(fixed, per_token, per_square)


def measure(predictor: ReadingPredictor, *, clock: Callable[[], float] = time.perf_counter) -> PassCost:
    """Time passes of some shapes on this actor, in a few seconds; the median of some tries each."""
    found = []
    for length in LENGTHS:
        reading = predictor.sample(length)
        for rows in ROWS:
            if rows * reading.length > TOKENS_PER_PASS or (length > LENGTHS[0] and reading.length <= length // 2):
                # The model reads no longer ones.
                continue
            took = []
            for _ in range(TRIES):
                begin = clock()
                predictor.answer([reading] * rows)
                took.append(clock() - begin)
            found.append(Measured(rows, reading.length, median(took)))
    return fit(found)
