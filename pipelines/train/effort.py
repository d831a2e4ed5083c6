"""The same work again and again, to see how devices of one node slow each other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from torch import Tensor

from pipelines.plan.measured import Shape
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.schedules import make_schedule
from pipelines.train.device import Device
from pipelines.train.measure import gradients_for
from pipelines.train.stage import Stage
from pipelines.train.subject import Subject, sized


class Effort:
    """A stage with the first half of a model, which runs a step's micro-batches and fills caches as a real one does."""

    def __init__(
        self,
        subject: Subject,
        device: Device,
        example: Mapping[str, Tensor],
        shapes: Sequence[Shape],
        *,
        memory: float,
    ) -> None:
        """
        Args:
            shapes: of the step's micro-batches.
            memory: bytes that the stage may fill; fewer units are taken where half of them is too much.
        """
        sizes = [subject.likely_bytes(n) for n in range(len(subject.units))]
        count = max(1, len(sizes) // 2)
        while count > 1 and sum(sizes[:count]) > memory:
            count -= 1
        bounds = sorted({0, count, len(sizes)})
        self._stage = Stage(subject.spec(bounds, [0, 1][: len(bounds) - 1]), device)
        subject.fill(self._stage)
        self._device = device
        self._batches = [sized(example, shape) for shape in shapes]
        self._sizes = [shape.rows * shape.width for shape in shapes]
        start = time.perf_counter()
        self._step(start, math.inf)
        self.seconds = time.perf_counter() - start
        """Of the step, alone and for the first time."""

    def rate(self, begin: float, seconds: float) -> float:
        """Sub-words a second, for so many seconds from `begin`, which is a time of this node's clock.

        Others begin then too; who comes late measures what is left.
        """
        while time.time() < begin:
            pass
        start = last = time.perf_counter()
        end = start + max(0.1, begin + seconds - time.time())
        work = 0
        while last < end:
            done, last = self._step(last, end)
            work += done
            if not done:
                break
        return work / (last - start) if work else 0.0

    def _step(self, now: float, end: float) -> tuple[int, float]:
        """All of the step but its update; returns the sub-words that actions worked on before `end`, and until when.

        What begins after that is run as well, so that the next step finds nothing left, but it is not counted.
        """
        work = counted = 0
        last = now
        gradients: dict[int, list[Tensor]] = {}
        (actions,) = make_schedule("1f1b", Pipeline((0,)), len(self._batches))
        for action in actions:
            i = action.micro_batch
            if i is None:
                continue
            start, size = self._device.now(), self._sizes[i]
            if action.kind == "forward":
                sent = self._stage.forward(0, 0, i, self._batches[i], [], 1.0)
                gradients[i] = gradients_for(self._stage, 0, sent)
            elif action.kind == "backward":
                self._stage.backward(0, i, gradients.pop(i))
            else:
                self._stage.weights(0, i)
                size, counted = sum(self._sizes[counted : i + 1]), i + 1
            self._device.wait(since=start)
            if now < end:
                now = last = time.perf_counter()
                work += size
        self._stage.forget_gradients()
        return work, last
