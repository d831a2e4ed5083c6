"""Useful tokens per second, the same way for every baseline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import Any


class Meter:
    """Times whole steps, data loading included, and leaves the first ones out as warm-up."""

    def __init__(self, warm: int) -> None:
        self._warm = warm
        self._times = [time.perf_counter()]
        self._useful: list[int] = []
        self._padded: list[int] = []

    def start(self) -> None:
        """The first step begins now."""
        self._times = [time.perf_counter()]

    def stop(self) -> None:
        """A step ended."""
        self._times.append(time.perf_counter())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside, between two steps, takes no time."""
        begin = time.perf_counter()
        yield
        spent = time.perf_counter() - begin
        self._times = [t + spent for t in self._times]

    def count(self, useful: int, padded: int) -> None:
        """The next step's batch; a loader that reads ahead may call this early."""
        self._useful.append(useful)
        self._padded.append(padded)

    def summary(self) -> dict[str, Any]:
        steps = len(self._times) - 1
        if steps <= self._warm:
            raise ValueError(f"{steps} steps leave nothing to measure after {self._warm} of warm-up: ask for more.")
        times = self._times[self._warm :]
        useful, padded = sum(self._useful[self._warm : steps]), sum(self._padded[self._warm : steps])
        measured = steps - self._warm
        return {
            "steps": steps,
            "measured_steps": measured,
            "useful_tokens_per_second": round(useful / (times[-1] - times[0]), 1),
            "useful_tokens_per_step": round(useful / measured, 1),
            "padded_tokens_per_step": round(padded / measured, 1),
            "padding_waste": round(1 - useful / padded, 4),
            "step_seconds": round(median(b - a for a, b in pairwise(times)), 5),
        }
