"""The best pipeline over unlike devices: exact by the formula of pipelines/plan/problem.py.

The formula is a sum over stages and a maximum. For a bound B on the maximum, pipelines/plan/exact.py finds the least
sum S(B); S falls as B rises, so an interval of bounds is worth no less than S at its upper end plus its lower end. The
search halves intervals, the most promising first, and drops those that are worth no less than what was found. Most
are dropped by a lower bound of S that is quick to have (pipelines/plan/relaxed.py).

100 units over 64 devices of 4 types take 1 to 2 seconds (tests/bench/planner.py). More types cost more: the states of
the exact part are all ways to use some of the devices of each type.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from pipelines.plan.exact import Exact
from pipelines.plan.problem import Problem
from pipelines.plan.relaxed import Placed, Relaxation, Relaxed, uses
from pipelines.plan.wanted import Wanted
from pipelines.plan.windows import INFINITE, Floats, Windows

CLOSE = 1e-12
"""Relative: sums of the same numbers in another order differ by less."""

NARROW = 0.25
"""An interval is solved at its upper end when it is narrower than this part of what the bounds leave open, and halved
before: to halve is quick."""


@dataclass(frozen=True, slots=True)
class Solution:
    stages: tuple[Placed, ...]
    """Of each, the number of its device's type, its first unit, and the unit behind its last."""
    seconds: float


def evaluate(problem: Problem, stages: Sequence[Placed]) -> float:
    """Seconds of a step by the problem's formula; infinite where the stages are no pipeline or break a limit."""
    w = Windows(problem)
    n, count = w.num_units, uses(stages, w.num_types)
    bounds = [0, *(b for _, _, b in stages)]
    if [a for _, a, _ in stages] != bounds[:-1] or bounds[-1] != n or not all(w.cuts[bounds]):
        return INFINITE
    if any(used > there for used, there in zip(count, problem.count, strict=True)):
        return INFINITE
    way, period = 0.0, 0.0
    for at, (k, a, b) in enumerate(stages):
        behind = len(stages) - 1 - at
        if b <= a or behind >= w.most_stages or b > w.fits[behind, k, a]:
            return INFINITE
        way += w.fixed[k] + (w.passed[k, b] - w.passed[k, a])
        if behind:
            way += w.link[k, stages[at + 1][0], b]
        period = max(period, w.period[k, a, b])
    return float(way + period)


def best_pipeline(
    problem: Problem,
    *,
    at_least: Mapping[int, int] | None = None,
    num_stages: int | None = None,
    below: float = INFINITE,
) -> Solution | None:
    """The optimum; None where nothing keeps the memory and the places. For fewer devices, lower `problem.count`.

    Args:
        at_least: devices that must be used, by the number of their type.
        num_stages: how many stages there must be; any number when left out.
        below: only a step that takes less is looked for, and None if there is none: that is quicker.
    """
    found = _Search(problem, at_least or {}, num_stages, below).run()
    return found[0] if found and found[0].seconds < below else None


def best_pipelines(problem: Problem, most: int, *, within: float = 0.1) -> list[Solution]:
    """For each number of devices of each type its best pipeline; the best `most` of these, best first.

    Their steps differ by little, and a simulation, which knows more than the formula, may order them otherwise.

    Args:
        within: those whose step is longer than the optimum's by more than this part are left out.
    """
    return _Search(problem, {}, None, INFINITE, most, within).run()


