"""When nothing fits: what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.plan.exact import Exact
from pipelines.plan.problem import Problem
from pipelines.plan.windows import INFINITE, Windows

LARGEST = 1 << 20
"""No factor above this is tried."""


def memory_factor(problem: Problem) -> float | None:
    """By how much all devices' memory would have to grow for a plan to exist, to 1 %; None if it never helps."""

    def fits(factor: float) -> bool:
        memory = tuple(int(limit * factor) for limit in problem.memory)
        return Exact(Windows(replace(problem, memory=memory))).feasible(INFINITE)

    high = 1.0
    while not fits(high):
        high *= 2
        if high > LARGEST:
            return None
    low = high / 2
    while high / low > 1.01:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def explain(problem: Problem, units: Sequence[str]) -> str:
    """Why no plan exists and what comes closest, for the user.

    Args:
        units: their names.
    """
    offered = ", ".join(
        f"{count} {name} of {memory / 2**20:,.0f} MiB"
        for name, count, memory in zip(problem.types, problem.count, problem.memory, strict=True)
    )
    # Alone and last in the pipeline, a unit needs least.
    least = {
        n: min(
            problem.held[k][n]
            + problem.kept[k][n]
            + problem.num_micro_batches * problem.noted[k][n]
            - problem.memory[k]
            for k in range(len(problem.types))
            if problem.allowed[k][n]
        )
        for n in range(len(units))
    }
    largest = max(least, key=lambda n: least[n])
    if least[largest] > 0:
        return (
            f"Unit {units[largest]!r} alone needs {least[largest] / 2**20:,.0f} MiB more than any device that it may "
            f"sit on has ({offered}). Use smaller micro-batches (train.token_budget, train.micro_batches), "
            "train.recompute=true, or an adapter, or change plan.place."
        )
    factor = memory_factor(problem)
    if factor is None:
        return (
            f"With {offered}, plan.place leaves no way to put all units on devices. Add devices or change plan.place."
        )
    return (
        f"The model does not fit into {offered} together: with {factor:.2f} times the memory of each, or as many more "
        "devices, it would. Use smaller micro-batches (train.token_budget, train.micro_batches), train.recompute=true, "
        "an adapter, or more devices."
    )
