"""One way for tensors between two processes, measured: a tensor goes to and fro, and half of that is its time one way.

`measure` runs it between two actors, `python -m tests.bench.ways_between WAY RANK FOLDER` one end of it in a network
namespace, where there is no Ray.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import ray
import torch
from torch import Tensor, distributed

from cluster.inbox import Inbox
from cluster.session import connect, disconnect
from cluster.shared_memory import SharedMemory
from cluster.transport import Keys, ZmqTransport
from pipelines.train.device import Device
from pipelines.train.transport import Tag

SIZES = (2**10, 2**14, 192 * 2**10, 2**20, 2**24, 2**26)
"""Bytes of a message."""
ROUNDS = 3
RESIDENT = ("shared-memory", "zmq-ipc", "zmq-tcp", "gloo")
"""Both ends run a loop of their own; the others need a call of Ray's for every message."""
BY_CALLS = ("object-store", "zero-copy", "direct-transport")
PORT = 29517
"""Of the rendezvous of gloo; in a namespace of its own nobody else has it."""


def repeats(num_bytes: int) -> int:
    """Enough for a tenth of a second or so."""
    return max(2, min(50, 2**26 // num_bytes))


class End:
    """One end of a resident loop."""

    def __init__(self, way: str, rank: int, keys: Keys) -> None:
        _settle()
        self._way, self._rank, self._other = way, rank, 1 - rank
        self._inbox: Inbox | None = None
        if way == "shared-memory":
            self._inbox = SharedMemory(rank, timeout=60)
        elif way != "gloo":
            self._inbox = ZmqTransport(rank, keys=keys, timeout=60)

    def bind(self, room: str, host: str, port: int) -> str:
        if self._inbox is None:
            return f"tcp://{host}:{port}"
        return self._inbox.bind(room=None if self._way == "zmq-tcp" else room, host=host)

    def connect(self, addresses: Mapping[int, str]) -> None:
        if self._inbox is None:
            distributed.init_process_group("gloo", init_method=addresses[0], rank=self._rank, world_size=2)
        else:
            self._inbox.connect(addresses)

    def bounce(self, num_bytes: int) -> list[float]:
        """Seconds that a message takes one way, once for each round."""
        tensor, found = torch.zeros(num_bytes // 4), []
        for _ in range(ROUNDS + 1):
            begin = time.perf_counter()
            for number in range(repeats(num_bytes)):
                if self._rank == 0:
                    self._send(tensor, number)
                    self._receive(tensor, number)
                else:
                    self._receive(tensor, number)
                    self._send(tensor, number)
            found.append((time.perf_counter() - begin) / repeats(num_bytes) / 2)
        return found[1:]

    def close(self) -> None:
        if self._inbox is None:
            distributed.destroy_process_group()
        else:
            self._inbox.close()

    def _send(self, tensor: Tensor, number: int) -> None:
        if self._inbox is None:
            self._sending = distributed.isend(tensor, self._other, tag=number)
        else:
            self._inbox.send(self._other, Tag(0, "activations", number), [tensor])

    def _receive(self, like: Tensor, number: int) -> Tensor:
        if self._inbox is not None:
            return self._inbox.receive(self._other, Tag(0, "activations", number))[0]
        got = torch.empty_like(like)
        distributed.irecv(got, self._other, tag=number).wait()
        return got


class Bouncer:
    """Gives back the tensor that it gets: a call of Ray's for every message, and a reference in place of the tensor."""

    def make(self, num_bytes: int) -> Tensor:
        return torch.zeros(num_bytes // 4)

    def settle(self) -> None:
        _settle()

    def bounce(self, tensor: Tensor) -> Tensor:
        # What came from the store may not be written to; a stage would compute something new from it.
        return tensor

    def look(self, tensor: Tensor) -> int:
        return tensor.numel()


class DirectBouncer(Bouncer):
    """The same through Ray Direct Transport."""

    @ray.method(tensor_transport="gloo")
    def make(self, num_bytes: int) -> Tensor:
        return super().make(num_bytes)

    @ray.method(tensor_transport="gloo")
    def bounce(self, tensor: Tensor) -> Tensor:
        return tensor


def _settle() -> None:
    """Threads and memory as in a stage."""
    Device(torch.device("cpu"), threads=1).settle()


def measure(way: str, sizes: Sequence[int], *, address: str | None = None) -> dict[int, float]:
    """Median seconds one way between two actors, by the message's bytes; on the two nodes of the Ray at `address`."""
    if way == "zero-copy":
        os.environ["RAY_ENABLE_ZERO_COPY_TORCH_TENSORS"] = "1"
    if address is not None:
        os.environ["RAY_ADDRESS"] = address
    connect(num_cpus=2)
    found = (_resident if way in RESIDENT else _by_calls)(way, sizes)
    disconnect()
    return found


def _resident(way: str, sizes: Sequence[int]) -> dict[int, float]:
    keys, make = Keys.new(), ray.remote(End).options(num_cpus=1)
    ends: list[Any] = [make.remote(way, rank, keys) for rank in range(2)]
    room = f"motley-{secrets.token_hex(8)}"
    addresses = dict(enumerate(ray.get([end.bind.remote(room, "127.0.0.1", PORT) for end in ends], timeout=60)))
    ray.get([end.connect.remote(addresses) for end in ends], timeout=60)
    found = {n: median(ray.get([end.bounce.remote(n) for end in ends], timeout=300)[0]) for n in sizes}
    ray.get([end.close.remote() for end in ends], timeout=60)
    return found


def _by_calls(way: str, sizes: Sequence[int]) -> dict[int, float]:
    direct = way == "direct-transport"
    make = ray.remote(enable_tensor_transport=True)(DirectBouncer) if direct else ray.remote(Bouncer)
    # Of two nodes with one CPU each, each has one of them.
    ends: list[Any] = [make.options(num_cpus=1).remote() for _ in range(2)]
    ray.get([end.settle.remote() for end in ends], timeout=60)
    if direct:
        from ray.experimental.collective import create_collective_group

        create_collective_group(ends, backend="gloo")
    return {n: median([_chain(ends, n) for _ in range(ROUNDS + 1)][1:]) for n in sizes}


def _chain(ends: Sequence[Any], num_bytes: int) -> float:
    """All calls are on their way before the first one ends, so that none waits for the driver."""
    tensor = ends[0].make.remote(num_bytes)
    ray.get(ends[0].look.remote(tensor), timeout=60)
    hops = 2 * repeats(num_bytes)
    begin = time.perf_counter()
    for end in islice(cycle((ends[1], ends[0])), hops):
        tensor = end.bounce.remote(tensor)
    ray.get(ends[0].look.remote(tensor), timeout=300)
    return (time.perf_counter() - begin) / hops


def one_end(way: str, rank: int, folder: Path, host: str) -> dict[int, float]:
    """One of two ends that find each other by files in a private folder."""
    if rank == 0:
        keys = Keys.new()
        _write(folder / "keys", json.dumps([keys.public.decode(), keys.secret.decode()]))
    public, secret = json.loads(_read(folder / "keys"))
    end = End(way, rank, Keys(public.encode(), secret.encode()))
    _write(folder / str(rank), end.bind(folder.name, host, PORT))
    end.connect({other: _read(folder / str(other)) for other in range(2)})
    found = {n: median(end.bounce(n)) for n in SIZES}
    # Neither closes before the other has what it waits for.
    _write(folder / f"done-{rank}", "")
    _read(folder / f"done-{1 - rank}")
    end.close()
    return found


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _read(path: Path) -> str:
    deadline = time.monotonic() + 120
    while not path.exists():
        if time.monotonic() > deadline:
            sys.exit(f"{path.name} of the other end never came")
        time.sleep(0.01)
    return path.read_text(encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    way, *more = arguments
    run: Callable[[], dict[int, float]] = lambda: measure(way, SIZES, address=more[0] if more else None)  # noqa: E731
    if len(more) == 3:
        run = lambda: one_end(way, int(more[0]), Path(more[1]), more[2])  # noqa: E731
    print(json.dumps(run()))


if __name__ == "__main__":
    main(sys.argv[1:])
