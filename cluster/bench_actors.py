"""Actors that measure: what units take on a device, and what messages take between two nodes."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import ray
import torch
from torch import Tensor

from cluster.devices import slowdown_here
from cluster.transport import Keys, ZmqTransport
from cluster.ways import near
from pipelines.plan.corrected import Rehearsed
from pipelines.plan.measured import Shape
from pipelines.train.device import Device
from pipelines.train.effort import Effort
from pipelines.train.measure import Bench, Found
from pipelines.train.rehearse import rehearse
from pipelines.train.subject import Subject
from pipelines.train.transport import Tag


class BenchShell:
    """Measures on the device that Ray assigned to it."""

    def __init__(self, threads: int) -> None:
        gpus = [str(i) for i in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
        self._device = replace(Device.assigned(gpus, threads), slowdown=slowdown_here())
        self._effort: Effort | None = None
        self._parts: Generator[None, None, Found] | None = None

    def base(self) -> int:
        """Bytes of the host that this process takes before it has a model."""
        return self._device.peak().host

    def begin(
        self,
        subject: Subject,
        example: Mapping[str, Tensor],
        shapes: Sequence[Shape],
        steps: Sequence[Sequence[Shape]],
        memory: int,
    ) -> int:
        """Get ready to measure a model; returns in how many parts. Arguments as of pipelines/train/measure.py."""
        bench = Bench(subject, self._device, example, shapes, memory=memory, steps=steps)
        self._parts = bench.run()
        return bench.num_parts

    def measure_part(self) -> Found | None:
        """Measure the next part; what was found when all parts are done."""
        assert self._parts is not None
        try:
            next(self._parts)
        except StopIteration as end:
            found: Found = end.value
            return found
        return None

    def rehearse(
        self, subject: Subject, example: Mapping[str, Tensor], steps: Sequence[Sequence[Shape]]
    ) -> list[Rehearsed]:
        """Whole steps of a model that is known. Arguments as of pipelines/train/rehearse.py."""
        return rehearse(subject, self._device, example, steps)

    def make_effort(
        self, subject: Subject, example: Mapping[str, Tensor], shapes: Sequence[Shape], memory: float
    ) -> float:
        """Get ready to work beside others; returns the seconds of a step. Arguments as of pipelines/train/effort.py."""
        self._effort = Effort(subject, self._device, example, shapes, memory=memory)
        return self._effort.seconds

    def clock(self) -> float:
        return time.time()

    def rate(self, begin: float, seconds: float) -> float:
        assert self._effort is not None
        return self._effort.rate(begin, seconds)


@dataclass(frozen=True, slots=True)
class Way:
    """What messages take in one direction."""

    latency: float
    """Seconds of one without tensors."""
    bandwidth: float
    """Bytes a second."""


SMALL, LARGE = 64, 8
"""Round trips with nothing in them, and with this many bytes there."""
BYTES = 4 * 2**20


class LinkShell:
    """One end of a way between two nodes. End 0 asks and end 1 answers."""

    def __init__(self, end: int, timeout: float) -> None:
        self._end, self._timeout = end, timeout

    def bind(self, keys: Keys, room: str | None) -> str:
        """Listen as stages do: in a folder where both are on one node."""
        make = ZmqTransport if room is None else near
        self._transport = make(self._end, keys=keys, timeout=self._timeout)
        return self._transport.bind(room=room, host=ray.util.get_node_ip_address())

    def run(self, other: str) -> Way | None:
        """Send to and fro; end 0 tells what it took."""
        self._transport.connect({1 - self._end: other})
        try:
            if self._end == 1:
                for k in range(1 + SMALL + LARGE):
                    self._transport.receive(0, Tag(k, "activations"))
                    self._transport.send(0, Tag(k, "gradients"), [])
                return None
            body = torch.zeros(BYTES, dtype=torch.uint8)
            seconds = [self._there_and_back(k, [body] if k > SMALL else []) for k in range(1 + SMALL + LARGE)]
        finally:
            if self._end == 0:
                self._transport.close()
        latency = median(seconds[1 : 1 + SMALL]) / 2
        large = median(seconds[1 + SMALL :]) - 2 * latency
        return Way(latency, BYTES / max(large, 1e-9))

    def close(self) -> None:
        """End 1 stays until end 0 has all answers."""
        self._transport.close()

    def _there_and_back(self, k: int, tensors: Sequence[Tensor]) -> float:
        start = time.perf_counter()
        self._transport.send(1, Tag(k, "activations"), tensors)
        self._transport.receive(1, Tag(k, "gradients"))
        return time.perf_counter() - start


# Any: which options and methods a remote class has is known to Ray, not to the type checker.
BenchActor: Any = ray.remote(BenchShell)
LinkActor: Any = ray.remote(LinkShell)
