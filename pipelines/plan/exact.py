"""The cheapest pipeline whose slowest stage keeps a bound: an exact dynamic programme over the devices used.

    state   (first unit of the tail, devices of each type used by the tail, type of its first stage)

Devices of one type are interchangeable, so it is enough to count them: for a given number of types this is polynomial,
while with devices that all differ the problem is NP-hard (Benoit and Robert, JPDC 2008). A tail grows by one stage at
its front. How far a stage may reach depends on its type, its first unit and the number of stages behind it, and of the
units that it may reach it takes the best: a minimum over a window, for all tails of a length at once.

States that no head can complete are left out: the head's devices must reach the tail, and the way of the whole must
be less than what is known already (by the prices of pipelines/plan/relaxed.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.plan.relaxed import Placed, Relaxed
from pipelines.plan.wanted import Wanted
from pipelines.plan.windows import INFINITE, Floats, Ints, Windows


class Counts:
    """All ways to use some of the devices, by how many they are."""

    def __init__(self, count: tuple[int, ...], most: int) -> None:
        grid = np.indices([c + 1 for c in count]).reshape(len(count), -1).T
        size = grid.sum(axis=1)
        order = np.argsort(size, kind="stable")
        order = order[size[order] <= most]
        self.used: Ints = grid[order]
        """[U, K]: devices of each type, fewest in sum first."""
        self.starts: Ints = np.searchsorted(size[order], np.arange(most + 2))
        """Where in `used` those with 0, 1, ... devices begin."""
        radix = np.cumprod([1, *(c + 1 for c in reversed(count[1:]))])[::-1]
        code = self.used @ radix
        where = np.full(int(np.prod([c + 1 for c in count])), -1, dtype=np.int64)
        where[code] = np.arange(len(code))
        self.less = np.full(self.used.shape, -1, dtype=np.int64)
        """[U, K]: the same with one device of a type fewer; -1 where there is none."""
        for k, step in enumerate(radix):
            some = self.used[:, k] > 0
            self.less[some, k] = where[code[some] - step]
        rest = (np.array(count) - self.used) @ radix
        self.rest: Ints = where[rest]
        """[U]: the devices that are left over; -1 where they are more than a pipeline has use for."""


@dataclass(frozen=True, slots=True)
class Layer:
    """All tails of so many stages that may become the best."""

    states: Ints
    """Numbers of the devices used, rising."""
    low: int
    """The first unit at which any of the tails begins."""
    best: Floats
    """[states, K, units]: the least sum of a tail from unit `low`, `low + 1`, ... on whose first stage is of a type."""

    def of(self, state: int) -> Floats:
        """[K, units]"""
        row: Floats = self.best[int(np.searchsorted(self.states, state))]
        return row


@dataclass(frozen=True, slots=True)
class Found:
    sums: Floats
    """[U]: the least sum of passes and links with just these devices; infinite where there is none, or none as good as
    what was known."""
    layers: tuple[Layer, ...]
    """By number of stages."""


class Exact:
    """Solves one problem for any bound on the period."""

    def __init__(self, windows: Windows) -> None:
        self._w = windows
        self._most = windows.most_stages
        self.counts = Counts(windows.problem.count, self._most)

    def feasible(self, bound: float) -> bool:
        """Whether any pipeline keeps the bound: how near to unit 0 the tails come."""
        return bool((self._tails(self._w.within(bound)) == 0).any())

    def solve(self, bound: float, wanted: Wanted, relaxed: Relaxed, below: float) -> Found:
        """
        Args:
            relaxed: of this bound or a larger one.
            below: only sums less than this are looked for.
        """
        w, counts, n = self._w, self.counts, self._w.num_units
        within = w.within(bound)
        tails, heads = self._tails(within), self._heads(within)
        spend = wanted.dearest(relaxed.prices, counts.used) @ relaxed.prices
        sums = np.full(len(counts.used), INFINITE)
        layer = Layer(np.array([0]), n, np.zeros((1, w.num_types, 1)))
        layers = [layer]
        row_of = np.full(len(counts.used), -1, dtype=np.int64)
        row_of[0] = 0
        for size in range(1, self._most + 1):
            states = np.arange(counts.starts[size], counts.starts[size + 1])
            states = states[tails[states] <= heads[states]]
            if not len(states):
                break
            reach = np.minimum(within, w.fits[size - 1])
            onward = self._onward(layer)
            low, high = int(tails[states].min()), min(int(heads[states].max()), n - 1)
            begins = np.arange(low, high + 1)
            last = layer.low + layer.best.shape[2] - 1
            best = np.full((len(states), w.num_types, len(begins)), INFINITE)
            for k in range(w.num_types):
                source = counts.less[states, k]
                rows = np.where(source >= 0, row_of[source], -1)
                fine = rows >= 0
                if fine.any():
                    ways = onward[rows[fine], k] + w.passed[k, layer.low : last + 1]
                    first = np.maximum(begins + 1, layer.low) - layer.low
                    ends = np.minimum(reach[k, begins], last) - layer.low
                    best[fine, k] = _windowed(ways, first, ends) + (w.fixed[k] - w.passed[k, begins])
            best[:, :, ~w.cuts[begins]] = INFINITE
            # What the rest costs at least, at the prices of the devices that are left for it.
            rest = relaxed.ahead[:, begins] - spend[states, None, None]
            if low == 0:
                rest[:, :, 0] = 0
            best[(begins > heads[states, None])[:, None, :] | (best + rest >= below)] = INFINITE
            open_to = best < INFINITE
            alive, columns = open_to.any(axis=(1, 2)), np.flatnonzero(open_to.any(axis=(0, 1)))
            if not len(columns):
                break
            states, best = states[alive], best[alive, :, columns[0] : columns[-1] + 1]
            layer = Layer(states, low + int(columns[0]), best)
            if layer.low == 0:
                sums[states] = best[:, :, 0].min(axis=1)
            layers.append(layer)
            row_of[:] = -1
            row_of[states] = np.arange(len(states))
        return Found(sums, tuple(layers))

    def _onward(self, layer: Layer) -> Floats:
        """[states, K, units]: the least sum from a unit on behind a stage of a type, with the link to there."""
        w = self._w
        if layer.low == w.num_units:
            return layer.best
        links = w.link[:, :, layer.low : layer.low + layer.best.shape[2]]
        return np.stack([(layer.best + links[k]).min(axis=1) for k in range(w.num_types)], axis=1)

    def stages(self, found: Found, state: int, bound: float) -> tuple[Placed, ...]:
        """The pipeline behind one of the sums."""
        w, n = self._w, self._w.num_units
        within = w.within(bound)
        size = int(self.counts.used[state].sum())
        k, a = int(found.layers[size].of(state)[:, 0].argmin()), 0
        placed: list[Placed] = []
        while True:
            reach = int(min(within[k, a], w.fits[size - 1, k, a]))
            state, size = int(self.counts.less[state, k]), size - 1
            if size == 0:
                return (*placed, (k, a, n))
            layer = found.layers[size]
            behind = layer.of(state)
            low = max(a + 1, layer.low)
            behind = behind[:, low - layer.low : reach + 1 - layer.low]
            ends = np.arange(low, low + behind.shape[1])
            ways = behind + w.link[k][:, ends] + w.passed[k, ends]
            following, at = np.unravel_index(int(ways.argmin()), ways.shape)
            placed.append((k, a, int(ends[at])))
            k, a = int(following), int(ends[at])

    def _tails(self, within: Ints) -> Ints:
        """[U]: the first unit that a tail of these devices, or of some of them, can begin at.

        A tail of just these devices begins no earlier: what its stages reach, shorter ones reach as well, and a
        device that can do nothing for the earliest tail may still sit elsewhere in a later one.
        """
        w = self._w
        tails = np.full(len(self.counts.used), w.num_units, dtype=np.int64)
        begins = np.flatnonzero(w.cuts[:-1])
        for size in range(1, self._most + 1):
            states = slice(self.counts.starts[size], self.counts.starts[size + 1])
            reach = np.minimum(within, w.fits[size - 1])
            nearest = np.full(states.stop - states.start, w.num_units, dtype=np.int64)
            for k in range(w.num_types):
                # earliest[b]: the first unit from which a stage reaches unit b, or b itself; reaches rise.
                at = np.searchsorted(reach[k, begins], np.arange(w.num_units + 1))
                earliest = np.minimum(np.append(begins, w.num_units)[at], np.arange(w.num_units + 1))
                source = self.counts.less[states, k]
                nearest = np.minimum(nearest, np.where(source >= 0, earliest[tails[source]], w.num_units))
            tails[states] = nearest
        return tails

    def _heads(self, within: Ints) -> Ints:
        """[U]: the unit before which a tail of these devices must begin: where what is left over reaches at most."""
        w, n = self._w, self._w.num_units
        reach = np.minimum(within, w.fits[1] if self._most > 1 else w.fits[0])
        heads = np.full(len(self.counts.used), -1, dtype=np.int64)
        heads[0] = 0
        farthest = np.full((w.num_types, n + 1), n)
        last_cut = np.maximum.accumulate(np.where(w.cuts, np.arange(n + 1), 0))
        # From any unit up to here, since less can be left to a stage.
        farthest[:, :n] = np.maximum.accumulate(np.where(w.cuts[:n], last_cut[reach], 0), axis=1)
        for size in range(1, self._most + 1):
            states = slice(self.counts.starts[size], self.counts.starts[size + 1])
            nearest = np.full(states.stop - states.start, -1, dtype=np.int64)
            for k in range(w.num_types):
                source = self.counts.less[states, k]
                before = np.where(source >= 0, heads[source], -1)
                ahead = np.where(before >= 0, np.maximum(before, farthest[k, np.maximum(before, 0)]), -1)
                nearest = np.maximum(nearest, ahead)
            heads[states] = nearest
        # Not all that is left need be used.
        left: Ints = np.where(self.counts.rest >= 0, heads[self.counts.rest], n)
        return left


def _windowed(ways: Floats, first: Ints, last: Ints) -> Floats:
    """[rows, windows]: the least of `ways` [rows, columns] from column `first` to `last`, infinite if there is none."""
    lengths = np.maximum(last - first + 1, 0)
    least = np.full((len(ways), len(first)), INFINITE)
    width, table = 1, ways
    while True:
        # Windows of `width` to twice that, each as two that may overlap.
        fits = (lengths >= width) & (lengths < 2 * width)
        if fits.any():
            least[:, fits] = np.minimum(table[:, first[fits]], table[:, last[fits] - width + 1])
        if not (lengths >= 2 * width).any():
            return least
        table = np.minimum(table[:, : table.shape[1] - width], table[:, width:])
        width *= 2
