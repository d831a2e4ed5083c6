"""How a step falls into waves: consecutive micro-batches that go through one replica's pipeline.

    step of 8 micro-batches     0 1 2 3 4 5 │ 6 7        shares 3 : 1
                                wave 0      │ wave 1     their gradients are added in this order

A step's gradient is the sum of its waves' gradients, wave by wave, whichever replica ran which.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipelines.plan.actions import Action

Sharing = Literal["sync", "bounded", "async"]


@dataclass(frozen=True, slots=True)
class Wave:
    """Micro-batches `first` to `end - 1` of a step."""

    first: int
    end: int
    replica: int
    """The one whose share it is; any other may run it."""


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
    for replica, size in enumerate(wave_sizes(num_micro_batches, shares)):
        if size:
            first = waves[-1].end if waves else 0
            waves.append(Wave(first, first + size, replica))
    return waves


def in_wave(actions: Sequence[Action], first: int) -> tuple[Action, ...]:
    """A schedule's actions with the micro-batches' numbers in their step, of which the wave begins with `first`."""
    return tuple(
        action if action.micro_batch is None else replace(action, micro_batch=first + action.micro_batch)
        for action in actions
    )


@dataclass(frozen=True, slots=True)
class Handed:
    """A wave for a replica to run."""

    step: int
    number: int
    """Of the wave within its step."""
    num_waves: int
    wave: Wave
    version: int
    """Updates that the weights must have had at least."""


class Handing:
    """Which replica runs which wave next.

    sync      each replica its own wave of every step
    bounded   the next wave to whoever is free, once the weights are at most `staleness` updates old for it
    async     the same, with whole steps as waves and weights of any age
    """

    def __init__(self, sharing: Sharing, staleness: int) -> None:
        self._sharing, self._staleness = sharing, staleness
        self._waiting: deque[Handed] = deque()

    def add(self, step: int, waves: Sequence[Wave]) -> None:
        """The waves of the next step, in their order."""
        allowed = {"sync": step, "bounded": max(0, step - self._staleness), "async": 0}[self._sharing]
        for number, wave in enumerate(waves):
            self._waiting.append(Handed(step, number, len(waves), wave, allowed))

    def take(self, replica: int, version: int) -> Handed | None:
        """The wave that a free replica runs now, if there is one, with the weights after `version` updates.

        Where each replica has its own waves, one may be taken before its weights are there.
        """
        for handed in self._waiting:
            mine = handed.wave.replica == replica if self._sharing == "sync" else handed.version <= version
            if mine:
                self._waiting.remove(handed)
                return handed
        return None

    def __len__(self) -> int:
        return len(self._waiting)
