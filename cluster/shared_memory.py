"""Tensors between stages on one node: the sender copies them into memory that the receiver sees, and rings.

    sender      block of its pool ◀─copy─ tensors            pool: anonymous files (memfd), which end with the process
                pipe of the receiver ◀─ where the block is    one short write wakes the receiver and nobody else
    receiver    tensors of its own ◀─copy─ block, when it is asked for them; then marks the block as free

Two copies and two system calls a message, all in the threads that compute: with more stages than cores what
costs is waking other threads (docs/transport.md). A tensor arrives in torch's own memory, aligned like any other.
"""

from __future__ import annotations

import ctypes
import errno
import math
import mmap
import os
import select
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cluster.inbox import Inbox
from cluster.wire import Shape, head, read_head
from pipelines.train.device import ALIGNMENT
from pipelines.train.transport import Tag, who

AVAILABLE = hasattr(os, "memfd_create")
"""Linux only."""

_RING = struct.Struct("<iiq")
"""Of a block: the sender's process, the number of the pool's file in it, and where the block begins."""
_FREE, _TAKEN = 0, 1
_SEGMENT = 16 * 2**20
_PAGE = 4096


class _Segment:
    """A file of a pool, mapped into this process."""

    def __init__(self, file: int) -> None:
        self.memory = mmap.mmap(file, 0)
        # The mapping cannot be unmapped under the address, which keeps it.
        self._first = ctypes.c_char.from_buffer(self.memory)
        self.address = ctypes.addressof(self._first)


@dataclass(frozen=True, slots=True)
class _Block:
    number: int
    """Of its file, in the process that it belongs to."""
    segment: _Segment
    start: int
    size: int

    @property
    def is_free(self) -> bool:
        return self.segment.memory[self.start] == _FREE


class _Pool:
    """The blocks that a stage sends from. A receiver frees a block by its first byte, which costs no message."""

    def __init__(self) -> None:
        self._files: list[int] = []
        self._last: _Segment | None = None
        self._used = 0
        self._free: dict[int, list[_Block]] = {}
        self._sent: list[_Block] = []

    def take(self, num_bytes: int) -> _Block:
        """A block for so many bytes; sizes are powers of two, pages that nobody writes to take no memory."""
        size = max(_PAGE, 1 << (num_bytes - 1).bit_length())
        if not self._free.get(size):
            self._collect()
        free = self._free.get(size)
        block = free.pop() if free else self._new(size)
        self._sent.append(block)
        return block

    def close(self) -> None:
        for number in self._files:
            os.close(number)
        self._files.clear()

    def _collect(self) -> None:
        out = []
        for block in self._sent:
            if block.is_free:
                self._free.setdefault(block.size, []).append(block)
            else:
                out.append(block)
        self._sent = out

    def _new(self, size: int) -> _Block:
        if self._last is None or self._used + size > len(self._last.memory):
            length = max(_SEGMENT, size)
            number = os.memfd_create("motley")
            self._files.append(number)
            os.ftruncate(number, length)
            self._last, self._used = _Segment(number), 0
        block = _Block(self._files[-1], self._last, self._used, size)
        self._used += size
        return block


