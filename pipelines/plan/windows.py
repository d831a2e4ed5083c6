"""A problem in arrays: what a stage costs, and how far it may reach."""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipelines.plan.problem import Problem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
INFINITE = float("inf")
Number = TypeVar("Number", np.float64, np.int64)


class Windows:
    """Costs and reaches of stages, by type `k`, first unit `a`, and unit `b` behind the last."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.num_types, self.num_units = len(problem.types), len(problem.may_cut) + 1
        m = problem.num_micro_batches
        passes: Floats = np.array(problem.forward) + np.array(problem.backward)
        later: Floats = np.array(problem.weights)
        self.fixed = np.array(problem.fixed)
        self.passed = _sums(passes)
        """[K, n + 1]: seconds of forward and backward of the units before."""
        slow = _sums((m - 1) * passes + m * later + np.array(problem.update))
        self.period: Floats = (slow[:, None, :] - slow[:, :, None]) + (m - 1) * self.fixed[:, None, None]
        """[K, n + 1, n + 1]: what the stage `a` to `b - 1` adds as the slowest of a step; rises with `b`."""
        held, kept, noted = (_sums(np.array(v, dtype=np.int64)) for v in (problem.held, problem.kept, problem.noted))
        self._bytes = held + m * noted, kept
        may = np.array(problem.allowed)
        # The first unit from `a` on that may not sit there.
        ends = np.where(may, self.num_units, np.arange(self.num_units))
        self._allowed = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        self.cuts = np.array([True, *problem.may_cut, True])
        """[n + 1]: whether a stage may begin at a unit, or end before it."""
        there = np.array([0, *(sum(pair) for pair in problem.crossing), 0], dtype=float)
        back = np.array([0, *(1 + (pair[1] > 0) for pair in problem.crossing), 0], dtype=float)
        latency, per_byte = np.array(problem.latency), np.array(problem.per_byte)
        self.link: Floats = latency[:, :, None] * back + per_byte[:, :, None] * there
        """[K, K, n + 1]: seconds that a micro-batch is on its way over the boundary before a unit, there and back."""

    @cached_property
    def most_stages(self) -> int:
        return min(sum(self.problem.count), self.num_units)

    @cached_property
    def fits(self) -> Ints:
        """[s, K, n]: how far a stage with `s` stages behind it may reach: the largest `b`, `a` where there is none."""
        reaches = []
        heavy, kept = self._bytes
        for behind in range(self.most_stages):
            total = heavy + min(self.problem.num_micro_batches, behind + 1) * kept
            by_type = [
                np.searchsorted(row, limit + row[:-1], side="right") - 1
                for row, limit in zip(total, self.problem.memory, strict=True)
            ]
            reaches.append(np.minimum(np.array(by_type), self._allowed))
        return np.array(reaches)

    def within(self, bound: float) -> Ints:
        """[K, n]: how far a stage may reach so that its period is at most `bound`."""
        begins = np.arange(self.num_units)
        behind = begins[None, :, None] < np.arange(self.num_units + 1)[None, None, :]
        fine: Ints = ((self.period[:, :-1] <= bound) & behind).sum(axis=2)
        return begins + fine

    def bounds(self) -> Floats:
        """Every period that a single stage can have, rising."""
        found = []
        for k in range(self.num_types):
            for a in range(self.num_units):
                found.append(self.period[k, a, a + 1 : self.fits[0, k, a] + 1])
        return np.unique(np.concatenate(found))


def _sums(by_unit: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """[K, n] to [K, n + 1]: sums of what is before."""
    zeros = np.zeros((len(by_unit), 1), dtype=by_unit.dtype)
    return np.concatenate([zeros, np.cumsum(by_unit, axis=1)], axis=1)
