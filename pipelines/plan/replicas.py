"""How many replicas, which devices each gets, and how many of a step's micro-batches.

    devices ──▶ ways to divide them ──▶ by replica: its best pipeline, for its own number of micro-batches
    (divide.py)                         (solve.py, exact)

A synchronous step takes as long as its slowest replica, and then the exchange of gradients and weights. A way to divide
the devices is asked one question: how many micro-batches does each replica manage in less time than the best that is
known? If that is a step's worth, they are shared out in proportion (largest remainder, at least one each), which is
better than what was known, and the question is put again. Since more micro-batches never take less time, the answer is
exact for each way; it is exact altogether where all ways were looked at (`Replicated.all_ways`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from pipelines.plan.divide import Way, ways
from pipelines.plan.problem import Problem
from pipelines.plan.solve import CLOSE, Solution, best_pipeline, evaluate
from pipelines.plan.waves import wave_sizes
from pipelines.plan.windows import INFINITE


@dataclass(frozen=True, slots=True)
class Exchange:
    """What replicas share after every step."""

    num_bytes: float
    """Of the gradients that a replica sends, and of the weights that it gets."""
    per_byte: float
    """Seconds a byte between a replica and a parameter server."""
    latency: float = 0.0
    """Seconds of an empty message."""
    num_servers: int = 1

    def seconds(self, num_replicas: int) -> float:
        """As `served`; one replica on its own does without servers."""
        return 0.0 if num_replicas == 1 else self.served(num_replicas)

    def served(self, num_replicas: int) -> float:
        """Gradients there and weights back: all of them over a replica's link, a part for everyone over a server's."""
        return 2 * (self.latency + self.num_bytes * self.per_byte * max(1.0, num_replicas / self.num_servers))


@dataclass(frozen=True, slots=True)
class Replica:
    devices: tuple[int, ...]
    """How many of each type it was given; its pipeline may leave some out."""
    pipeline: Solution
    """Its stages, and the seconds of its part of a step."""
    num_micro_batches: int
    """Its part of a step's."""


@dataclass(frozen=True, slots=True)
class Replicated:
    replicas: tuple[Replica, ...]
    seconds: float
    """Of a step: of the slowest replica, and the exchange."""
    all_ways: bool
    """Whether every way to divide the devices was looked at, so that there is none better."""


def best_replicas(
    problem: Problem, exchange: Exchange, *, numbers: Sequence[int] | None = None, most_ways: int = 32
) -> Replicated | None:
    """The division with the shortest step; None where not even one replica keeps the limits.

    Every replica holds the whole model, so that many replicas need more memory. Devices that do not help a replica are
    left out by its pipeline. Time grows with the ways that are looked at: a few devices take a second, 64 devices of 4
    types about a minute.

    Args:
        problem: with all devices, and all micro-batches of a step.
        numbers: of replicas to try; 1 to 8 when left out.
        most_ways: at most so many ways to divide the devices are looked at for each number of replicas, the most even
            first. 32 are all there are for 2 replicas on up to 63 devices of one type, or 7 and 7 of two.
    """
    search = _Search(problem)
    m, devices = problem.num_micro_batches, sum(problem.count)
    best: Replicated | None = None
    all_ways = True
    for number in sorted(numbers or range(1, 9)):
        if number > min(m, devices):
            break
        offered = list(islice(ways(problem.count, number), most_ways + 1))
        all_ways &= len(offered) <= most_ways
        for way in offered[:most_ways]:
            while found := search.improve(way, (best.seconds if best else INFINITE) - exchange.seconds(number)):
                seconds = max(replica.pipeline.seconds for replica in found) + exchange.seconds(number)
                if best is not None and seconds >= best.seconds:
                    break
                best = Replicated(found, seconds, all_ways)
    return None if best is None else replace(best, all_ways=all_ways)


