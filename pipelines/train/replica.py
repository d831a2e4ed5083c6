"""A whole model on one worker of several: torch's DistributedDataParallel sums its gradients with the others'.

    worker 0   F0 B0  F2 B2* |update      * the worker's last backward of the step: gradients go round while
    worker 1   F1 B1  F3 B3* |update        it still runs, bucket by bucket

Everything else is the stage's: losses, clipping, optimizer, state. After its last backward each worker holds the
same gradients, so all update alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.model.cut import Chunk, Cut
from pipelines.tasks.head import Head, LossSum
from pipelines.train.device import Device
from pipelines.train.randomness import Stream
from pipelines.train.specs import StageSpec
from pipelines.train.stage import Stage


class Replica(Stage):
    """A stage that holds all units, one of `num_workers` that do; torch.distributed must be set up."""

    def __init__(self, spec: StageSpec, device: Device, *, num_workers: int) -> None:
        super().__init__(spec, device, at_once=True)
        assert spec.num_stages == 1, "a worker holds the whole model"
        self._num_workers = num_workers
        self._last = 0
        self.bytes_shared = 0
        """Bytes of the gradients that went round in the last step."""
        whole = _Whole(self._cut, self._chunks[0], spec.head, self.loss_sum, device, spec.train.precision)
        for module in self._cut.model.modules():
            if isinstance(module, nn.Embedding) and device.kind.type == "cuda":
                # NCCL sums no sparse gradients.
                module.sparse = False
        self._shared = DistributedDataParallel(
            whole,
            # All workers are given the same weights, and buffers that training changes are refused.
            init_sync=False,
            forward_sync_buffers=False,
            # A micro-batch may leave parameters out (experts, for example).
            find_unused_parameters=True,
        )

    def expect(self, last: int) -> None:
        """Micro-batch `last` is this worker's last one of the step: its backward brings the gradients together."""
        self._last = last

    def forward(
        self,
        step: int,
        chunk: int,
        i: int,
        batch: Mapping[str, Tensor],
        received: Sequence[Tensor],
        target_weight: float,
    ) -> list[Tensor]:
        """As a stage's. DistributedDataParallel takes the mean over workers where a sum is due."""
        del received
        self._mode(training=True)
        here = self._here(batch)
        stream = Stream(self.spec.seed, step, i, self.device.kind)
        with nullcontext() if i == self._last else self._shared.no_sync():
            loss = self._shared(here, stream) / target_weight
        self._losses[i] = loss.detach()
        self._waiting[chunk, i] = ([], [self.source(loss * self._num_workers)])
        return []

    def backward(self, chunk: int, i: int, gradients: Sequence[Tensor]) -> list[Tensor]:
        """As a stage's; that of the last micro-batch ends when the gradients are those of all workers."""
        taken = super().backward(chunk, i, gradients)
        if i == self._last:
            self.bytes_shared = sum(_size(p.grad) for p in self._cut.model.parameters() if p.grad is not None)
        return taken


class _Whole(nn.Module):
    """The model up to the loss: whatever else it answers with is no reason to wait for a gradient."""

    def __init__(self, cut: Cut, chunk: Chunk, head: Head, loss_sum: LossSum, device: Device, precision: str) -> None:
        super().__init__()
        self.model = cut.model
        self._cut, self._chunk, self._head, self._device, self._precision = cut, chunk, head, device, precision
        self._loss_sum = loss_sum

    def forward(self, batch: Mapping[str, Tensor], stream: Stream) -> Tensor:
        with self._device.precision(self._precision):
            output: Any = self._cut.run(self._chunk, self._head.inputs(batch), [], stream)
        return self._loss_sum(output, batch)


def _size(gradient: Tensor) -> int:
    if gradient.layout == torch.sparse_coo:
        return gradient._values().nbytes + gradient._indices().nbytes
    return gradient.nbytes
