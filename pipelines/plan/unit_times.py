"""What each unit takes, from what units took alone and what they took together. Pure.

    alone       m(unit) = s + u(unit)          s: what a stage's pass costs whatever units it runs
    together    W       = s + sum of u(unit)

so s = (sum of m - W) / (units - 1). W also tells what units cost one behind the other, each with its weights still to
be fetched from memory: the u are scaled to add up to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median


def groups(sizes: Sequence[int], limit: float) -> list[tuple[int, int]]:
    """Consecutive units that fit together: `groups([1, 2, 2, 2], 5) == [(0, 1), (1, 3), (3, 4)]`.

    The first is always alone. Every forward begins with the embeddings, whatever units it runs: where these are
    trained on the same stage, it keeps things for their backward too.
    """
    starts, filled = [0], 0.0
    for n, size in enumerate(sizes):
        if n == 1 or (filled and filled + size > limit):
            starts.append(n)
            filled = 0.0
        filled += size
    return list(zip(starts, [*starts[1:], len(sizes)], strict=True))


def spread(units: Sequence[int], count: int) -> set[int]:
    """The first, the last, and some between them: `spread([1, 2, 3, 4, 5], 3) == {1, 3, 5}`."""
    if len(units) <= count:
        return set(units)
    return {units[round(k * (len(units) - 1) / (count - 1))] for k in range(count)}


def apart(
    alone: Sequence[float], wholes: Sequence[float], groups: Sequence[tuple[int, int]]
) -> tuple[float, list[float]]:
    """What a stage costs whatever its units, and what these cost in it, so that every group adds up to its whole."""
    shared = [
        (sum(alone[first:end]) - whole) / (end - first - 1)
        for (first, end), whole in zip(groups, wholes, strict=True)
        if end - first > 1
    ]
    # No more than any unit took with it.
    stage = min(max(0.0, median(shared)), *alone) if shared else 0.0
    units = list(alone)
    for (first, end), whole in zip(groups, wholes, strict=True):
        units[first:end] = scaled([seconds - stage for seconds in alone[first:end]], max(0.0, whole - stage))
    return stage, units


def scaled(parts: Sequence[float], whole: float) -> list[float]:
    """`scaled([1.0, 3.0], 2.0) == [0.5, 1.5]`."""
    total = sum(parts)
    return [part * whole / total for part in parts] if total > 0 else list(parts)


def between(known: Mapping[int, float], at: int) -> float:
    """Linear between the nearest known numbers: `between({1: 1.0, 3: 0.5}, 2) == 0.75`."""
    low, high = max(n for n in known if n <= at), min(n for n in known if n >= at)
    return known[low] if low == high else known[low] + (known[high] - known[low]) * (at - low) / (high - low)