class _Search:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._exact: dict[tuple[tuple[int, ...], int], Solution] = {}
        self._least: dict[tuple[tuple[int, ...], int], float] = {}
        """Seconds that devices take for micro-batches at least."""

    def improve(self, way: Way, below: float) -> tuple[Replica, ...] | None:
        """Shares with which every replica takes less than `below` seconds; None if there are none."""
        m = self._problem.num_micro_batches
        quick = [self._at_most(part, below) for part in way]
        if min(quick) == 0 or sum(quick) < m:
            return None
        managed: dict[tuple[int, ...], int] = {}
        for part, most in zip(way, quick, strict=True):
            if part not in managed:
                managed[part] = self._manages(part, most, below)
            # The others may not make up for it.
            rest = sum(managed.get(other, limit) for other, limit in zip(way, quick, strict=True))
            if managed[part] == 0 or rest < m:
                return None
        shares = wave_sizes(m, [managed[part] for part in way])
        solved = [self._solve(part, share, below) for part, share in zip(way, shares, strict=True)]
        found = tuple(
            Replica(part, pipeline, share)
            for part, pipeline, share in zip(way, solved, shares, strict=True)
            if pipeline
        )
        # No share is more than what its replica manages; one may be missing if all that it gains is rounding.
        return found if len(found) == len(way) else None

    def _manages(self, part: tuple[int, ...], most: int, below: float) -> int:
        """The largest number of micro-batches, up to `most`, that devices get done in less than `below` seconds."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fast(part, middle, below) else (low, middle - 1)
        return low

    def _fast(self, part: tuple[int, ...], m: int, below: float) -> bool:
        """Whether a pipeline takes less; one that was made for another number of micro-batches is proof enough."""
        asked = replace(self._problem, count=part, num_micro_batches=m)
        known = [found for (devices, _), found in self._exact.items() if devices == part]
        if any(evaluate(asked, found.stages) < below * (1 - 2 * CLOSE) for found in known):
            return True
        return self._solve(part, m, below) is not None

    def _solve(self, part: tuple[int, ...], m: int, below: float) -> Solution | None:
        key = part, m
        if key in self._exact:
            return self._exact[key] if self._exact[key].seconds < below else None
        if any(devices == part and of <= m and least >= below for (devices, of), least in self._least.items()):
            return None
        asked = replace(self._problem, count=part, num_micro_batches=m)
        found = best_pipeline(asked, below=below)
        if found is None:
            self._least[key] = max(below, self._least.get(key, 0.0))
        else:
            self._exact[key] = found
        return found

    def _at_most(self, part: tuple[int, ...], below: float) -> int:
        """A number of micro-batches that devices certainly do not exceed in less than `below` seconds."""
        low, high = 0, self._problem.num_micro_batches
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if lower_bound(self._problem, part, middle) < below else (low, middle - 1)
        return low


def lower_bound(problem: Problem, part: Sequence[int], num_micro_batches: int) -> float:
    """Seconds that no pipeline of `part` devices goes below: units could be divided, links cost nothing.

    The way of a micro-batch is at least each unit's on its best type. Of the slowest stage: if a unit on type `k` takes
    `c[k]`, and for any positive weights `w[k]`, all devices together have `sum of part[k] / w[k]` and need for a unit
    at least the least `c[k] / w[k]`.
    """
    m = num_micro_batches
    types = [k for k, number in enumerate(part) if number]
    may = np.array(problem.allowed)[types]
    passes = (np.array(problem.forward) + np.array(problem.backward))[types]
    slow = (m - 1) * passes + m * np.array(problem.weights)[types] + np.array(problem.update)[types]
    weight = np.maximum(slow.sum(axis=1), 1e-300)
    need = np.where(may, slow / weight[:, None], INFINITE).min(axis=0).sum()
    way = np.where(may, passes, INFINITE).min(axis=0).sum() + min(problem.fixed[k] for k in types)
    return float(way + need / (np.array(part)[types] / weight).sum())
