"""What is counted of a version: requests, failures, times, agreement. Numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from random import Random

SAMPLES = 2000
"""Times that are kept of a version: a fair sample of all."""
SURE = 1.64
"""Standard deviations: once in twenty chance alone goes further to one side."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A moment's look at a tally."""

    requests: int = 0
    errors: int = 0
    """Among the requests, those that this version failed on and another could answer."""
    times: tuple[float, ...] = ()
    """Seconds of requests, ascending; a sample where there were many."""
    compared: int = 0
    agreement: float = 1.0
    """The mean over what was compared."""

    def quantile(self, q: float, sigmas: float = 0.0) -> float:
        """Seconds within which a part `q` of the requests was answered, moved by what chance may do to its rank."""
        n = len(self.times)
        assert n, "no times"
        rank = ceil(n * q + sigmas * sqrt(n * q * (1 - q)))
        return self.times[min(max(rank, 1), n) - 1]


class Tally:
    def __init__(self) -> None:
        # Seeded, so that the same requests are judged alike.
        self._random = Random(0)
        self._requests = self._errors = self._timed = self._compared = 0
        self._agreement = 0.0
        self._times: list[float] = []

    def answered(self, seconds: float) -> None:
        self._requests += 1
        self._timed += 1
        if len(self._times) < SAMPLES:
            self._times.append(seconds)
        elif (place := self._random.randrange(self._timed)) < SAMPLES:
            self._times[place] = seconds

    def failed(self) -> None:
        self._requests += 1
        self._errors += 1

    def compared(self, agreement: float) -> None:
        self._compared += 1
        self._agreement += agreement

    @property
    def counts(self) -> Counts:
        mean = self._agreement / self._compared if self._compared else 1.0
        return Counts(self._requests, self._errors, tuple(sorted(self._times)), self._compared, mean)
