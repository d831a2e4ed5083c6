"""One worker of a data parallel run: the loop that Ray Train runs on each of them.

Every worker knows all steps and which micro-batches are its own; it fetches their rows from the data shards, and
meets the others in its last backward of the step. What it has to tell goes to the desk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from torch import Tensor

from cluster.actors import Seat
from cluster.data_crew import DataCrew, Refs
from cluster.desk import Answered, Failed, Message, Noted, Saved, Started, Stepped
from cluster.devices import slowdown_here
from pipelines.config import Config
from pipelines.data.batches import MicroBatch, Step, epoch_steps, evaluation_batches
from pipelines.data.pack import merge
from pipelines.errors import UserError
from pipelines.plan.actions import Action
from pipelines.plan.deal import deal
from pipelines.train.checkpoint_choose import choose
from pipelines.train.checkpoint_write import save_checkpoint
from pipelines.train.device import Device
from pipelines.train.executor import Executor, StepOrder
from pipelines.train.legs import legs
from pipelines.train.pieces import pieces
from pipelines.train.poison import LONGEST, Poison, Tolerance, first_of, told
from pipelines.train.replica import Replica
from pipelines.train.specs import StageSpec, held
from pipelines.train.transport import Tag

State = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Weights, and the optimizer's state."""

GROUP = 16
"""Micro-batches that are evaluated with rows fetched at once."""


@dataclass(frozen=True, slots=True)
class Errand:
    """All that a worker must know. References and actors travel as they are."""

    config: Config
    folder: Path
    """Of the run, on a file system that all workers' nodes share."""
    spec: StageSpec
    threads: int | None
    """Of a worker's CPU kernels; as many as CPUs when None."""
    padding: Mapping[str, float]
    state: ray.ObjectRef[State]
    """What to begin with; among the weights those that are not trained, and buffers."""
    first_step: int
    lengths: Mapping[str, Sequence[int]]
    """Of every split's rows, in sub-words."""
    target_weights: Sequence[float]
    """Of the training rows."""
    steps_per_epoch: int
    facts: Mapping[str, Any]
    """What a run that goes on from a checkpoint must have in common with this one."""
    data: DataCrew
    desk: Any


def work(given: Mapping[str, Errand]) -> None:
    """What Ray Train calls on every worker, from the start or, after a loss, from the last checkpoint."""
    errand = given["errand"]
    try:
        Worker(errand).run()
    except (UserError, FloatingPointError) as error:
        # Nothing that another try would mend: the driver ends the run.
        ray.get(errand.desk.tell.remote(Failed(error)))
        raise


