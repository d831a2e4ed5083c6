"""How tensors get from one stage to another: ZeroMQ, one socket to receive and one for each peer to send.

Messages are sent in the background (ZeroMQ's own thread, outside Python's lock), may have any shape, and
are kept by their tag until they are asked for. Stages on one node talk through sockets in a private
folder; across nodes every connection is encrypted and both ends are authenticated (CurveZMQ) with keys
that the driver makes for each run.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import zmq
from torch import Tensor
from zmq.auth.thread import ThreadAuthenticator

from cluster.inbox import Inbox
from cluster.wire import Shape, head, read_head
from pipelines.train.transport import Tag

_FRAME = 2**18
"""Bytes. Across nodes a longer body goes in several frames: one is encrypted while the one before is on the wire and
the one before that is decrypted. Whole, 64 MiB would take these three ways one after the other."""


@dataclass(frozen=True, slots=True)
class Keys:
    """One key pair for all stages of a run: who has it, belongs to the run."""

    public: bytes
    secret: bytes

    @staticmethod
    def new() -> Keys:
        return Keys(*zmq.curve_keypair())

    def __repr__(self) -> str:
        return "Keys(...)"


class ZmqTransport(Inbox):
    """Carries the messages of one stage."""

    def __init__(self, stage: int, *, keys: Keys, timeout: float, glance: Callable[[], None] = lambda: None) -> None:
        super().__init__(stage, timeout=timeout, glance=glance)
        self._keys = keys
        self._context = zmq.Context()
        self._inbox = self._context.socket(zmq.PULL)
        self._inbox.setsockopt(zmq.RCVHWM, 0)
        self._outboxes: dict[int, zmq.Socket[bytes]] = {}
        self._encrypted: set[int] = set()
        """The stages that are reached through encrypted connections."""
        self._authenticator: ThreadAuthenticator | None = None
        self._room: Path | None = None

    def bind(self, *, room: str | None, host: str) -> str:
        """Listen, in the private folder `room` for peers on this node or on `host` for any; return the address."""
        if room is not None:
            self._room = Path(tempfile.gettempdir()) / room
            self._room.mkdir(mode=0o700, exist_ok=True)
            address = f"ipc://{self._room}/stage-{self._stage}"
            self._inbox.bind(address)
            return address
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(credentials_provider=_Only(self._keys.public))
        self._inbox.curve_server = True
        self._inbox.curve_secretkey = self._keys.secret
        self._inbox.curve_publickey = self._keys.public
        port = self._inbox.bind_to_random_port(f"tcp://{host}")
        return f"tcp://{host}:{port}"

    def connect(self, addresses: Mapping[int, str]) -> None:
        """Take up the way to every other stage; one that is known already is replaced."""
        for stage, address in addresses.items():
            if stage == self._stage:
                continue
            if stage in self._outboxes:
                self._outboxes.pop(stage).close(linger=0)
            outbox: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
            outbox.setsockopt(zmq.SNDHWM, 0)
            self._encrypted.discard(stage)
            if address.startswith("tcp:"):
                self._encrypted.add(stage)
                outbox.curve_secretkey = self._keys.secret
                outbox.curve_publickey = self._keys.public
                outbox.curve_serverkey = self._keys.public
            outbox.connect(address)
            self._outboxes[stage] = outbox

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        bodies = [_bytes(t) for t in tensors]
        frames = [frame for body in bodies for frame in _cut(body)] if stage in self._encrypted else bodies
        self._outboxes[stage].send_multipart([head(self._stage, tag, tensors), *frames], copy=False)
        return sum(body.nbytes for body in bodies)

    def _take_in(self, seconds: float) -> bool:
        if not self._inbox.poll(math.ceil(seconds * 1000)):
            return False
        top, *bodies = self._inbox.recv_multipart(copy=False)
        sender, tag, shapes, _ = read_head(top.bytes)
        self._kept[sender, tag] = partial(_open, shapes, bodies)
        return True

    def close(self) -> None:
        """Drop what was not sent and free the sockets."""
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.destroy(linger=0)
        if self._room is not None:
            (self._room / f"stage-{self._stage}").unlink(missing_ok=True)
            with suppress(OSError):  # the last one to leave finds it empty
                self._room.rmdir()


def _bytes(tensor: Tensor) -> memoryview:
    """The tensor's memory itself, without a copy."""
    array: Any = tensor.reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)


def _cut(body: memoryview) -> list[memoryview]:
    """The frames of one body; one where it is empty."""
    return [body[first : first + _FRAME] for first in range(0, max(1, body.nbytes), _FRAME)]


class _Only:
    """Lets in whoever holds the run's key."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002
        return key == self._public


def _open(shapes: Sequence[Shape], frames: Sequence[zmq.Frame]) -> list[Tensor]:
    tensors, left = [], iter(frames)
    for dtype, shape in shapes:
        num_bytes = math.prod(shape) * dtype.itemsize
        frame = next(left)
        if len(frame.buffer) == num_bytes > 0:
            # The frame's memory belongs to this message alone, and nothing writes to what was received.
            tensors.append(torch.frombuffer(frame.buffer, dtype=dtype).reshape(shape))
            continue
        tensors.append(torch.empty(shape, dtype=dtype))
        to, filled = _bytes(tensors[-1]), 0
        while filled < num_bytes:
            to[filled : filled + len(frame.buffer)] = frame.buffer
            filled += len(frame.buffer)
            if filled < num_bytes:
                frame = next(left)
    return tensors
