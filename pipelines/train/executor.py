"""Runs one stage's list of actions. Knows neither Ray nor any schedule by name."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.adapt.ranks import threshold
from pipelines.plan.actions import Action
from pipelines.train.client import Client
from pipelines.train.compress import compress, restore
from pipelines.train.events import Event, Kind, StageReport, Update
from pipelines.train.inquiry import Inquiry
from pipelines.train.owned import global_norm
from pipelines.train.poison import Poison
from pipelines.train.stage import Stage
from pipelines.train.transport import Tag, Transport, Want, What

Batch = Mapping[str, Tensor]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WaveOrder:
    """One of the waves of a step, for parameter servers to put together."""

    number: int
    num_waves: int
    first: int
    """The number of its first micro-batch within the step; actions and messages bear these numbers."""
    version: int
    """The weights must have had so many updates at least."""


@dataclass(frozen=True, slots=True)
class StepOrder:
    """The one message that the driver sends a stage for a step."""

    step: int
    actions: tuple[Action, ...]
    target_weight: float
    """What the valid targets of the whole step, over all micro-batches, weigh together: the loss is divided by it."""
    wave: WaveOrder | None = None
    """Which part of the step it is, where parameter servers own the weights."""
    rounds: int = 1
    """How often the actions run the micro-batches; their numbers go on from one round to the next. Before each further
    round the table of embeddings is moved (pipelines/train/adversarial.py)."""


class Executor:
    """Joins a stage to its neighbours."""

    def __init__(self, stage: Stage, transport: Transport) -> None:
        self._stage, self._transport = stage, transport
        self._j, self._num_stages = stage.spec.stage, stage.spec.num_stages
        self._client = None if stage.pieces is None else Client(stage, transport)
        self._handed: dict[Tag, list[Tensor]] = {}
        """What one chunk of this stage left for another one of it."""
        self._compress = stage.spec.compress
        self._error: float | None = None
        """The largest of this step's compressed messages."""
        self._inquiry = Inquiry(stage, self._take, self._pass_on)
        self._gets_gradients = {chunk for chunk in stage.spec.chunks if stage.spec.trains(chunk)}

    def run(self, order: StepOrder, batches: Sequence[Batch]) -> StageReport:
        """Run one step.

        Args:
            batches: the step's micro-batches; labels may be missing where the last chunk is not.

        Raises:
            TimeoutError: a neighbour did not send in time.
        """
        try:
            return self._supplied(self.step(order, batches))
        finally:
            # Of a step that was interrupted between its rounds.
            self._stage.put_back()

    def step(self, order: StepOrder, batches: Sequence[Batch]) -> Generator[Want, list[Tensor], StageReport]:
        """One step that stops at every message it waits for, and goes on when it is given it."""
        stage, events, sent, done = self._stage, [], 0, Update(0.0)
        self._error = None
        squares: list[float] = []
        penalties: tuple[float, ...] = ()
        poison: Poison | None = None
        losses: list[float] = []
        unfinished, rounds_left = set(stage.spec.chunks), order.rounds
        first = 0
        if self._client is not None:
            assert order.wave is not None
            first = order.wave.first
            yield from self._client.renew(order.step, order.wave.number, order.wave.version)
        for action in order.actions:
            chunk, i = action.chunk, action.micro_batch
            # The stage knows no rounds: one begins on it when the one before is done.
            own = first if i is None else first + (i - first) % len(batches)
            tensors: list[Tensor] = []
            if action.kind == "forward":
                assert i is not None
                received = yield from self._take(chunk - 1, Tag(order.step, "activations", i, chunk))
                start = stage.device.now()
                tensors = stage.forward(order.step, chunk, own, batches[own - first], received, order.target_weight)
            elif action.kind == "backward":
                assert i is not None
                waits = chunk in self._gets_gradients
                received = (yield from self._take(chunk + 1, Tag(order.step, "gradients", i, chunk))) if waits else []
                start = stage.device.now()
                tensors = stage.backward(chunk, own, received)
            elif action.kind == "weights":
                start = stage.device.now()
                stage.weights(chunk, own)
                if own == first + len(batches) - 1:
                    unfinished.discard(chunk)
                    if not unfinished and rounds_left > 1:
                        losses += self._losses()
                        unfinished, rounds_left = set(stage.spec.chunks), rounds_left - 1
                        stage.move()
                    elif not unfinished:
                        stage.put_back()
                        yield from self._sum_shared(order.step)
                        penalties = stage.add_penalties()
                        squares = stage.squared_norms()
            elif self._client is not None:
                assert order.wave is not None
                start = stage.device.now()
                sent += self._client.push(order.step, order.wave.number, order.wave.num_waves)
            else:
                norm = yield from self._agree(order.step, squares)
                if stage.is_poisoned(norm):
                    poison = yield from self._inquire(order, batches)
                start = stage.device.now()
                done = stage.update(order.step, norm)
                yield from self._renew_shared(order.step)
                yield from self._allot(order.step)
            stage.device.wait(since=start)
            events.append(Event(action.kind, i, start.wall, time.time(), chunk))
            if tensors:
                assert i is not None
                sent += self._pass_on(action.kind, order.step, i, chunk, tensors)
        if self._client is not None and stage.is_poisoned((yield from self._agree(order.step, squares))):
            # Only now: who has sent its gradients waits for the others of its replica in any case.
            poison = yield from self._inquire(order, batches)
        losses += self._losses()
        return StageReport(
            stage=self._j,
            step=order.step,
            events=tuple(events),
            loss=losses[0] if losses else None,
            # Of a poisoned step it is what the inquiry found with nothing moved.
            adversarial_loss=losses[1] if len(losses) > 1 and poison is None else None,
            grad_norm=done.grad_norm,
            bytes_sent=sent,
            penalties=penalties,
            loss_scale=done.loss_scale,
            skipped=done.skipped,
            poison=poison,
            compression_error=self._error,
        )

    def evaluate(self, call: int, batches: Sequence[Batch]) -> list[list[npt.NDArray[np.int32]]]:
        """Forward only; for each micro-batch the answers, row by row, where the last chunk is (nothing elsewhere).

        Args:
            call: a number that no other message bears, negative so that it is no step's.
        """
        answers = []
        spec = self._stage.spec
        # As many micro-batches go to the first of its chunks, before any goes to the next, as keep all stages busy.
        for first in range(0, len(batches), self._num_stages):
            together = range(first, min(first + self._num_stages, len(batches)))
            for chunk, i in product(spec.chunks, together):
                taking = self._take(chunk - 1, Tag(call, "activations", i, chunk))
                result = self._stage.evaluate(chunk, batches[i], self._supplied(taking))
                if chunk == spec.last_chunk:
                    answers.append(result)
                else:
                    self._pass_on("forward", call, i, chunk, result)
        return answers

    def renew(self, version: int) -> None:
        """Get the weights after `version` updates from the parameter servers, when no step runs."""
        assert self._client is not None
        self._supplied(self._client.renew(version, -1, version))

    def _losses(self) -> list[float]:
        """What the loss came to in this round, where the last chunk is."""
        return [self._stage.take_loss()] if self._stage.spec.last_chunk in self._stage.spec.chunks else []

    def _supplied(self, asking: Generator[Want, list[Tensor], Result]) -> Result:
        """What comes of `asking` when it gets every message that it waits for."""
        try:
            wanted = next(asking)
            while True:
                wanted = asking.send(self._transport.receive(*wanted))
        except StopIteration as end:
            result: Result = end.value
            return result

    def _take(self, giver: int, tag: Tag) -> Generator[Want, list[Tensor], list[Tensor]]:
        """What chunk `giver` left for the chunk of the tag; nothing where the model has no such chunk."""
        spec = self._stage.spec
        if not 0 <= giver <= spec.last_chunk:
            return []
        if spec.stage_of[giver] == self._j:
            return self._handed.pop(tag)
        message = yield spec.stage_of[giver], tag
        return message if self._compress == "none" else restore(message, self._compress)

    def _pass_on(self, kind: Kind, step: int, i: int, chunk: int, tensors: Sequence[Tensor]) -> int:
        """Give the next chunk its activations, or the one before its gradients; returns the bytes that were sent."""
        what: What
        what, taker = ("activations", chunk + 1) if kind == "forward" else ("gradients", chunk - 1)
        tag = Tag(step, what, i, taker)
        stage = self._stage.spec.stage_of[taker]
        if stage == self._j:
            # Copies, as from another process: a model may change in place what it is given.
            self._handed[tag] = [tensor.detach().clone() for tensor in tensors]
            return 0
        if self._compress != "none":
            may_lose = [tensor.requires_grad or what == "gradients" for tensor in tensors]
            tensors, error = compress(tensors, may_lose, self._compress)
            self._error = max(error, self._error or 0.0)
        return self._transport.send(stage, tag, [self._stage.device.give(tensor) for tensor in tensors])

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

    def _inquire(self, order: StepOrder, batches: Sequence[Batch]) -> Generator[Want, list[Tensor], Poison]:
        """Where the step's first number came from that is not finite."""
        first = 0 if order.wave is None else order.wave.first
        own = {action.micro_batch for action in order.actions if action.kind == "forward"}
        # Those of the first round: nothing is moved any more.
        numbered = {i: batches[i - first] for i in own if i is not None and i - first < len(batches)}
        return (yield from self._inquiry.run(order.step, order.target_weight, numbered))

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
        """The global norm: stage 0, where the last backward ends, gathers and tells."""
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
