"""Runs one stage's list of actions. Knows neither Ray nor any schedule by name."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.adapt.ranks import threshold
from pipelines.plan.actions import Action
from pipelines.train.events import Event, StageReport, Update
from pipelines.train.stage import Stage, global_norm
from pipelines.train.transport import Tag, Transport

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class StepOrder:
    """The one message that the driver sends a stage for a step."""

    step: int
    actions: tuple[Action, ...]
    target_weight: float
    """What the valid targets of the whole step, over all micro-batches, weigh together: the loss is divided by it."""


Want = tuple[int, Tag]
"""A message that a stage waits for, and from which stage."""


class Executor:
    """Joins a stage to its neighbours."""

    def __init__(self, stage: Stage, transport: Transport) -> None:
        self._stage, self._transport = stage, transport
        self._j, self._num_stages = stage.spec.stage, stage.spec.num_stages
        self._gets_gradients = not stage.is_last and stage.spec.trains

    def run(self, order: StepOrder, batches: Sequence[Batch]) -> StageReport:
        """Run one step.

        Args:
            batches: the step's micro-batches; labels may be missing on all but the last stage.

        Raises:
            TimeoutError: a neighbour did not send in time.
            FloatingPointError: the gradients are not finite; nothing was changed.
        """
        step = self.step(order, batches)
        try:
            wanted = next(step)
            while True:
                wanted = step.send(self._transport.receive(*wanted))
        except StopIteration as end:
            report: StageReport = end.value
            return report

    def step(self, order: StepOrder, batches: Sequence[Batch]) -> Generator[Want, list[Tensor], StageReport]:
        """One step that stops at every message it waits for, and goes on when it is given it."""
        stage, events, sent, done = self._stage, [], 0, Update(0.0)
        squares: list[float] = []
        penalties: tuple[float, ...] = ()
        for action in order.actions:
            i = action.micro_batch
            tensors: list[Tensor] = []
            if action.kind == "forward":
                assert i is not None
                received = [] if stage.is_first else (yield self._wants(-1, order.step, i))
                start = time.time()
                tensors = stage.forward(order.step, i, batches[i], received, order.target_weight)
            elif action.kind == "backward":
                assert i is not None
                received = (yield self._wants(+1, order.step, i)) if self._gets_gradients else []
                start = time.time()
                tensors = stage.backward(i, received)
            elif action.kind == "weights":
                assert i is not None
                start = time.time()
                stage.weights(i)
                if i == len(batches) - 1:
                    yield from self._sum_shared(order.step)
                    penalties = stage.add_penalties()
                    squares = stage.squared_norms()
            else:
                norm = yield from self._agree(order.step, squares)
                start = time.time()
                done = stage.update(order.step, norm)
                yield from self._renew_shared(order.step)
                yield from self._allot(order.step)
            stage.device.wait()
            events.append(Event(action.kind, i, start, time.time()))
            if tensors:
                assert i is not None
                sent += self._send(+1 if action.kind == "forward" else -1, order.step, i, tensors)
        loss = stage.take_loss() if stage.is_last else None
        return StageReport(
            self._j, order.step, tuple(events), loss, done.grad_norm, sent, penalties, done.loss_scale, done.skipped
        )

    def evaluate(self, call: int, batches: Sequence[Batch]) -> list[list[npt.NDArray[np.int32]]]:
        """Forward only; for each micro-batch the answers, row by row, from the last stage (nothing from others).

        Args:
            call: a number that no other message bears, negative so that it is no step's.
        """
        answers = []
        for i, batch in enumerate(batches):
            received = [] if self._stage.is_first else self._transport.receive(*self._wants(-1, call, i))
            result = self._stage.evaluate(batch, received)
            if self._stage.is_last:
                answers.append(result)
            else:
                self._send(+1, call, i, result)
        return answers

    def _wants(self, side: int, step: int, i: int) -> Want:
        return self._j + side, Tag(step, "activations" if side < 0 else "gradients", i)

    def _send(self, side: int, step: int, i: int, tensors: Sequence[Tensor]) -> int:
        return self._transport.send(self._j + side, Tag(step, "activations" if side > 0 else "gradients", i), tensors)

    def _sum_shared(self, step: int) -> Generator[Want, list[Tensor], None]:
        """Gradients of shared parameters go to their owner, which adds them."""
        tag = Tag(step, "shared gradients")
        for owner in self._stage.spec.borrowed:
            self._transport.send(owner, tag, self._stage.exchange.borrowed_gradients(owner))
        for borrower in self._stage.spec.lent:
            self._stage.exchange.hold_gradients(borrower, (yield borrower, tag))
        self._stage.exchange.sum_places()

    def _renew_shared(self, step: int) -> Generator[Want, list[Tensor], None]:
        """Shared parameters come back from their owner as the update left them."""
        tag = Tag(step, "shared weights")
        for borrower in self._stage.spec.lent:
            self._transport.send(borrower, tag, self._stage.exchange.lent_weights(borrower))
        for owner in self._stage.spec.borrowed:
            self._stage.exchange.take_weights(owner, (yield owner, tag))

    def _allot(self, step: int) -> Generator[Want, list[Tensor], None]:
        """AdaLoRA's budget: stage 0 gathers the scores of all triplets and tells below which they are masked."""
        scores = self._stage.rank_scores()
        if scores is None:
            return
        others = range(1, self._num_stages)
        if self._j != 0:
            self._transport.send(0, Tag(step, "scores"), scores)
            lowest = (yield 0, Tag(step, "threshold"))[0]
        else:
            for k in others:
                scores = [*scores, *(yield k, Tag(step, "scores"))]
            lowest = torch.tensor(threshold(scores, self._stage.num_masked(step)), dtype=torch.float64)
            for k in others:
                self._transport.send(k, Tag(step, "threshold"), [lowest])
        self._stage.mask_ranks(step, float(lowest))

    def _agree(self, step: int, squares: Sequence[float]) -> Generator[Want, list[Tensor], float]:
        """The global norm: stage 0, which is the last to finish its backwards, gathers and tells."""
        mine = torch.tensor(squares, dtype=torch.float64)
        others = range(1, self._num_stages)
        if self._j != 0:
            self._transport.send(0, Tag(step, "norms"), [mine])
            return float((yield 0, Tag(step, "norm"))[0])
        gathered = [mine]
        for k in others:
            gathered += yield k, Tag(step, "norms")
        norm = global_norm(value for part in gathered for value in part.tolist())
        for k in others:
            self._transport.send(k, Tag(step, "norm"), [torch.tensor(norm, dtype=torch.float64)])
        return norm
