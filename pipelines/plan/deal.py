"""Which worker of a data parallel run gets which micro-batches of a step."""

from __future__ import annotations

from collections.abc import Sequence


def deal(costs: Sequence[float], num_workers: int) -> list[list[int]]:
    """The numbers of the micro-batches by worker, in rising order: the costliest first, always to whoever has least.

    At most 4/3 of the best that the costliest worker could have (Graham 1969, Bounds on Multiprocessing Timing
    Anomalies). A pure function of its arguments, so that all workers deal alike.
    """
    hands: list[list[int]] = [[] for _ in range(num_workers)]
    totals = [0.0] * num_workers
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = min(range(num_workers), key=lambda worker: (totals[worker], worker))
        hands[least].append(i)
        totals[least] += costs[i]
    return [sorted(hand) for hand in hands]