class Worker:
    """One of `num_workers`, with the whole model."""

    def __init__(self, errand: Errand) -> None:
        context = ray.train.get_context()
        self._number, self._num_workers = context.get_world_rank(), context.get_world_size()
        self._errand, self._train = errand, errand.config.train
        self._tolerance = Tolerance(self._train)
        plan = errand.config.plan
        threads = errand.threads or max(1, int(plan.cpus_per_stage))
        # Ray Train lets each worker see all GPUs of its node, and says which one is its own, be it there or not.
        kind = ray.train.torch.get_device() if torch.cuda.is_available() else torch.device("cpu")
        device = Device(kind, threads, slowdown_here())
        replica = Replica(errand.spec, device, num_workers=self._num_workers)
        self._stop = False
        self._told: ray.ObjectRef[bool] | None = None
        self._done = self._load(replica)
        self._replica, self._executor = replica, Executor(replica, _Nobody())
        pretended = plan.devices == "gpu" and device.kind.type == "cpu"
        note = " in place of a GPU, which Ray assigned but this node has not" if pretended else ""
        self._meter = device.meter()
        here = ray.get_runtime_context().get_node_id()
        seat = Seat(here, ray.util.get_node_ip_address(), f"{device}{note}", device.gpu)
        self._tell(Started(self._number, self._num_workers, seat, self._done))

    def run(self) -> None:
        """Train to the last step, evaluate and save on the way; or to a checkpoint, if a stop is asked for."""
        errand, epoch = self._errand, self._errand.steps_per_epoch
        every, num_steps = errand.config.checkpoint.every_steps, errand.spec.num_steps
        for first, end in legs(self._done, num_steps, every=every, epoch=epoch):
            for number, step, rows in self._fetched(first, end):
                self._step(number, step, rows)
                if self._is_to_stop():
                    self._save()
                    return
            if end % epoch == 0 or end == num_steps:
                self._evaluate("dev")
            self._save()
        self._evaluate("test")

    # -- steps ----------------------------------------------------------------------------------

    def _fetched(self, first: int, end: int) -> Iterator[tuple[int, Step, Refs]]:
        """The steps of a leg, each when the rows of the next one are on their way."""
        epoch = first // self._errand.steps_per_epoch
        train = self._train
        assert train.micro_batches != "auto"
        steps = epoch_steps(
            self._errand.lengths["train"],
            batch_size=train.batch_size,
            accumulate=train.accumulate,
            micro_batches=train.micro_batches,
            token_budget=train.token_budget,
            seed=self._errand.config.run.seed,
            epoch=epoch,
        )
        before: tuple[int, Step, Refs] | None = None
        for number in range(first, end):
            step = steps[number - epoch * self._errand.steps_per_epoch]
            rows = self._errand.data.hand_out("train", [step.micro_batches[i] for i in self._mine(step)])
            if before is not None:
                yield before
            before = number, step, rows
        if before is not None:
            yield before

    def _mine(self, step: Step) -> list[int]:
        """The micro-batches of this worker; one that has none runs the first, which then weighs nothing."""
        return self._dealt(step) or [0]

    def _dealt(self, step: Step) -> list[int]:
        costs = [micro_batch.num_padded_tokens for micro_batch in step.micro_batches]
        return deal(costs, self._num_workers)[self._number]

    def _step(self, number: int, step: Step, rows: Refs) -> None:
        mine = self._mine(step)
        batches: list[Mapping[str, Tensor]] = [{} for _ in step.micro_batches]
        for i, batch in zip(mine, self._merged(rows), strict=True):
            batches[i] = batch
        passes = [action for i in mine for action in (Action("forward", i), Action("backward", i))]
        actions = (*passes, Action("weights", len(batches) - 1), Action("update"))
        # Where there is no target there is nothing to divide: the loss is 0.
        weight = math.fsum(self._errand.target_weights[row] for row in step.rows) or 1.0
        self._replica.expect(mine[-1])
        report = self._executor.run(StepOrder(number, actions, weight if self._dealt(step) else math.inf), batches)
        self._done = number + 1
        # A ring of n workers: each sends what it has 2 (n - 1) / n times.
        sent = 2 * (self._num_workers - 1) * self._replica.bytes_shared // self._num_workers
        # What an adapter adds to the loss is the same on all workers, and counts once.
        penalties = report.penalties if self._number == 0 else ()
        if report.poison is not None:
            report = replace(report, poison=first_of(self._all_of(report.poison)))
        self._tolerance.take(
            told(number + 1, report.poison, [one.rows for one in step.micro_batches]), report.loss_scale
        )
        report = replace(report, stage=self._number, bytes_sent=sent, penalties=penalties, drawn=self._meter.read())
        self._tell(Stepped(self._num_workers, report))

    def _merged(self, rows: Refs) -> list[dict[str, Tensor]]:
        parts = ray.get(list(rows), timeout=self._errand.config.plan.timeout)
        return [merge(pieces_of_one, self._errand.padding) for pieces_of_one in zip(*parts, strict=True)]

    def _all_of(self, own: Poison) -> list[Poison]:
        """What all workers saw of a poisoned step."""
        if self._num_workers == 1:
            return [own]
        text = torch.zeros(LONGEST, dtype=torch.uint8)
        text[: len(own.to_bytes())] = torch.frombuffer(bytearray(own.to_bytes()), dtype=torch.uint8)
        text = text.to(self._replica.device.kind)
        texts = [torch.empty_like(text) for _ in range(self._num_workers)]
        torch.distributed.all_gather(texts, text)
        return [Poison.of_bytes(bytes(each.tolist()).rstrip(b"\0")) for each in texts]

    def _is_to_stop(self) -> bool:
        """Whether any worker was told to; all of them learn it after the same step."""
        wish = torch.tensor(int(self._stop), device=self._replica.device.kind)
        if self._num_workers > 1:
            torch.distributed.all_reduce(wish, torch.distributed.ReduceOp.MAX)
        return bool(wish)

    def _tell(self, message: Message) -> None:
        """Leave a message, without waiting for more than the one before it."""
        if self._told is not None:
            self._stop |= ray.get(self._told, timeout=self._errand.config.plan.timeout)
        self._told = self._errand.desk.tell.remote(message)

    # -- pauses ---------------------------------------------------------------------------------

    def _evaluate(self, split: str) -> None:
        if split not in self._errand.lengths:
            return
        batches = evaluation_batches(self._errand.lengths[split], token_budget=self._train.token_budget)
        mine: list[MicroBatch] = batches[self._number :: self._num_workers]
        groups = [mine[at : at + GROUP] for at in range(0, len(mine), GROUP)]
        answers: dict[int, Any] = {}
        for group in groups:
            found = self._executor.evaluate(-1, self._merged(self._errand.data.hand_out(split, group)))
            for batch, rows in zip(group, found, strict=True):
                answers.update(zip(batch.rows, rows, strict=True))
        self._tell(Answered(self._number, self._num_workers, split, self._done, answers))

    def _save(self) -> None:
        """Worker 0 writes the checkpoint, whole or not at all, and tells Ray Train where it is.

        Which ones stay is for the driver to say, which alone knows their scores.
        """
        checkpoint = None
        if self._number == 0:
            weights: Iterator[State] = ((piece, {}) for piece in pieces(self._replica.named_weights()))
            moments: Iterator[State] = (({}, piece) for piece in pieces(self._replica.named_moments()))
            path = save_checkpoint(
                self._errand.folder,
                step=self._done,
                facts=self._errand.facts,
                parts=chain(weights, moments),
            )
            self._tell(Saved(path))
            checkpoint = ray.train.Checkpoint(str(path))
        # All workers wait for each other here.
        ray.train.report(
            {"step": self._done},
            checkpoint=checkpoint,
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
        )

    def _load(self, replica: Replica) -> int:
        """Give the model its weights and the optimizer its state; returns how many steps they have seen."""
        weights, moments = ray.get(self._errand.state, timeout=self._errand.config.plan.timeout)
        replica.load(weights)
        replica.check_loaded()
        if ray.train.get_checkpoint() is None:
            replica.restore(moments)
            return self._errand.first_step
        # The newest of them: one may have been written and not been told before a worker was lost.
        chosen = choose(self._errand.folder)
        if self._number == 0:
            for note in chosen.passed_over:
                self._tell(Noted(note))
        start = chosen.checkpoint
        names = held(self._errand.spec.units, self._errand.spec)
        replica.load(dict(start.weights(names)))
        replica.restore(dict(start.moments(names)))
        return start.step


class _Nobody:
    """The neighbours of a stage that holds the whole model."""

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        raise AssertionError(f"there is no stage {stage} to send {len(tensors)} tensors of {tag} to")

    def receive(self, stage: int, tag: Tag) -> list[Tensor]:
        raise AssertionError(f"there is no stage {stage} to send {tag}")