class SharedMemory(Inbox):
    """Carries one stage's messages to and from the others on its node."""

    def __init__(self, stage: int, *, timeout: float, glance: Callable[[], None] = lambda: None) -> None:
        super().__init__(stage, timeout=timeout, glance=glance)
        self._process = os.getpid()
        self._pool = _Pool()
        self._paths: dict[int, str] = {}
        self._bells: dict[int, int] = {}
        self._theirs: dict[tuple[int, int], _Segment] = {}
        self._own: Path | None = None
        self._inbox = -1
        self._poll = select.poll()

    def bind(self, *, room: str | None, host: str) -> str:  # noqa: ARG002
        """Listen in the private folder `room`."""
        assert room is not None
        folder = Path(tempfile.gettempdir()) / room
        folder.mkdir(mode=0o700, exist_ok=True)
        self._own = folder / f"memory-{self._stage}"
        os.mkfifo(self._own, mode=0o600)
        # Open for both, so that it neither ends nor fails while nobody else has it open.
        self._inbox = os.open(self._own, os.O_RDWR | os.O_NONBLOCK)
        self._poll.register(self._inbox, select.POLLIN)
        return f"memory:{self._own}"

    def connect(self, addresses: Mapping[int, str]) -> None:
        self._theirs.clear()
        for stage, address in addresses.items():
            if stage != self._stage:
                self._paths[stage] = address.removeprefix("memory:")
                if stage in self._bells:
                    os.close(self._bells.pop(stage))

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        """
        Raises:
            TimeoutError: the receiver has thousands of messages that it did not take in time.
        """
        top = head(self._stage, tag, tensors)
        sizes = [tensor.nbytes for tensor in tensors]
        places = list(_places(1 + len(top), sizes))
        block = self._pool.take(places[-1])
        memory, start = block.segment.memory, block.start
        memory[start : start + 1 + len(top)] = bytes([_TAKEN]) + top
        there = block.segment.address + start
        for tensor, size, place in zip(tensors, sizes, places, strict=False):
            # Not by torch, which takes several times as long to find out what to do.
            whole = tensor.contiguous()
            ctypes.memmove(there + place, whole.data_ptr(), size)
        self._ring(stage, tag, _RING.pack(self._process, block.number, start))
        return sum(sizes)

    def close(self) -> None:
        for bell in self._bells.values():
            os.close(bell)
        self._pool.close()
        if self._own is not None:
            os.close(self._inbox)
            self._own.unlink(missing_ok=True)
            with suppress(OSError):  # the last one to leave finds it empty
                self._own.parent.rmdir()
            self._own = None

    def _ring(self, stage: int, tag: Tag, message: bytes) -> None:
        try:
            if stage not in self._bells:
                self._bells[stage] = os.open(self._paths[stage], os.O_WRONLY | os.O_NONBLOCK)
            bell = self._bells[stage]
            try:
                os.write(bell, message)
            except BlockingIOError:
                if not select.select([], [bell], [], self._timeout)[1]:
                    raise TimeoutError(
                        f"{who(self._stage).capitalize()} waited {self._timeout:g} s for {who(stage)} to take in its "
                        f"messages, the {tag} among them, which it never did (plan.timeout)."
                    ) from None
                os.write(bell, message)
        except OSError as error:
            # The receiver is gone, which Ray tells the driver; whoever waits for an answer says so.
            if error.errno not in (errno.EPIPE, errno.ENXIO, errno.ENOENT):
                raise

    def _take_in(self, seconds: float) -> bool:
        if not self._poll.poll(math.ceil(seconds * 1000)):
            return False
        # Writes of one message are never mixed nor torn (PIPE_BUF), so neither is what is read.
        for place in _RING.iter_unpack(os.read(self._inbox, 1024 * _RING.size)):
            self._keep(*place)
        return True

    def _keep(self, process: int, number: int, start: int) -> None:
        key = process, number
        if key not in self._theirs:
            try:
                file = os.open(f"/proc/{process}/fd/{number}", os.O_RDWR)
            except FileNotFoundError:
                return  # The sender is gone, as above.
            try:
                self._theirs[key] = _Segment(file)
            finally:
                os.close(file)
        segment = self._theirs[key]
        sender, tag, shapes, end = read_head(segment.memory, start + 1)
        self._kept[sender, tag] = partial(_open, segment, start, end - start, shapes)


def _open(segment: _Segment, start: int, end: int, shapes: Sequence[Shape]) -> list[Tensor]:
    """Copy the tensors out of a block whose head is `end` bytes long, and free it."""
    tensors = [torch.empty(shape, dtype=dtype) for dtype, shape in shapes]
    sizes = [tensor.nbytes for tensor in tensors]
    for tensor, size, place in zip(tensors, sizes, _places(end, sizes), strict=False):
        ctypes.memmove(tensor.data_ptr(), segment.address + start + place, size)
    segment.memory[start] = _FREE
    return tensors


def _places(start: int, sizes: Sequence[int]) -> Iterator[int]:
    """Where things of so many bytes begin that lie one behind the other, aligned; and where the last one ends."""
    for size in sizes:
        start = -(-start // ALIGNMENT) * ALIGNMENT
        yield start
        start += size
    yield start
