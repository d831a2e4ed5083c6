"""Where a data shard holds its rows and examples: in its memory, or on disk with a bound on its memory."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from pipelines.config import DataConfig
from pipelines.data.anonymous import Anonymous, MemoryUse
from pipelines.data.example_file import ExampleFile
from pipelines.data.examples import Encoded
from pipelines.data.row_bytes import from_bytes
from pipelines.data.spool import Spool

PART = 64
"""What is encoded at once may make the 64th part of the limit: lists of Python's numbers, which tokenizers give, take
ten times what the arrays take that are made of them, and a tokenizer itself as much again."""

Encode = Callable[[Sequence[Any]], list[Encoded]]


class Holding(ABC):
    """How one data shard holds what it has."""

    def __init__(self, limit: int | None, who: str) -> None:
        self.memory = Anonymous(limit, who)

    @abstractmethod
    def encoded(self, rows: Sequence[Any], encode: Encode) -> Sequence[Encoded]:
        """The examples of all rows. `encode` gives the same for a row whichever others it is called with."""

    @property
    def on_disk(self) -> int:
        """Bytes that are held outside of memory."""
        return 0

    @property
    def use(self) -> MemoryUse:
        return MemoryUse(self.memory.peak, self.memory.limit, self.on_disk)


class InMemory(Holding):
    """As lists."""

    def __init__(self, who: str) -> None:
        super().__init__(None, who)

    def encoded(self, rows: Sequence[Any], encode: Encode) -> list[Encoded]:
        found = encode(rows)
        self.memory.look("to encode its rows")
        return found


class OnDisk(Holding):
    """In files; in memory is what is worked on, and where in the files everything is."""

    def __init__(self, limit: int, who: str, folder: str | None) -> None:
        """
        Args:
            folder: for the files; the system's for temporary ones when None.
        """
        super().__init__(limit, who)
        self._limit, self._folder = limit, Path(folder or tempfile.gettempdir())
        self._files: list[RowFile | ExampleFile] = []

    def rows(self) -> RowFile:
        """A new file for the rows of a split.

        Raises:
            UserError: see `Spool`.
        """
        self._files.append(rows := RowFile(self._folder))
        return rows

    def encoded(self, rows: Sequence[Any], encode: Encode) -> ExampleFile:
        """As many rows at once as there is memory for, by what the rows before them took.

        Raises:
            UserError: they take more than the limit; see `ExampleFile` and `Anonymous`.
        """
        assert isinstance(rows, RowFile)
        examples, first, most = ExampleFile(self._folder), 0, 1
        self._files.append(examples)
        while first < len(rows):
            end = rows.end_of(first, most, self._limit // PART)
            before, block = examples.num_bytes, rows[first:end]
            made = encode(block)
            self.memory.look("to encode its rows")
            examples.extend(made)
            self.memory.look("to write what it encoded")
            took = max(1, examples.num_bytes - before) / (end - first)
            # No more than twice as many as before: a few short rows tell little of those that follow.
            most = max(1, min(2 * most, int(self._limit / PART / took)))
            first = end
        return examples

    @property
    def on_disk(self) -> int:
        return sum(file.num_bytes for file in self._files)


class RowFile(Sequence[Any]):
    """The rows of a split, as bytes."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder)

    def append(self, raw: bytes | memoryview) -> None:
        """A row as `to_bytes` makes it of one."""
        self._spool.append([raw])

    @property
    def num_bytes(self) -> int:
        return self._spool.num_bytes

    def end_of(self, first: int, most: int, num_bytes: int) -> int:
        """Where a block of rows ends that begins at `first`: at most so many, at least one."""
        end, size = first + 1, self._spool.size_of(first)
        while end < min(len(self), first + most) and size + self._spool.size_of(end) <= num_bytes:
            size += self._spool.size_of(end)
            end += 1
        return end

    def __len__(self) -> int:
        return len(self._spool)

    @overload
    def __getitem__(self, at: int) -> Any: ...

    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...

    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            first, end, step = at.indices(len(self))
            assert step == 1, "rows are read in their order"
            return [from_bytes(raw) for raw in self._spool.pieces(first, end)]
        return from_bytes(self._spool.read(at))

    def __iter__(self) -> Iterator[Any]:
        return map(from_bytes, self._spool.pieces(0, len(self)))


def holding_of(data: DataConfig, who: str) -> Holding:
    """What the config asks for."""
    return InMemory(who) if data.memory is None else OnDisk(data.memory, who, data.scratch)
