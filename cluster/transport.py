"""How tensors get from one stage to another: ZeroMQ, one socket to receive and one for each peer to send.

Messages are sent in the background (ZeroMQ's own thread, outside Python's lock), may have any shape, and
are kept by their tag until they are asked for. Stages on one node talk through sockets in a private
folder; across nodes every connection is encrypted and both ends are authenticated (CurveZMQ) with keys
that the driver makes for each run.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import zmq
from torch import Tensor
from zmq.auth.thread import ThreadAuthenticator

from pipelines.train.transport import Tag, who

_DTYPES = {
    str(t).removeprefix("torch."): t
    for t in (
        torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.complex64, torch.complex128,
    )
}  # fmt: skip


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


class ZmqTransport:
    """Carries the messages of one stage. Not for use by several threads."""

    def __init__(self, stage: int, *, keys: Keys, timeout: float) -> None:
        self._stage, self._keys, self._timeout = stage, keys, timeout
        self._context = zmq.Context()
        self._inbox = self._context.socket(zmq.PULL)
        self._inbox.setsockopt(zmq.RCVHWM, 0)
        self._outboxes: dict[int, zmq.Socket[bytes]] = {}
        self._kept: dict[tuple[int, Tag], list[Tensor]] = {}
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
            if address.startswith("tcp:"):
                outbox.curve_secretkey = self._keys.secret
                outbox.curve_publickey = self._keys.public
                outbox.curve_serverkey = self._keys.public
            outbox.connect(address)
            self._outboxes[stage] = outbox

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        header = [self._stage, tag.step, tag.what, tag.micro_batch, tag.chunk]
        shapes = [[str(t.dtype).removeprefix("torch."), *t.shape] for t in tensors]
        bodies = [_bytes(t) for t in tensors]
        self._outboxes[stage].send_multipart([json.dumps([header, shapes]).encode(), *bodies], copy=False)
        return sum(body.nbytes for body in bodies)

    def receive(self, stage: int, tag: Tag) -> list[Tensor]:
        deadline = time.monotonic() + self._timeout
        while (stage, tag) not in self._kept:
            left = deadline - time.monotonic()
            if left <= 0 or not self._inbox.poll(math.ceil(left * 1000)):
                raise TimeoutError(
                    f"{who(self._stage).capitalize()} waited {self._timeout:g} s for the {tag} from {who(stage)}, "
                    "which never came (plan.timeout)."
                )
            sender, sent, tensors = _read(self._inbox.recv_multipart(copy=False))
            self._kept[sender, sent] = tensors
        return self._kept.pop((stage, tag))

    def take_any(self, seconds: float) -> tuple[int, Tag, list[Tensor]] | None:
        """Sender, tag and tensors of the message that came first; None when none comes within so many seconds."""
        if not self._inbox.poll(math.ceil(seconds * 1000)):
            return None
        return _read(self._inbox.recv_multipart(copy=False))

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


class _Only:
    """Lets in whoever holds the run's key."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002
        return key == self._public


def _read(frames: Sequence[zmq.Frame]) -> tuple[int, Tag, list[Tensor]]:
    (sender, step, what, micro_batch, chunk), shapes = json.loads(frames[0].bytes)
    tensors = []
    for (dtype, *shape), frame in zip(shapes, frames[1:], strict=True):
        # The frame's memory belongs to this message alone, and nothing writes to what was received.
        flat = (
            torch.frombuffer(frame.buffer, dtype=_DTYPES[dtype])
            if len(frame.buffer)
            else torch.empty(0, dtype=_DTYPES[dtype])
        )
        tensors.append(flat.reshape(shape))
    return sender, Tag(step, what, micro_batch, chunk), tensors
