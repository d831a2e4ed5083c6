"""Records on disk, in a file without a name: the kernel frees it when its process ends, however that ends."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.errors import UserError

BUFFER = 2**18
"""Bytes that are collected before they are written, and that are read at once when all records are read."""
IN_MEMORY = ("tmpfs", "ramfs")
_MOUNTS = Path("/proc/self/mounts")


class Spool:
    """Appended to and read by number. Held in memory are the places of the records, 8 bytes each.

    What was read stays in the kernel's cache of pages as long as nobody needs the memory.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: the folder cannot be written, or is no disk.
        """
        self._folder = folder
        if kind := _memory_behind(folder):
            raise UserError(
                f"The folder {folder} for what is larger than memory is itself in memory ({kind}). Set data.scratch to "
                "a folder on a disk."
            )
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=BUFFER)  # noqa: SIM115
        except OSError as error:
            raise self._refused(error) from None
        self._ends = array("q", [0])
        self._flushed = True

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def num_bytes(self) -> int:
        return self._ends[-1]

    def append(self, parts: Iterable[bytes | memoryview]) -> None:
        """Write one record.

        Raises:
            UserError: the disk is full, or fails.
        """
        end = self._ends[-1]
        try:
            for part in parts:
                end += self._file.write(part)
        except OSError as error:
            raise self._refused(error) from None
        self._ends.append(end)
        self._flushed = False

    def read(self, number: int) -> bytes:
        """One record.

        Raises:
            IndexError: there is none of this number.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._read(self._ends[number], self._ends[number + 1])

    def pieces(self, first: int, end: int) -> Iterator[bytes]:
        """Records one after the other."""
        while first < end:
            last = first + 1
            while last < end and self._ends[last + 1] - self._ends[first] <= BUFFER:
                last += 1
            at = self._ends[first]
            raw = self._read(at, self._ends[last])
            for number in range(first, last):
                yield raw[self._ends[number] - at : self._ends[number + 1] - at]
            first = last

    def size_of(self, number: int) -> int:
        """Bytes of a record."""
        return self._ends[number + 1] - self._ends[number]

    def _read(self, begin: int, end: int) -> bytes:
        try:
            if not self._flushed:
                self._file.flush()
                self._flushed = True
            raw = os.pread(self._file.fileno(), end - begin, begin)
            while len(raw) < end - begin:  # the kernel reads no more than 2 GiB at once
                raw += os.pread(self._file.fileno(), end - begin - len(raw), begin + len(raw))
        except OSError as error:
            raise self._refused(error) from None
        return raw

    def _refused(self, error: OSError) -> UserError:
        return UserError(
            f"The folder {self._folder} for what is larger than memory cannot be used: {error.strerror}. Set "
            "data.scratch to a folder on a disk with room for the encoded data."
        )


def _memory_behind(folder: Path) -> str | None:
    """What a folder is mounted as if its files are held in memory."""
    try:
        mounts = [line.split(" ") for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:  # no Linux
        return None
    there = folder.resolve()
    holding = [(Path(at), kind) for _, at, kind, *_ in mounts if there.is_relative_to(at)]
    kind = max(holding, key=lambda one: len(one[0].parts))[1] if holding else ""
    return kind if kind in IN_MEMORY else None
