"""A lower bound on the way of a micro-batch, quickly: device counts are not kept, but using a device has a price.

For any prices, the cheapest pipeline with unlimited devices, less the price of the dearest devices that it might have
used, costs no more than the best one that keeps the counts (Lagrangian relaxation; Ahuja, Magnanti and Orlin 1993,
chapter 16). Prices are raised where more devices are used than there are, and lowered where fewer are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.plan.wanted import Wanted
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

    def __init__(self, windows: Windows, wanted: Wanted) -> None:
        self._w, self._wanted = windows, wanted
        self._starts = np.flatnonzero(windows.cuts[:-1])
        self._link = np.ascontiguousarray(np.moveaxis(windows.link, 2, 0))

    def bound(self, reach: Ints, prices: Floats, target: float, rounds: int) -> Relaxed:
        """Improve `prices` for stages that reach no further than `reach` [K, n].

        Args:
            target: a sum that is enough to know to be a lower bound.
        """
        wanted, none = self._wanted, np.zeros(self._w.num_types, dtype=np.int64)
        best, best_prices, found = -INFINITE, prices, []
        scale = 1.0
        ends = np.arange(self._w.num_units + 1)
        inside = (ends > ends[:-1, None]) & (ends <= reach[:, :, None])
        closed = np.where(inside, 0, INFINITE)
        for _ in range(rounds):
            total, stages = self._cheapest(closed, reach, prices)
            if total == INFINITE:
                return Relaxed(INFINITE, prices, np.full((self._w.num_types, self._w.num_units + 1), INFINITE), ())
            used = np.array(uses(stages, self._w.num_types))
            dearest = wanted.dearest(prices, none)
            value = total - float(prices @ dearest)
            if wanted.keeps(used):
                found.append(tuple(stages))
            if value > best:
                best, best_prices = value, prices
            else:
                scale *= 0.7
            slope = used - dearest
            if wanted.num_stages is None:
                # A price of nothing asks for no number of devices.
                slope = np.where(prices == 0, used - np.clip(used, wanted.at_least, wanted.count), slope)
            if best >= target or not slope.any():
                break
            # Polyak's step, towards the target or a little above what is known.
            gap = min(target, best + 0.05 * abs(best)) - value if target < INFINITE else 0.02 * abs(best) + best - value
            prices = prices + scale * gap / float(slope @ slope) * slope
            prices = np.where(wanted.rewards(), prices, np.maximum(0, prices))
        return Relaxed(best, best_prices, self._ahead(closed, reach, best_prices), tuple(dict.fromkeys(found)))

    def _cheapest(self, closed: Floats, reach: Ints, prices: Floats) -> tuple[float, list[Placed]]:
        """
        Args:
            closed: [K, n, n + 1], infinite where there can be no stage from one unit to before another, else 0.
        """
        w, n = self._w, self._w.num_units
        costs = w.fixed + prices
        onward = np.full((w.num_types, n + 1), INFINITE)
        """[k, b]: the cheapest from unit `b` on, behind a stage of type `k`, and what is before `b` on that type."""
        onward[:, n] = w.passed[:, n]
        first = np.full((w.num_types, n), INFINITE)
        """[k, a]: the cheapest from unit `a` on if its stage is of type `k`."""
        last = reach.max(axis=0) + 1
        for a in self._starts[::-1]:
            span = slice(a + 1, last[a])
            if a + 1 >= last[a]:
                continue
            first[:, a] = (onward[:, span] + closed[:, a, span]).min(axis=1) - w.passed[:, a] + costs
            onward[:, a] = (self._link[a] + first[:, a]).min(axis=1) + w.passed[:, a]
        k, a = int(first[:, 0].argmin()), 0
        total = float(first[k, 0])
        stages: list[Placed] = []
        while total < INFINITE and a < n:
            b = a + 1 + int(onward[k, a + 1 : reach[k, a] + 1].argmin())
            stages.append((k, a, b))
            if b < n:
                k = int((self._link[b, k] + first[:, b]).argmin())
            a = b
        return total, stages

    def _ahead(self, closed: Floats, reach: Ints, prices: Floats) -> Floats:
        w, n = self._w, self._w.num_units
        costs = w.fixed + prices
        ahead = np.full((w.num_types, n + 1), INFINITE)
        ahead[:, 0] = 0
        ended = np.full((w.num_types, n + 1), INFINITE)
        last = reach.max(axis=0) + 1
        for a in self._starts:
            if a:
                # On to type k behind a stage of type j.
                ahead[:, a] = (self._link[a] + ended[:, a, None]).min(axis=0)
            span = slice(a + 1, last[a])
            way = (ahead[:, a] + costs - w.passed[:, a])[:, None] + w.passed[:, span] + closed[:, a, span]
            np.minimum(ended[:, span], way, out=ended[:, span])
        return ahead


def uses(stages: Sequence[Placed], num_types: int) -> tuple[int, ...]:
    """How many devices of each type there are in a pipeline."""
    return tuple(sum(k == kind for k, _, _ in stages) for kind in range(num_types))
