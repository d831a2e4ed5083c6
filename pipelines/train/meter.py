"""What the processors of this node and this stage's GPU have drawn, from the counters that they keep.

Linux shows RAPL's counters (Intel's and AMD's) as files that by default only root may read. They count what the
whole node's processors drew, whoever used them, and begin again at 0 after some minutes to hours, so they must be
read more often than that: every step is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
VALUE, LIMIT = "energy_uj", "max_energy_range_uj"


@dataclass(frozen=True, slots=True)
class Drawn:
    """Joules since the meter began to count; None where there is nothing to read."""

    processors: float | None
    """Of all the node's processors, memory on their counters included."""
    gpu: float | None


class Counter:
    """One counter that begins again at 0 when it has come to `limit`."""

    def __init__(self, limit: float | None, begin: float) -> None:
        self._limit, self._last = limit, begin
        self.total = 0.0

    def add(self, value: float) -> float:
        """All that was counted, at a new `value`."""
        grown = value - self._last
        if grown < 0:
            # Without a limit it was set back, and began anew.
            grown = grown + self._limit if self._limit is not None else value
        self._last = value
        self.total += grown
        return self.total


class Meter:
    """Counts from when it was made."""

    def __init__(self, gpu: Callable[[], float] | None = None, *, powercap: Path = POWERCAP) -> None:
        """`gpu` reads the joules that a GPU has drawn since some moment; None where there is none that tells."""
        self._zones = [(zone / VALUE, Counter(_microjoules(zone / LIMIT), begin)) for zone, begin in _zones(powercap)]
        self._gpu = None if gpu is None else (gpu, Counter(None, gpu()))

    def read(self) -> Drawn:
        """A few microseconds for each counter."""
        processors = gpu = None
        values = [(counter, _microjoules(path)) for path, counter in self._zones]
        known = [counter.add(value) for counter, value in values if value is not None]
        if known and len(known) == len(values):
            processors = sum(known) / 1e6
        if self._gpu is not None:
            read, counter = self._gpu
            gpu = counter.add(read())
        return Drawn(processors, gpu)


def _zones(powercap: Path) -> list[tuple[Path, float]]:
    """Packages, and memory that is not within them, with what they have counted; nothing if one cannot be read.

    A package's cores are within it, and the platform (`psys`) holds all of them.
    """
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if name.startswith("package") or name == "dram":
            value = _microjoules(zone / VALUE)
            if value is None:
                return []
            found.append((zone, value))
    return found


def _microjoules(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
