"""How far the latest inputs and outputs are from a baseline, by the population stability index.

    PSI = sum over bins of (found - expected) ln(found / expected)

Siddiqi, Credit Risk Scorecards (2006), whose rule of thumb is: below 0.1 nothing, up to 0.25 something, above it a
shift that matters. Of `n` values that only chance moves, it is about (bins - 1) / n (Yurdakul, Statistical Properties
of Population Stability Index, 2018): that is why few values say nothing here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from pipelines.watch.baseline import Baseline
from pipelines.watch.said import Said

WINDOW = 1000
"""The latest values that are looked at."""
FEWEST = 200
"""Values from which on a window says anything: by chance alone, 0.05 with ten bins."""
EPSILON = 1e-4
"""The least share, so that an empty bin does not make it infinite."""


def psi(expected: Sequence[float], found: Sequence[float]) -> float:
    """The population stability index of two lists of shares; 0 where they are equal."""
    pairs = [(max(e, EPSILON), max(f, EPSILON)) for e, f in zip(expected, found, strict=True)]
    return math.fsum((f - e) * math.log(f / e) for e, f in pairs)


class Window:
    """Which bins the latest values fell into."""

    def __init__(self, expected: Sequence[float], *, size: int, fewest: int) -> None:
        self._expected, self._fewest = expected, fewest
        self._bins: deque[int] = deque(maxlen=size)
        self._counts = [0] * len(expected)

    def __len__(self) -> int:
        return len(self._bins)

    def add(self, number: int) -> None:
        if len(self._bins) == self._bins.maxlen:
            self._counts[self._bins[0]] -= 1
        self._bins.append(number)
        self._counts[number] += 1

    def psi(self) -> float | None:
        """None while there are too few values."""
        if len(self) < self._fewest:
            return None
        return psi(self._expected, [count / len(self) for count in self._counts])


class Drift:
    """Of one version of a model."""

    def __init__(self, baseline: Baseline, *, size: int = WINDOW, fewest: int = FEWEST) -> None:
        self._baseline = baseline
        kept = {"lengths": baseline.lengths, "confidences": baseline.confidences, "labels": baseline.labels}
        self._windows = {
            of: Window(expected.shares, size=size, fewest=fewest)
            for of, expected in kept.items()
            if expected is not None
        }

    def add(self, length: int, found: Said) -> None:
        """Count one input, of so many sub-words, and what its output says."""
        here = self._baseline
        if here.lengths is not None:
            self._windows["lengths"].add(here.lengths.bin(length))
        if here.confidences is not None:
            for confidence in found.confidences:
                self._windows["confidences"].add(here.confidences.bin(confidence))
        if here.labels is not None:
            for label in found.labels:
                self._windows["labels"].add(here.labels.bin(label))

    def values(self) -> dict[str, float]:
        """The index of whatever has enough values."""
        found = {of: window.psi() for of, window in self._windows.items()}
        return {of: value for of, value in found.items() if value is not None}
