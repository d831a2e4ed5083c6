"""A stage that only sleeps, and the actor round it: the executor and the transport are the real ones.

It drives more stages than there are cores, so that what is left over is what Motley itself costs.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
import torch
from torch import Tensor

from cluster.transport import Keys
from cluster.ways import Addresses, Ways
from pipelines.train.device import Device
from pipelines.train.events import StageReport, Update
from pipelines.train.executor import Executor, StepOrder


@dataclass(frozen=True)
class Sleeps:
    """What a stage does for a micro-batch."""

    forward: float
    """Seconds, like the next one."""
    backward: float
    floats: int
    """Values (float32) of a message, forwards and backwards."""


@dataclass(frozen=True)
class SleepingSpec:
    """What the executor reads of a stage's spec: one chunk, which trains and shares no parameter with others."""

    stage: int
    num_stages: int
    chunks: tuple[int, ...]
    stage_of: tuple[int, ...]
    last_chunk: int
    compress: str = "none"
    borrowed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    lent: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def trains(self, chunk: int) -> bool:
        del chunk
        return True


class _NothingShared:
    """Stands for what a stage shares with others."""

    def sum_places(self) -> None:
        """There are no places."""


class SleepingStage:
    """Stands for Stage: takes its time and hands on tensors of its size."""

    def __init__(self, stage: int, num_stages: int, sleeps: Sleeps) -> None:
        self.spec = SleepingSpec(stage, num_stages, (stage,), tuple(range(num_stages)), num_stages - 1)
        self.device = Device(torch.device("cpu"), threads=1)
        self.exchange = _NothingShared()
        self.pieces = None
        self._sleeps = sleeps
        self._made = torch.zeros(sleeps.floats)

    def forward(
        self,
        step: int,
        chunk: int,
        i: int,
        batch: Mapping[str, Tensor],
        received: Sequence[Tensor],
        target_weight: float,
    ) -> list[Tensor]:
        del step, i, batch, received, target_weight
        time.sleep(self._sleeps.forward)
        return [] if chunk == self.spec.last_chunk else [self._made]

    def backward(self, chunk: int, i: int, gradients: Sequence[Tensor]) -> list[Tensor]:
        del i, gradients
        time.sleep(self._sleeps.backward)
        return [] if chunk == 0 else [self._made]

    def weights(self, chunk: int, i: int) -> None:
        """Part of the backward's sleep."""

    def put_back(self) -> None:
        """Nothing is ever moved."""

    def add_penalties(self) -> tuple[float, ...]:
        return ()

    def squared_norms(self) -> list[float]:
        return [1.0]

    def update(self, step: int, norm: float) -> Update:
        del step
        return Update(norm)

    def rank_scores(self) -> None:
        return None

    def take_loss(self) -> float:
        return 0.0


class SleepingShell:
    """Holds one such stage, as StageShell holds a real one."""

    def __init__(self, stage: int, num_stages: int, sleeps: Sleeps, keys: Keys, timeout: float) -> None:
        torch.set_num_threads(1)
        self._transport = Ways(stage, keys=keys, timeout=timeout)
        self._executor = Executor(SleepingStage(stage, num_stages, sleeps), self._transport)  # type: ignore[arg-type]

    def bind(self, room: str) -> Addresses:
        return self._transport.bind(node="here", room=room, host=None)

    def connect(self, addresses: Mapping[int, Addresses]) -> None:
        self._transport.connect(addresses)

    def run_step(self, order: StepOrder, num_micro_batches: int) -> StageReport:
        return self._executor.run(order, [{}] * num_micro_batches)

    def cpu_seconds(self) -> float:
        """What this process took of the processors so far, all of its threads together."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def own_memory(self) -> int:
        """Bytes that this process shares with no other."""
        with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
            return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    def close(self) -> None:
        self._transport.close()


# Any: which options and methods a remote class has is known to Ray, not to the type checker.
SleepingActor: Any = ray.remote(SleepingShell)
