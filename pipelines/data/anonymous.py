"""How much memory of its own a process takes for its data, next to what it may take.

Counted is the process's anonymous memory (Linux's RssAnon: heap and stacks, without mapped files and without what it
shares with others, as Ray's object store) beyond what it had before there was any data. Libraries, and what turns rows
into a model's input, do not count.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UserError

MB = 10**6
NEAR = 0.5
"""Of the limit: from there on, memory that was freed goes back to the system at once."""
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Of one data shard, in bytes."""

    peak: int | None
    """The most that was found when it was looked; None where this system does not tell."""
    limit: int | None
    on_disk: int
    """What it holds outside of its memory."""


class Anonymous:
    """Looked at while most is held; the peak is the most that was found."""

    def __init__(self, limit: int | None, who: str) -> None:
        """
        Args:
            limit: bytes; None for as much as there is.
            who: takes it, to begin a sentence with.
        """
        self.limit, self._who = limit, who
        self.peak: int | None = None
        self._start: int | None = None

    def begin(self) -> None:
        """Count from here on, when the first data is there, and with it the libraries that it needs."""
        if self._start is None:
            # What is freed already, and goes back to the system only later, would be taken off what is counted then.
            gc.collect()
            _give_back()
            self._start = anonymous()
            self.peak = None if self._start is None else 0

    def look(self, doing: str) -> None:
        """Count.

        Args:
            doing: what for, as in `to encode its rows`.

        Raises:
            UserError: it is more than the limit, or there is a limit and nothing to count.
        """
        found = self._found()
        if found is None or self.peak is None:
            if self.limit is not None:
                raise UserError(
                    "data.memory is set, and this system does not tell how much memory a process has (RssAnon in "
                    f"{_STATUS}). Run the data shards on Linux, or leave data.memory out."
                )
            return
        if self.limit is not None and found > NEAR * self.limit:
            _give_back()
            found = self._found() or 0
        if self.limit is not None and found > self.limit:
            # Cycles that nobody needs any more are no reason to end a run.
            gc.collect()
            _give_back()
            found = self._found() or 0
        self.peak = max(self.peak, found)
        if self.limit is not None and found > self.limit:
            raise UserError(
                f"{self._who} took {found / MB:,.1f} MB of memory {doing}, and data.memory lets it take "
                f"{self.limit / MB:,.1f} MB. Raise data.memory, or data.shards, so that each holds less; where single "
                "examples are large, lower data.max_length or train.token_budget."
            )

    def _found(self) -> int | None:
        now = anonymous()
        return None if now is None or self._start is None else now - self._start

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is taken meanwhile is for no data."""
        before = anonymous()
        yield
        after = anonymous()
        if self._start is not None and before is not None and after is not None:
            self._start += after - before


def told_memory(uses: Sequence[MemoryUse]) -> str | None:
    """What data shards with a limit took of it; None where there is no limit."""
    limits, peaks = [use.limit for use in uses if use.limit], [use.peak for use in uses if use.peak is not None]
    if not limits or not peaks:
        return None
    return (
        f"data shards took at most {max(peaks) / MB:,.1f} MB of memory each for their data, of {limits[0] / MB:,.1f} "
        f"MB (data.memory), and hold {sum(use.on_disk for use in uses) / MB:,.1f} MB on disk"
    )


def anonymous() -> int | None:
    """The anonymous memory of this process, in bytes; None where the system does not tell."""
    try:
        return int(re.findall(r"^RssAnon:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)[0]) * 1024
    except (OSError, IndexError):
        return None


def _give_back() -> None:
    """Let glibc return what was freed: it keeps it for the next who asks, and it counts meanwhile. No-op elsewhere."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
