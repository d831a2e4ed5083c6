"""Runs one stage's list of actions. Knows neither Ray nor any schedule by name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.plan.schedule import Action
from pipelines.train.events import Event, StageReport
from pipelines.train.stage import Stage, global_norm
from pipelines.train.transport import Tag, Transport

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class StepOrder:
    """The one message that the driver sends a stage for a step."""

    step: int
    actions: tuple[Action, ...]
    num_targets: int
    """Valid targets of the whole step, over all micro-batches: what the loss is divided by."""


class Executor:
    """Joins a stage to its neighbours."""

    def __init__(self, stage: Stage, transport: Transport) -> None:
        self._stage, self._transport = stage, transport
        self._j, self._num_stages = stage.spec.stage, stage.spec.num_stages

    def run(self, order: StepOrder, batches: Sequence[Batch]) -> StageReport:
        """Run one step.

        Args:
            batches: the step's micro-batches; labels may be missing on all but the last stage.

        Raises:
            TimeoutError: a neighbour did not send in time.
            FloatingPointError: the gradients are not finite; nothing was changed.
        """
        stage, events, sent, norm = self._stage, [], 0, 0.0
        squares: list[float] = []
        for action in order.actions:
            i = action.micro_batch
            tensors: list[Tensor] = []
            if action.kind == "forward":
                assert i is not None
                received = [] if stage.is_first else self._receive(-1, order.step, i)
                start = time.time()
                tensors = stage.forward(order.step, i, batches[i], received, order.num_targets)
            elif action.kind == "backward":
                assert i is not None
                received = [] if stage.is_last else self._receive(+1, order.step, i)
                start = time.time()
                tensors = stage.backward(i, received)
            elif action.kind == "weights":
                assert i is not None
                start = time.time()
                stage.weights(i)
                if i == len(batches) - 1:
                    squares = stage.squared_norms()
            else:
                norm = self._agree(order.step, squares)
                start = time.time()
                stage.update(order.step, norm)
            stage.device.wait()
            events.append(Event(action.kind, i, start, time.time()))
            if tensors:
                assert i is not None
                sent += self._send(+1 if action.kind == "forward" else -1, order.step, i, tensors)
        loss = stage.take_loss() if stage.is_last else None
        return StageReport(self._j, order.step, tuple(events), loss, norm, sent)

    def evaluate(self, call: int, batches: Sequence[Batch]) -> list[list[npt.NDArray[np.int32]]]:
        """Forward only; for each micro-batch the answers, row by row, from the last stage (nothing from others).

        Args:
            call: a number that no other message bears, negative so that it is no step's.
        """
        answers = []
        for i, batch in enumerate(batches):
            received = [] if self._stage.is_first else self._receive(-1, call, i)
            result = self._stage.evaluate(batch, received)
            if self._stage.is_last:
                answers.append(result)
            else:
                self._send(+1, call, i, result)
        return answers

    def _receive(self, side: int, step: int, i: int) -> list[Tensor]:
        return self._transport.receive(self._j + side, Tag(step, "activations" if side < 0 else "gradients", i))

    def _send(self, side: int, step: int, i: int, tensors: Sequence[Tensor]) -> int:
        return self._transport.send(self._j + side, Tag(step, "activations" if side > 0 else "gradients", i), tensors)

    def _agree(self, step: int, squares: Sequence[float]) -> float:
        """The global norm: stage 0, which is the last to finish its backwards, gathers and tells."""
        mine = torch.tensor(squares, dtype=torch.float64)
        others = range(1, self._num_stages)
        if self._j != 0:
            self._transport.send(0, Tag(step, "norms"), [mine])
            return float(self._transport.receive(0, Tag(step, "norm"))[0])
        gathered = [mine, *(self._transport.receive(k, Tag(step, "norms"))[0] for k in others)]
        norm = global_norm(value for part in gathered for value in part.tolist())
        for k in others:
            self._transport.send(k, Tag(step, "norm"), [torch.tensor(norm, dtype=torch.float64)])
        return norm
