"""How a step falls into waves: consecutive micro-batches that go through one replica's pipeline.

    step of 8 micro-batches     0 1 2 3 4 5 │ 6 7        shares 3 : 1
                                wave 0      │ wave 1     their gradients are added in this order

A step's gradient is the sum of its waves' gradients, wave by wave, whichever replica ran which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wave:
    """Micro-batches `first` to `end - 1` of a step."""

    first: int
    end: int


def wave_sizes(num_micro_batches: int, shares: Sequence[float]) -> list[int]:
    """How many micro-batches each wave has, in proportion to `shares` by the largest remainder, and one at least.

    Where there are fewer micro-batches than shares, the largest shares have one each and the others none.

    Raises:
        ValueError: no shares, or one that is not positive.
    """
    if not shares or min(shares) <= 0:
        raise ValueError(f"shares must be positive numbers, not {list(shares)}")
    if num_micro_batches < len(shares):
        largest = sorted(range(len(shares)), key=lambda k: -shares[k])[:num_micro_batches]
        return [int(k in largest) for k in range(len(shares))]
    # One for each first: what is left of its due, if anything, is shared out.
    due = [num_micro_batches * share / math.fsum(shares) for share in shares]
    sizes = [max(1, math.floor(d)) for d in due]
    while sum(sizes) < num_micro_batches:
        k = max(range(len(sizes)), key=lambda k: (due[k] - sizes[k], -k))
        sizes[k] += 1
    while sum(sizes) > num_micro_batches:
        k = max((k for k in range(len(sizes)) if sizes[k] > 1), key=lambda k: (sizes[k] - due[k], k))
        sizes[k] -= 1
    return sizes


def split_in_waves(num_micro_batches: int, shares: Sequence[float]) -> list[Wave]:
    """A step's waves, in their order; none is empty."""
    waves: list[Wave] = []
    for size in wave_sizes(num_micro_batches, shares):
        if size:
            first = waves[-1].end if waves else 0
            waves.append(Wave(first, first + size))
    return waves
