"""The training loop: gets the crews ready, keeps two steps on their way, evaluates, saves.

Nothing that the model computes passes through here. The driver sends each stage one message a step, and
gets back numbers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cluster.actors import Seat
from cluster.crew import DataCrew, StageCrew
from cluster.evaluation import Evaluation
from cluster.handover import Named
from cluster.placement import wanted
from cluster.weighing import weigh
from pipelines.adapt.ranks import ranks_left
from pipelines.config import Config
from pipelines.data.batches import Step, epoch_steps, padding_waste
from pipelines.data.labels import check_labels, label_list
from pipelines.data.shard import Lengths, SplitSummary
from pipelines.model.pretrained import Pretrained
from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.plan import make_plan
from pipelines.plan.schedules import make_schedule
from pipelines.plan.simulate import ideal_seconds
from pipelines.report.observer import Beginning, Observer, StepNumbers
from pipelines.tasks import make_task
from pipelines.tasks.class_weights import check_class_weights
from pipelines.train.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
from pipelines.train.events import step_loss
from pipelines.train.executor import StepOrder
from pipelines.train.optimizers import learning_rate
from pipelines.train.resume import check_same, check_unfinished, lasting
from pipelines.train.specs import held, stage_specs

AHEAD = 2
"""Steps on their way at once: while one runs, the next one's rows are already at the stages."""


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


@dataclass
class _Flight:
    """A step that the stages have been sent."""

    number: int
    step: Step
    schedule: list[list[Action]]
    refs: list[Any]


class Driver:
    """One run on one replica."""

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
        self._crew: StageCrew | None = None
        try:
            self._crew = StageCrew(wanted(config.plan), config.train.task, may_grow=may_grow, timeout=self._timeout)
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
            self._evaluation = Evaluation(self._data, self._crew, token_budget=config.train.token_budget)
            seats = self._crew.meet()
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
        epoch = first // self._steps_per_epoch
        steps = self._epoch(epoch)
        flights: deque[_Flight] = deque()
        self._previous_end = 0.0
        for number in range(first, end):
            if self._stop.signal is not None:
                break
            flights.append(self._send(number, steps[number - epoch * self._steps_per_epoch]))
            if len(flights) == AHEAD:
                self._land(flights.popleft())
        while flights:
            self._land(flights.popleft())
        if self._stop.signal is not None:
            raise Stopped(self.save(), self._stop.signal)

    def save(self) -> Path:
        """Save a checkpoint of the steps done so far."""
        assert self._crew is not None
        path = save_checkpoint(
            self._folder,
            step=self._done,
            facts=self._facts,
            parts=self._crew.states(),
            keep=self._config.checkpoint.keep,
        )
        self._observer.saved(path)
        return path

    def save_model(self, folder: Path) -> None:
        """Write the trained model so that `from_pretrained` loads it."""
        assert self._crew is not None
        ranks = {} if self._config.adapter is None else ranks_left(dict(self._crew.moments()))
        self.model.save(folder, self._crew.weights(), ranks, punctuation=self._punctuation)

    def close(self) -> None:
        """End all actors."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None
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

    def _send(self, number: int, step: Step) -> _Flight:
        assert self._crew is not None
        pipeline = Pipeline(tuple(self.plan.stage_of))
        schedule = make_schedule(self._config.plan.schedule, pipeline, len(step.micro_batches))
        weight = math.fsum(self._target_weights[row] for row in step.rows)
        # Where there is no target there is nothing to divide: the loss is 0.
        orders = [StepOrder(number, tuple(actions), weight or 1.0) for actions in schedule]
        parts = self._data.hand_out("train", step.micro_batches)
        return _Flight(number, step, schedule, self._crew.start_step(orders, parts))

    def _land(self, flight: _Flight) -> None:
        assert self._crew is not None
        reports = self._crew.finish_step(flight.refs, flight.number + 1)
        self._done = flight.number + 1
        end = max(report.events[-1].end for report in reports)
        begin = self._previous_end or min(report.events[0].start for report in reports)
        self._previous_end = end
        lengths = self._lengths["train"].lengths
        self._observer.step(
            StepNumbers(
                step=self._done,
                epoch=flight.number // self._steps_per_epoch + 1,
                loss=step_loss(reports),
                grad_norm=reports[0].grad_norm,
                learning_rate=learning_rate(flight.number, self.num_steps, self._config.train),
                num_tokens=sum(lengths[row] for row in flight.step.rows),
                seconds=end - begin,
                ideal_seconds=ideal_seconds(flight.schedule, [report.events for report in reports]),
                bytes_sent=sum(report.bytes_sent for report in reports),
                reports=reports,
            )
        )

    # -- evaluation -----------------------------------------------------------------------------

    def _score(self, split: str) -> None:
        if split not in self._lengths:
            return
        assert self._crew is not None
        gold, predicted = self._evaluation.tags(split, self._lengths[split].lengths, self.labels)
        report = make_task(self._config.train.task).report(gold, predicted)
        epoch = -(-self._done // self._steps_per_epoch)
        self._observer.scored(split, epoch=epoch, step=self._done, report=report)

    # -- getting ready --------------------------------------------------------------------------

    def _build(self, start: Checkpoint | None) -> None:
        assert self._crew is not None
        specs = stage_specs(
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
            adapter=self.model.adapter(num_steps=self.num_steps),
        )

        def state(names: Sequence[str]) -> tuple[Named, Named]:
            if start is None:
                return self.model.weights(names).items(), ()
            frozen = self.model.weights(name for name in names if name not in self.model.trained)
            return chain(frozen.items(), start.weights(names)), start.moments(names)

        states = [state(held(self.model.units, spec)) for spec in specs]
        self._crew.build(specs, self.model.padding, states)

    def _beginning(self, summaries: Mapping[str, SplitSummary], seats: Sequence[Seat]) -> Beginning:
        plan = self.plan.to_json()
        for stage, seat in zip(plan["stages"], seats, strict=True):
            stage["assigned"] = seat.device
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
