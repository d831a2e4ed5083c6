"""The same work again and again, to see how devices of one node slow each other."""

from __future__ import annotations

import time
from collections.abc import Mapping

from torch import Tensor

from pipelines.plan.measured import Shape
from pipelines.train.device import Device
from pipelines.train.measure import gradients_for
from pipelines.train.stage import Stage
from pipelines.train.subject import Subject, sized

UNITS = 3
"""Of the model's beginning: as a rule the embeddings and both halves of a block."""


class Effort:
    """A stage with the first units of a model, which runs forward and backward."""

    def __init__(self, subject: Subject, device: Device, example: Mapping[str, Tensor], shape: Shape) -> None:
        count = min(UNITS, len(subject.units))
        bounds = sorted({0, count, len(subject.units)})
        self._stage = Stage(subject.spec(bounds, [0, 1][: len(bounds) - 1]), device)
        subject.fill(self._stage)
        self._device, self._batch = device, sized(example, shape)
        self._once()

    def rate(self, begin: float, seconds: float) -> float:
        """Passes a second over so many seconds from `begin`, which is a time of this node's clock.

        Others begin then too; who comes late measures what is left.
        """
        while time.time() < begin:
            pass
        start, count = time.perf_counter(), 0
        end = start + max(0.1, begin + seconds - time.time())
        while time.perf_counter() < end:
            self._once()
            count += 1
        return count / (time.perf_counter() - start)

    def _once(self) -> None:
        start = self._device.now()
        sent = self._stage.forward(0, 0, 0, self._batch, [], 1.0)
        self._stage.backward(0, 0, gradients_for(self._stage, 0, sent))
        self._stage.weights(0, 0)
        self._stage.forget_gradients()
        self._device.wait(since=start)
