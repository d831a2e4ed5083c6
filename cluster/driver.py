"""The training loop: gets the crews ready, runs the steps, evaluates, saves.

Nothing that the model computes passes through here. Each stage gets one message a step, or a wave of it, and gives
back numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cluster.actors import Seat
from cluster.crew import DataCrew
from cluster.evaluation import Evaluation
from cluster.fleet import Fleet, Landed, Start, Work
from cluster.handover import Named
from cluster.make_fleet import make_fleet
from cluster.weighing import weigh
from pipelines.adapt.ranks import ranks_left
from pipelines.config import Config
from pipelines.data.batches import Step, epoch_steps, padding_waste
from pipelines.data.labels import check_labels, label_list
from pipelines.data.shard import Lengths, SplitSummary
from pipelines.model.pretrained import Pretrained
from pipelines.plan.plan import make_plan
from pipelines.report.observer import Beginning, Observer, StepNumbers
from pipelines.tasks import make_task
from pipelines.tasks.class_weights import check_class_weights
from pipelines.train.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
from pipelines.train.optimizers import learning_rate
from pipelines.train.parameter_shards import Owners
from pipelines.train.resume import check_same, check_unfinished, lasting
from pipelines.train.specs import StageSpec, stage_specs


class Stopped(Exception):
    """The run was asked to stop, and did, after a checkpoint."""

    def __init__(self, checkpoint: Path, signal: int) -> None:
        super().__init__(f"stopped after {checkpoint.name}")
        self.checkpoint, self.signal = checkpoint, signal


class StopRequest:
    """Set by a signal handler; looked at between steps."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that asked."""
        self.graceful = False
        """Whether the run is at a point where it can be asked: earlier there is nothing to save."""


