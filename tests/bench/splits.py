"""How others split a model over devices, on the planner's problems.

Each puts every device to use, in an order that it is given, and knows less than the planner: `even` nothing,
`by_parameters` the number of trained parameters (DeepSpeed's partition_method="parameters"), `greedy` the compute power
of devices (as described of Metis's load balancer, Um et al., ATC 2024: layers in finer slices handed out by capacity,
a correction forwards and backwards, and memory repaired by lowering the capacity of stages that are too full).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from pipelines.plan.partition import solve
from pipelines.plan.problem import Problem
from tests.bench.instances import Stages, seconds

SLICES = 7
ATTEMPTS = 3
SHRINK = 0.9


def even(problem: Problem, order: Sequence[int], sizes: Sequence[int]) -> Stages | None:  # noqa: ARG001
    """About the same number of units on every device."""
    n, number = len(sizes), min(len(order), len(sizes))
    return _stages([round(n * j / number) for j in range(number + 1)], order)


def by_parameters(problem: Problem, order: Sequence[int], sizes: Sequence[int]) -> Stages | None:  # noqa: ARG001
    """About the same number of trained parameters on every device."""
    number = min(len(order), len(sizes))
    return _stages([0, *solve([max(size, 1e-9) for size in sizes], number), len(sizes)], order)


def greedy(problem: Problem, order: Sequence[int], sizes: Sequence[int]) -> Stages | None:
    """Load by capacity; None where memory is still broken after three repairs: such a plan is dropped."""
    n, number = len(sizes), min(len(order), len(sizes))
    load = [problem.forward[0][i] + problem.backward[0][i] + problem.weights[0][i] for i in range(n)]
    power = [
        1 / sum(map(sum, zip(problem.forward[k], problem.backward[k], problem.weights[k], strict=True))) for k in order
    ]
    capacity = power[:number]
    stages: Stages | None = None
    for _ in range(ATTEMPTS + 1):
        bounds = _by_capacity(load, capacity)
        stages = _stages(bounds, order)
        if stages is None or seconds(problem, stages) is not None:
            return stages
        capacity = [share * SHRINK if _too_full(problem, stages, j) else share for j, share in enumerate(capacity)]
    return None


SPLITS: dict[str, Callable[[Problem, Sequence[int], Sequence[int]], Stages | None]] = {
    "even": even,
    "by parameters": by_parameters,
    "greedy": greedy,
}


def _by_capacity(load: Sequence[float], capacity: Sequence[float]) -> list[int]:
    """Unit boundaries next to equal shares of slices, then moved while that helps the slower neighbour."""
    slices = [value / SLICES for value in load for _ in range(SLICES)]
    whole, total = sum(slices), sum(capacity)
    ends = [whole * part / total for part in accumulate(capacity)]
    sums = [0.0, *accumulate(slices)]
    bounds = [0]
    for end in ends[:-1]:
        at = min(range(len(sums)), key=lambda i: abs(sums[i] - end))
        bounds.append(min(max(round(at / SLICES), bounds[-1] + 1), len(load)))
    bounds.append(len(load))

    def cost(j: int) -> float:
        return sum(load[bounds[j] : bounds[j + 1]]) / capacity[j]

    for sweep in (range(1, len(bounds) - 1), range(len(bounds) - 2, 0, -1)):
        for j in sweep:
            for step in (1, -1):
                before = max(cost(j - 1), cost(j))
                bounds[j] += step
                fine = bounds[j - 1] < bounds[j] < bounds[j + 1]
                if not fine or max(cost(j - 1), cost(j)) >= before:
                    bounds[j] -= step
    return bounds


def _too_full(problem: Problem, stages: Stages, j: int) -> bool:
    k, a, b = stages[j]
    m, behind = problem.num_micro_batches, len(stages) - 1 - j
    kept = min(m, behind + 1) * sum(problem.kept[k][a:b]) + m * sum(problem.noted[k][a:b])
    return sum(problem.held[k][a:b]) + kept > problem.memory[k]


def _stages(bounds: Sequence[int], order: Sequence[int]) -> Stages | None:
    spans = list(pairwise(bounds))
    if any(a >= b for a, b in spans):
        return None
    return tuple((k, a, b) for k, (a, b) in zip(order, spans, strict=False))
