"""What a pass through a model takes here, measured: how many sub-words one ought to have, and what padding costs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.optimize import nnls

from pipelines.inference.predictor import TOKENS_PER_PASS, Reading, ReadingPredictor

LENGTHS = (8, 32, 128, 512)
ROWS = (1, 2, 4, 8, 16, 32)
TRIES = 3
LONG = 0.5
"""Seconds for a shape: it is not tried again after them, and larger passes of its length, which cost as much for each
sub-word, are left out. Whoever waits for an answer meanwhile would wait for these, too."""
NEARLY = 1.05
"""Passes that take no more than this for each sub-word, as a multiple of the least, are as good as the best."""


@dataclass(frozen=True, slots=True)
class PassCost:
    """Seconds of a pass of n rows, padded to length L: fixed + n (per_token L + per_square L^2)."""

    fixed: float
    per_token: float
    per_square: float
    """What attention adds."""
    best_tokens: int
    """Padded sub-words in a pass from which on more save nothing. Much larger passes may even take longer for each:
    what they compute with no longer fits the caches."""

    def row(self, length: int) -> float:
        """Seconds of one row of this length."""
        return self.per_token * length + self.per_square * length * length


UNMEASURED = PassCost(fixed=2e-3, per_token=2e-5, per_square=0.0, best_tokens=TOKENS_PER_PASS)
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
    return PassCost(fixed, per_token, per_square, best_tokens(measured))


def best_tokens(measured: Sequence[Measured]) -> int:
    """How many padded sub-words a pass ought to have: of each length the fewest that are nearly the best, the median.

    Lengths of which only passes of one size were measured say nothing of sizes, unless there are no others.
    """
    by_length: dict[int, list[Measured]] = {}
    for one in measured:
        by_length.setdefault(one.length, []).append(one)
    told = [some for some in by_length.values() if len(some) > 1] or list(by_length.values())
    found = []
    for some in told:
        each = {one.rows * one.length: one.seconds / (one.rows * one.length) for one in some}
        least = min(each.values())
        found.append(min(tokens for tokens, seconds in each.items() if seconds <= NEARLY * least))
    return round(median(found))


def shapes(predictor: ReadingPredictor) -> list[tuple[Reading, int]]:
    """Passes worth timing: an input, and how many of it; of the lengths that the model reads."""
    found = []
    for length in LENGTHS:
        reading = predictor.sample(length)
        if length > LENGTHS[0] and reading.length <= length // 2:
            # The model reads no longer ones.
            continue
        found += [(reading, rows) for rows in ROWS if rows * reading.length <= TOKENS_PER_PASS]
    return found


async def measure(some: Sequence[tuple[Reading, int]], timed: Callable[[Reading, int], Awaitable[float]]) -> PassCost:
    """The cost by passes of these shapes, as `shapes` orders them; of each the median of some tries.

    Args:
        timed: the seconds that such a pass takes.
    """
    found: list[Measured] = []
    longest = 0
    for reading, rows in some:
        if reading.length == longest:
            continue
        took: list[float] = []
        while len(took) < TRIES and sum(took) < LONG:
            took.append(await timed(reading, rows))
        found.append(Measured(rows, reading.length, median(took)))
        if median(took) > LONG:
            longest = reading.length
    return fit(found)


def timed(work: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one pass."""
    begin = clock()
    work()
    return clock() - begin