class Driver:
    """One run."""

    def __init__(self, config: Config, folder: Path, observer: Observer, *, may_grow: bool, stop: StopRequest) -> None:
        """Everything up to the first step.

        Raises:
            UserError: data, model, plan or cluster are not what the config needs; nothing was written.
        """
        self._config, self._folder, self._observer, self._stop = config, folder, observer, stop
        self._timeout = config.plan.timeout
        self._previous_end = 0.0
        self._done = 0
        task = make_task(config.train.task)
        start = None if config.checkpoint.resume is None else open_checkpoint(config.checkpoint.resume)
        if start is not None:
            check_same(start, lasting(config))
        self._data = DataCrew(config.data, timeout=self._timeout)
        self._fleet: Fleet | None = None
        try:
            self._fleet = make_fleet(config.plan, config.train.task, self._data, may_grow=may_grow)
            summaries = self._data.load()
            tags = {split: summary.labels for split, summary in summaries.items()}
            check_labels(tags)
            self.labels = label_list(tags)
            check_class_weights(config.train.class_weights, self.labels)
            self._punctuation = summaries["train"].punctuation
            self.model = Pretrained(config, task, self.labels)
            self.plan = make_plan(self.model.units, config.plan, self.model.trained)
            self.model.prove(self.plan.bounds[1:-1])
            self._lengths = self._data.encode(
                config.train.task, config.model.source, self.labels, self.model.max_length
            )
            self._loss, self._target_weights = weigh(config.train, self.labels, self._data, self._lengths["train"])
            self._steps_per_epoch = len(self._epoch(0))
            all_epochs = config.train.epochs * self._steps_per_epoch
            self.num_steps = min(all_epochs, config.train.max_steps or all_epochs)
            self._facts = lasting(config) | {"labels": self.labels}
            if start is not None:
                check_same(start, self._facts)
                check_unfinished(start, self.num_steps)
                self._done = start.step
            self._evaluation = Evaluation(self._data, self._fleet, token_budget=config.train.token_budget)
            seats = self._fleet.meet()
            self._build(start)
            observer.begin(self._beginning(summaries, seats))
        except BaseException:
            self.close()
            raise

    # -- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last step, evaluate on dev after every epoch and on test at the end.

        Raises:
            Stopped: a stop was asked for; a checkpoint was saved.
        """
        for first, end in self._legs():
            self._run_leg(first, end)
            if end % self._steps_per_epoch == 0 or end == self.num_steps:
                self._score("dev")
            self.save()
        self._score("test")

    def _legs(self) -> Iterator[tuple[int, int]]:
        """Steps that run without a pause between them: up to a checkpoint, an epoch's end, or the last step."""
        every = self._config.checkpoint.every_steps or self._steps_per_epoch
        ends = {
            *range(every, self.num_steps, every),
            *range(self._steps_per_epoch, self.num_steps, self._steps_per_epoch),
        }
        first = self._done
        for end in sorted({*ends, self.num_steps}):
            if end > first:
                yield first, end
                first = end

    def _run_leg(self, first: int, end: int) -> None:
        assert self._fleet is not None
        self._previous_end = 0.0
        for landed in self._fleet.run(self._works(first, end)):
            self._land(landed)
        if self._stop.signal is not None:
            raise Stopped(self.save(), self._stop.signal)

    def _works(self, first: int, end: int) -> Iterator[Work]:
        """The steps of a leg, until a stop is asked for."""
        epoch = first // self._steps_per_epoch
        steps = self._epoch(epoch)
        for number in range(first, end):
            if self._stop.signal is not None:
                return
            step = steps[number - epoch * self._steps_per_epoch]
            # Where there is no target there is nothing to divide: the loss is 0.
            yield Work(number, step, math.fsum(self._target_weights[row] for row in step.rows) or 1.0)

    def save(self) -> Path:
        """Save a checkpoint of the steps done so far."""
        assert self._fleet is not None
        path = save_checkpoint(
            self._folder,
            step=self._done,
            facts=self._facts,
            parts=self._fleet.states(),
            keep=self._config.checkpoint.keep,
        )
        self._observer.saved(path)
        return path

    def save_model(self, folder: Path) -> None:
        """Write the trained model so that `from_pretrained` loads it."""
        assert self._fleet is not None
        ranks = {} if self._config.adapter is None else ranks_left(dict(self._fleet.moments()))
        self.model.save(folder, self._fleet.weights(), ranks, punctuation=self._punctuation)

    def close(self) -> None:
        """End all actors."""
        if self._fleet is not None:
            self._fleet.close()
            self._fleet = None
        self._data.close()

    # -- steps ----------------------------------------------------------------------------------

    def _epoch(self, epoch: int) -> list[Step]:
        train = self._config.train
        return epoch_steps(
            self._lengths["train"].lengths,
            batch_size=train.batch_size,
            accumulate=train.accumulate,
            micro_batches=train.micro_batches,
            token_budget=train.token_budget,
            seed=self._config.run.seed,
            epoch=epoch,
        )

    def _land(self, landed: Landed) -> None:
        self._done = landed.version
        begin = self._previous_end or landed.begin
        self._previous_end = landed.end
        lengths = self._lengths["train"].lengths
        self._observer.step(
            StepNumbers(
                step=self._done,
                epoch=landed.work.number // self._steps_per_epoch + 1,
                loss=landed.loss,
                grad_norm=landed.grad_norm,
                learning_rate=learning_rate(self._done - 1, self.num_steps, self._config.train),
                num_tokens=sum(lengths[row] for row in landed.work.step.rows),
                seconds=landed.end - begin,
                ideal_seconds=landed.ideal_seconds,
                bytes_sent=landed.bytes_sent,
                reports=landed.reports,
                staleness=landed.staleness,
                waves=landed.waves,
            )
        )

    # -- evaluation -----------------------------------------------------------------------------

    def _score(self, split: str) -> None:
        if split not in self._lengths:
            return
        assert self._fleet is not None
        gold, predicted = self._evaluation.tags(split, self._lengths[split].lengths, self.labels)
        report = make_task(self._config.train.task).report(gold, predicted)
        epoch = -(-self._done // self._steps_per_epoch)
        self._observer.scored(split, epoch=epoch, step=self._done, report=report)

    # -- getting ready --------------------------------------------------------------------------

    def _build(self, start: Checkpoint | None) -> None:
        assert self._fleet is not None
        adapter = self.model.adapter(num_steps=self.num_steps)

        def make_specs(owners: Owners) -> list[StageSpec]:
            return stage_specs(
                self.model.units,
                self.plan.bounds,
                self.plan.stage_of,
                head=make_task(self._config.train.task, self._loss),
                model_class=self.model.model_class,
                model_config=self.model.config,
                dtype=self._config.model.dtype,
                train=self._config.train,
                seed=self._config.run.seed,
                num_steps=self.num_steps,
                trained=frozenset(self.model.trained),
                adapter=adapter,
                owners=owners,
            )

        def state(names: Sequence[str]) -> tuple[Named, Named]:
            if start is None:
                return self.model.weights(names).items(), ()
            frozen = self.model.weights(name for name in names if name not in self.model.trained)
            return chain(frozen.items(), start.weights(names)), start.moments(names)

        self._fleet.build(Start(make_specs, self.model.padding, state, self.model.shapes(), self._done))

    def _beginning(self, summaries: Mapping[str, SplitSummary], seats: Sequence[Seat]) -> Beginning:
        assert self._fleet is not None
        plan = self.plan.to_json()
        plan |= self._fleet.describe(plan["stages"], seats)
        data = {split: _facts_of(summary, self._lengths[split]) for split, summary in summaries.items()}
        first = self._epoch(0)
        if self._loss.weights is not None:
            data["train"]["class_weights"] = dict(zip(self.labels, self._loss.weights, strict=True))
        data["train"]["padding_waste"] = round(padding_waste(first, self._lengths["train"].lengths), 4)
        return Beginning(self.num_steps, self._done, self._config.train.epochs, plan, data, self.labels)


def _facts_of(summary: SplitSummary, lengths: Lengths) -> dict[str, Any]:
    return {
        "rows": summary.num_rows,
        "tags_repaired": summary.num_repaired,
        "sub_words": sum(lengths.lengths),
        "targets": sum(lengths.num_targets),
        "longest": max(lengths.lengths),
        "words_cut": lengths.num_words_cut,
        "words_unseen": lengths.num_words_unseen,
    }
