"""Planner instances, and the planner's problem solved by trying everything."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import combinations, combinations_with_replacement, pairwise, product

from pipelines.plan.problem import Problem, Seconds

Stages = tuple[tuple[int, int, int], ...]


def uniform(
    base: Sequence[float],
    slowness: Sequence[float],
    counts: Sequence[int],
    *,
    micro_batches: int,
    memory: Sequence[int] | None = None,
    held: Sequence[int] | None = None,
    kept: Sequence[int] | None = None,
    backward: Sequence[float] | None = None,
    weights: Sequence[float] | None = None,
    latency: float = 0.0,
    per_byte: float = 0.0,
    crossing: tuple[int, int] = (0, 0),
) -> Problem:
    """Devices that are each so many times as slow as the first, at everything.

    Args:
        base: seconds of a micro-batch's forward by unit on a device of slowness 1; backward and weight gradients take
            as long each unless they are given.
    """
    n, k = len(base), len(slowness)

    def times(values: Sequence[float]) -> Seconds:
        return tuple(tuple(value * slow for value in values) for slow in slowness)

    nothing = tuple((0,) * n for _ in range(k))
    return Problem(
        types=tuple(f"{slow:g}x" for slow in slowness),
        count=tuple(counts),
        memory=tuple(memory or (1 << 40,) * k),
        forward=times(base),
        backward=times(backward if backward is not None else base),
        weights=times(weights if weights is not None else base),
        update=times([0.0] * n),
        fixed=(0.0,) * k,
        held=tuple(tuple(held) for _ in range(k)) if held else nothing,
        kept=tuple(tuple(kept) for _ in range(k)) if kept else nothing,
        noted=nothing,
        crossing=(crossing,) * (n - 1),
        latency=tuple((latency,) * k for _ in range(k)),
        per_byte=tuple((per_byte,) * k for _ in range(k)),
        num_micro_batches=micro_batches,
        may_cut=(True,) * (n - 1),
        allowed=((True,) * n,) * k,
    )


def random_problem(chance: random.Random) -> Problem:
    """At most 7 units and 4 devices of at most 3 types; everything that can differ differs."""
    n, k = chance.randint(1, 7), chance.randint(1, 3)
    count = [1] * k
    while sum(count) < 4 and chance.random() < 0.6:
        count[chance.randrange(k)] += 1
    slowness = [chance.choice([1, 1.5, 2, 3, 5]) for _ in range(k)]
    base = [chance.uniform(0.5, 3) for _ in range(n)]

    def times(low: float, high: float) -> Seconds:
        return tuple(tuple(value * slow * chance.uniform(low, high) for value in base) for slow in slowness)

    def sizes(low: int, high: int) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(chance.randint(low, high) for _ in range(n)) for _ in range(k))

    latency, per_byte = ([[0.0] * k for _ in range(k)] for _ in range(2))
    for a, b in combinations_with_replacement(range(k), 2):
        latency[a][b] = latency[b][a] = chance.uniform(0, 0.3)
        per_byte[a][b] = per_byte[b][a] = chance.uniform(0, 0.05)
    return Problem(
        types=tuple(f"type {number}" for number in range(k)),
        count=tuple(count),
        memory=tuple(chance.randint(40, 400) for _ in range(k)),
        forward=times(0.3, 0.5),
        backward=times(0.6, 1),
        weights=times(0.2, 0.6),
        update=times(0.1, 0.3),
        fixed=tuple(chance.uniform(0, 0.3) for _ in range(k)),
        held=sizes(5, 30),
        kept=sizes(1, 8),
        noted=sizes(0, 2),
        crossing=tuple((chance.randint(0, 10), chance.choice([0, chance.randint(0, 10)])) for _ in range(n - 1)),
        latency=tuple(map(tuple, latency)),
        per_byte=tuple(map(tuple, per_byte)),
        num_micro_batches=chance.choice([1, 2, 4, 8, 16]),
        may_cut=tuple(chance.random() < 0.85 for _ in range(n - 1)),
        allowed=tuple(tuple(chance.random() < 0.92 for _ in range(n)) for _ in range(k)),
    )


def large_problem(chance: random.Random, *, alike: bool) -> Problem:
    """100 units over 16 devices each of 4 types: blocks that are alike and a large head, or all different."""
    n, slowness = 100, [1, 2, 3.3, 5.1]
    base = [chance.uniform(0.5, 2) for _ in range(n)]
    if alike:
        base = [0.1, *(1.0 if at % 2 else 1.6 for at in range(n - 2)), 4.0]

    def times(factor: float) -> Seconds:
        return tuple(
            tuple(value * slow * factor * (1 if alike else chance.uniform(0.8, 1.2)) for value in base)
            for slow in slowness
        )

    def per_type(value: int) -> tuple[tuple[int, ...], ...]:
        return ((value,) * n,) * 4

    near, far = (0.01, 0.05) if alike else (chance.uniform(0.01, 0.05), chance.uniform(0.01, 0.05))
    return Problem(
        types=tuple(f"{slow:g}x" for slow in slowness),
        count=(16,) * 4,
        memory=(6000, 3000, 1500, 20000),
        forward=times(1),
        backward=times(1),
        weights=times(1),
        update=times(0.1),
        fixed=(0.05,) * 4,
        held=per_type(100),
        kept=per_type(5),
        noted=per_type(0),
        crossing=((10, 10),) * (n - 1),
        latency=tuple(tuple(near if a == b else far for b in range(4)) for a in range(4)),
        per_byte=tuple(tuple(0.001 if a == b else 0.004 for b in range(4)) for a in range(4)),
        num_micro_batches=64,
        may_cut=(True,) * (n - 1),
        allowed=per_type(True),
    )


def all_pipelines(problem: Problem) -> Iterator[Stages]:
    """Every cut on every order of types, whether or not it keeps the limits."""
    n, k = len(problem.may_cut) + 1, len(problem.types)
    for number in range(1, min(n, sum(problem.count)) + 1):
        for cut in combinations(range(1, n), number - 1):
            for types in product(range(k), repeat=number):
                yield tuple((kind, *span) for kind, span in zip(types, pairwise([0, *cut, n]), strict=True))


def seconds(problem: Problem, stages: Stages) -> float | None:
    """The problem's formula, spelt out; None where a limit is broken. Shares no line with the planner."""
    p, m = problem, problem.num_micro_batches
    if any(sum(kind == k for kind, _, _ in stages) > p.count[k] for k in range(len(p.types))):
        return None
    way, slowest = 0.0, 0.0
    for at, (k, a, b) in enumerate(stages):
        behind = len(stages) - 1 - at
        need = sum(p.held[k][a:b]) + min(m, behind + 1) * sum(p.kept[k][a:b]) + m * sum(p.noted[k][a:b])
        if need > p.memory[k] or not all(p.allowed[k][a:b]):
            return None
        passes = p.fixed[k] + sum(p.forward[k][a:b]) + sum(p.backward[k][a:b])
        way += passes
        if behind:
            if not p.may_cut[b - 1]:
                return None
            there, back = p.crossing[b - 1]
            following = stages[at + 1][0]
            way += p.latency[k][following] * (2 if back else 1) + p.per_byte[k][following] * (there + back)
        slowest = max(slowest, (m - 1) * passes + m * sum(p.weights[k][a:b]) + sum(p.update[k][a:b]))
    return way + slowest


def by_trying(problem: Problem) -> float | None:
    """The least seconds of all pipelines; None where no pipeline keeps the limits."""
    found = [value for stages in all_pipelines(problem) if (value := seconds(problem, stages)) is not None]
    return min(found, default=None)
