"""What a micro-batch of a shape that was not measured will take, from those that were.

A unit's time is about

    constant  +  filled  +  tokens * width          tokens = rows * width; filled: up to a multiple of 16

times three numbers that are not negative: what every call costs, the products, and attention. They are found by least
squares of the relative errors. Three numbers have but seven sets of which are not zero, so all are tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# The first that is exact wins: one shape alone says that time goes by tokens.
_SUPPORTS = ([1], [1, 2], [0, 1], [2], [0], [0, 2], [0, 1, 2])


FILLED = 16
"""Products on a CPU are taken over so many sub-words or a multiple (pipelines/train/product.py)."""


def terms(rows: int, width: int) -> Floats:
    """What the three numbers are multiplied with."""
    return np.array([1.0, -(-rows * width // FILLED) * FILLED, rows * width * width])


def bound(shapes: Sequence[tuple[int, int]], values: Sequence[float]) -> Floats:
    """Three numbers that make no less of any shape than was measured: for memory, where too little is worse."""
    found = fit(shapes, values)
    made = [float(found @ terms(*shape)) for shape in shapes]
    return found * max((value / guess for value, guess in zip(values, made, strict=True) if guess > 0), default=1.0)


def fit(shapes: Sequence[tuple[int, int]], values: Sequence[float]) -> Floats:
    """The three numbers for one quantity, none of them negative.

    Args:
        shapes: rows and width of every shape that was measured.
        values: what was measured of each, 0 or more.
    """
    wanted = np.asarray(values, np.float64)
    scale = np.where(wanted > 0, wanted, max(float(wanted.max()), 1e-30))
    columns = np.stack([terms(*shape) for shape in shapes]) / scale[:, None]
    wanted = wanted / scale
    best, least = np.zeros(3), float(wanted @ wanted)
    for support in _SUPPORTS:
        # Columns of like size, for the sake of the solver.
        size = np.abs(columns[:, support]).max(0)
        found, *_ = np.linalg.lstsq(columns[:, support] / size, wanted, rcond=None)
        if (found < 0).any():
            continue
        missed = columns[:, support] / size @ found - wanted
        error = float(missed @ missed)
        if error < least - 1e-12:
            best, least = np.zeros(3), error
            best[support] = found / size
    return best