class _Search:
    """Looks for the best `most` pipelines that differ in the devices they use, below a number of seconds."""

    def __init__(
        self,
        problem: Problem,
        at_least: Mapping[int, int],
        num_stages: int | None,
        below: float,
        most: int = 1,
        within: float = 0.0,
    ) -> None:
        self._problem, self._most, self._within = problem, most, within
        self._w = Windows(problem)
        least = [at_least.get(k, 0) for k in range(self._w.num_types)]
        self._wanted = Wanted(np.array(problem.count), np.array(least), num_stages)
        self._relaxation = Relaxation(self._w, self._wanted)
        self._best: dict[tuple[int, ...], Solution] = {}
        self._seconds = below
        """Only what takes less is of interest."""

    def run(self) -> list[Solution]:
        bounds = self._w.bounds()
        if not len(bounds) or not self._wanted.possible():
            return []
        exact = Exact(self._w)
        lowest = self._lowest(exact, bounds)
        if lowest is None:
            return []
        prices = np.zeros(self._w.num_types)
        top = len(bounds) - 1
        relaxed = self._relax(bounds[top], prices, rounds=60)
        heap: list[tuple[float, int, int, int, Relaxed]] = []
        numbers = count()

        def push(first: int, last: int, known: Relaxed) -> None:
            worth = known.bound + bounds[first] if first <= last else INFINITE
            if worth < self._seconds * (1 - CLOSE):
                heapq.heappush(heap, (worth, next(numbers), first, last, known))

        # What keeps the least bound of all is quickly found, and seldom far from the best.
        tight = self._relax(bounds[lowest], relaxed.prices, rounds=60)
        self._solve(exact, bounds[lowest], tight, below=self._seconds - bounds[lowest])
        push(lowest + 1, top, relaxed)
        while heap:
            worth, _, i, j, relaxed = heapq.heappop(heap)
            if worth >= self._seconds * (1 - CLOSE):
                break
            slack = self._seconds * (1 - CLOSE) - (relaxed.bound + bounds[j])
            if i == j or bounds[j] - bounds[i] <= NARROW * slack:
                found = self._solve(exact, bounds[j], relaxed, below=self._seconds - bounds[i])
                if found is not None:
                    period, least = found
                    # Between the slowest stage that was met and the bound, the sums are the same.
                    j = min(int(np.searchsorted(bounds, period, side="left")), j) - 1
                    push(i, j, replace(relaxed, bound=max(relaxed.bound, least)))
                continue
            middle = (i + j) // 2
            lower = self._relax(bounds[middle], relaxed.prices, rounds=25)
            for first, last, known in ((i, middle, lower), (middle + 1, j, relaxed)):
                push(first, last, known)
        ordered = sorted(self._best.values(), key=lambda solution: solution.seconds)
        return [found for found in ordered[: self._most] if found.seconds <= ordered[0].seconds * (1 + self._within)]

    def _lowest(self, exact: Exact, bounds: Floats) -> int | None:
        if not exact.feasible(bounds[-1]):
            return None
        low, high = -1, len(bounds) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if exact.feasible(bounds[middle]) else (middle, high)
        return high

    def _relax(self, bound: float, prices: Floats, rounds: int) -> Relaxed:
        reach = np.minimum(self._w.within(bound), self._w.fits[0])
        relaxed = self._relaxation.bound(reach, prices, self._seconds - bound, rounds)
        for stages in relaxed.found:
            self._keep(stages)
        return relaxed

    def _solve(self, exact: Exact, bound: float, relaxed: Relaxed, below: float) -> tuple[float, float] | None:
        """The slowest stage of the cheapest pipelines within `bound`, and the least sum; None if that is not `below`.

        The cheapest are as many as are looked for. With a slowest stage between theirs and the bound, they are the
        cheapest as well, and so there is nothing better.
        """
        found = exact.solve(bound, self._wanted, relaxed, below)
        sums = np.where(self._wanted.keeps(exact.counts.used), found.sums, INFINITE)
        cheapest = np.argsort(sums, kind="stable")[: self._most]
        cheapest = cheapest[sums[cheapest] < INFINITE]
        if not len(cheapest):
            return None
        pipelines = [exact.stages(found, int(state), bound) for state in cheapest]
        for stages in pipelines:
            self._keep(stages)
        return max(float(self._w.period[stage]) for stages in pipelines for stage in stages), float(sums[cheapest[0]])

    def _keep(self, stages: tuple[Placed, ...]) -> None:
        used = uses(stages, self._w.num_types)
        if not self._wanted.keeps(np.array(used)):
            return
        seconds = evaluate(self._problem, stages)
        if seconds < self._best.get(used, Solution((), INFINITE)).seconds:
            self._best[used] = Solution(stages, seconds)
            best = heapq.nsmallest(self._most, (known.seconds for known in self._best.values()))
            limit = best[-1] if len(best) == self._most else INFINITE
            self._seconds = min(self._seconds, limit, best[0] * (1 + self._within))
