"""The training loop: gets the crews ready, keeps two steps on their way, evaluates, saves.

Nothing that the model computes passes through here. The driver sends each stage one message a step, and
gets back numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cluster.actors import Seat
from cluster.crew import StageCrew
from cluster.evaluation import Evaluation
from cluster.handover import Named
from cluster.placement import wanted
from cluster.preparation import Preparation
from pipelines.config import Config
from pipelines.data.batches import Step
from pipelines.plan.actions import Action
from pipelines.plan.plan import make_plan
from pipelines.plan.schedule import make_schedule
from pipelines.plan.simulate import ideal_seconds
from pipelines.report.observer import Observer, StepNumbers
from pipelines.train.checkpoint import save_checkpoint
from pipelines.train.events import step_loss
from pipelines.train.executor import StepOrder
from pipelines.train.legs import legs
from pipelines.train.optimizers import learning_rate
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
        self._previous_end = 0.0
        self._run = Preparation(config)
        self._crew: StageCrew | None = None
        try:
            self._crew = StageCrew(
                wanted(config.plan), config.train.task, may_grow=may_grow, timeout=config.plan.timeout
            )
            self._run.read()
            self.plan = make_plan(self._run.model.units, config.plan, self._run.model.trained)
            self._run.model.prove(self.plan.bounds[1:-1])
            self._run.encode()
            self._done = self._run.first_step
            self._evaluation = Evaluation(self._run.data, self._crew, token_budget=config.train.token_budget)
            seats = self._crew.meet()
            self._build()
            observer.begin(self._run.beginning(self._placed(seats)))
        except BaseException:
            self.close()
            raise

    # -- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last step, evaluate on dev after every epoch and on test at the end.

        Raises:
            Stopped: a stop was asked for; a checkpoint was saved.
        """
        run = self._run
        every = self._config.checkpoint.every_steps
        for first, end in legs(self._done, run.num_steps, every=every, epoch=run.steps_per_epoch):
            self._run_leg(first, end)
            if end % run.steps_per_epoch == 0 or end == run.num_steps:
                self._score("dev")
            self.save()
        self._score("test")

    def _run_leg(self, first: int, end: int) -> None:
        epoch = first // self._run.steps_per_epoch
        steps = self._run.epoch(epoch)
        flights: deque[_Flight] = deque()
        self._previous_end = 0.0
        for number in range(first, end):
            if self._stop.signal is not None:
                break
            flights.append(self._send(number, steps[number - epoch * self._run.steps_per_epoch]))
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
            facts=self._run.facts,
            parts=self._crew.states(),
            keep=self._config.checkpoint.keep,
        )
        self._observer.saved(path)
        return path

    def save_model(self, folder: Path) -> None:
        """Write the trained model so that `from_pretrained` loads it."""
        assert self._crew is not None
        self._run.save_model(folder, self._crew.weights(), self._crew.moments())

    def close(self) -> None:
        """End all actors."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None
        self._run.close()

    # -- steps ----------------------------------------------------------------------------------

    def _send(self, number: int, step: Step) -> _Flight:
        assert self._crew is not None
        schedule = make_schedule(
            self._config.plan.schedule, num_stages=len(self.plan.stages), num_micro_batches=len(step.micro_batches)
        )
        weight = self._run.target_weight(step)
        orders = [StepOrder(number, tuple(actions), weight) for actions in schedule]
        parts = self._run.data.hand_out("train", step.micro_batches)
        return _Flight(number, step, schedule, self._crew.start_step(orders, parts))

    def _land(self, flight: _Flight) -> None:
        assert self._crew is not None
        reports = self._crew.finish_step(flight.refs, flight.number + 1)
        self._done = flight.number + 1
        end = max(report.events[-1].end for report in reports)
        begin = self._previous_end or min(report.events[0].start for report in reports)
        self._previous_end = end
        lengths = self._run.lengths["train"].lengths
        self._observer.step(
            StepNumbers(
                step=self._done,
                epoch=flight.number // self._run.steps_per_epoch + 1,
                loss=step_loss(reports),
                grad_norm=reports[0].grad_norm,
                learning_rate=learning_rate(flight.number, self._run.num_steps, self._config.train),
                num_tokens=sum(lengths[row] for row in flight.step.rows),
                seconds=end - begin,
                ideal_seconds=ideal_seconds(flight.schedule, [report.events for report in reports]),
                bytes_sent=sum(report.bytes_sent for report in reports),
                reports=reports,
            )
        )

    # -- evaluation -----------------------------------------------------------------------------

    def _score(self, split: str) -> None:
        if split not in self._run.lengths:
            return
        gold, predicted = self._evaluation.tags(split, self._run.lengths[split].lengths, self._run.labels)
        epoch = -(-self._done // self._run.steps_per_epoch)
        self._observer.scored(split, epoch=epoch, step=self._done, report=self._run.report(gold, predicted))

    # -- getting ready --------------------------------------------------------------------------

    def _build(self) -> None:
        assert self._crew is not None
        run, start = self._run, self._run.start
        specs = stage_specs(
            run.model.units,
            self.plan.bounds,
            self.plan.stage_of,
            head=run.head(),
            model_class=run.model.model_class,
            model_config=run.model.config,
            dtype=self._config.model.dtype,
            train=self._config.train,
            seed=self._config.run.seed,
            num_steps=run.num_steps,
            trained=frozenset(run.model.trained),
            adapter=run.model.adapter(num_steps=run.num_steps),
        )

        def state(names: Sequence[str]) -> tuple[Named, Named]:
            if start is None:
                return run.model.weights(names).items(), ()
            frozen = run.model.weights(name for name in names if name not in run.model.trained)
            return chain(frozen.items(), start.weights(names)), start.moments(names)

        states = [state(held(run.model.units, spec)) for spec in specs]
        self._crew.build(specs, run.model.padding, states)

    def _placed(self, seats: Sequence[Seat]) -> dict[str, Any]:
        plan = self.plan.to_json()
        for stage, seat in zip(plan["stages"], seats, strict=True):
            stage["assigned"] = seat.device
        return plan
