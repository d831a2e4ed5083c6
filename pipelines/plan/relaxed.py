"""A lower bound on the way of a micro-batch, quickly: device counts are not kept, but using a device has a price.

For any prices, the cheapest pipeline with unlimited devices, less the price of all devices there are, costs no more
than the best one that keeps the counts (Lagrangian relaxation; Ahuja, Magnanti and Orlin 1993, chapter 16). Prices
are raised where more devices are used than there are, and lowered where fewer are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.plan.windows import INFINITE, Floats, Ints, Windows

Placed = tuple[int, int, int]
"""A stage: number of its device's type, its first unit, and the unit behind its last."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The best that was found for one bound on the period."""

    bound: float
    """The best pipeline's sum of passes and links is at least this."""
    prices: Floats
    """[K]"""
    ahead: Floats
    """[K, n + 1]: the cheapest way from the first unit to the boundary before a unit, with prices, on to type `k`."""
    found: tuple[tuple[Placed, ...], ...]
    """Pipelines on the way that keep the counts."""


class Relaxation:
    """Bounds for one problem."""

    def __init__(self, windows: Windows) -> None:
        self._w = windows
        self._count = np.array(windows.problem.count)

    def bound(self, reach: Ints, prices: Floats, target: float, rounds: int) -> Relaxed:
        """Improve `prices` for stages that reach no further than `reach` [K, n].

        Args:
            target: a sum that is enough to know to be a lower bound.
        """
        best, best_prices, found = -INFINITE, prices, []
        scale = 1.0
        for _ in range(rounds):
            total, stages = self._cheapest(reach, prices)
            if total == INFINITE:
                return Relaxed(INFINITE, prices, np.full((self._w.num_types, self._w.num_units + 1), INFINITE), ())
            used = np.bincount([k for k, _, _ in stages], minlength=self._w.num_types)
            value = total - float(prices @ self._count)
            if (used <= self._count).all():
                found.append(tuple(stages))
            if value > best:
                best, best_prices = value, prices
            else:
                scale *= 0.7
            slope = used - self._count
            slope = np.where((prices <= 0) & (slope < 0), 0, slope)
            if best >= target or not slope.any():
                break
            # Polyak's step, towards the target or a little above what is known.
            gap = min(target, best + 0.05 * abs(best)) - value if target < INFINITE else 0.02 * abs(best) + best - value
            prices = np.maximum(0, prices + scale * gap / float(slope @ slope) * slope)
        return Relaxed(best, best_prices, self._ahead(reach, best_prices), tuple(dict.fromkeys(found)))

    def _cheapest(self, reach: Ints, prices: Floats) -> tuple[float, list[Placed]]:
        w, n = self._w, self._w.num_units
        costs = w.fixed + prices
        onward = np.full((w.num_types, n + 1), INFINITE)
        """[k, b]: the cheapest from unit `b` on, behind a stage of type `k`."""
        onward[:, n] = 0
        following = np.zeros((w.num_types, n + 1), dtype=np.int64)
        end = np.zeros((w.num_types, n), dtype=np.int64)
        first = np.full(w.num_types, INFINITE)
        for a in range(n - 1, -1, -1):
            if not w.cuts[a]:
                continue
            for k in range(w.num_types):
                last = reach[k, a]
                if last <= a:
                    first[k] = INFINITE
                    continue
                ways = w.passed[k, a + 1 : last + 1] + onward[k, a + 1 : last + 1]
                at = int(ways.argmin())
                end[k, a] = a + 1 + at
                first[k] = ways[at] - w.passed[k, a] + costs[k]
            if a:
                through = w.link[:, :, a] + first
                following[:, a] = through.argmin(axis=1)
                onward[:, a] = through.min(axis=1)
        k, a = int(first.argmin()), 0
        total = float(first[k])
        stages: list[Placed] = []
        while total < INFINITE and a < n:
            b = int(end[k, a])
            stages.append((k, a, b))
            k, a = int(following[k, b]), b
        return total, stages

    def _ahead(self, reach: Ints, prices: Floats) -> Floats:
        w, n = self._w, self._w.num_units
        costs = w.fixed + prices
        ahead = np.full((w.num_types, n + 1), INFINITE)
        ahead[:, 0] = 0
        ended = np.full((w.num_types, n + 1), INFINITE)
        for a in range(n):
            if a:
                # On to type k behind a stage of type j.
                ahead[:, a] = (w.link[:, :, a] + ended[:, a, None]).min(axis=0) if w.cuts[a] else INFINITE
            for k in range(w.num_types):
                last = reach[k, a]
                if last > a and ahead[k, a] < INFINITE:
                    way = ahead[k, a] + costs[k] + w.passed[k, a + 1 : last + 1] - w.passed[k, a]
                    np.minimum(ended[k, a + 1 : last + 1], way, out=ended[k, a + 1 : last + 1])
        return ahead


def uses(stages: Sequence[Placed], num_types: int) -> tuple[int, ...]:
    """How many devices of each type there are in a pipeline."""
    return tuple(sum(k == kind for k, _, _ in stages) for kind in range(num_types))
