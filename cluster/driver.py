"""The training loop: gets the crews ready, runs the steps, evaluates, saves.

Nothing that the model computes passes through here. Each stage gets one message a step, or a wave of it, and gives
back numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import takewhile
from pathlib import Path

from cluster.beginnings import Beginnings, newest
from cluster.evaluation import Evaluation
from cluster.fleet import Fleet, Landed, Work
from cluster.generation import write_texts
from cluster.make_fleet import make_fleet
from cluster.placement import Wanted, seats_of, servers_of, wanted
from cluster.planning import forecast_of, plan_run
from cluster.preparation import Preparation
from cluster.profiling import shape_of
from cluster.recovering import Recovering
from cluster.saving import Saving
from pipelines.config import Config
from pipelines.plan.forecast import Forecast
from pipelines.plan.local import local_of
from pipelines.plan.plan import make_plan, with_local
from pipelines.plan.sharing import settled
from pipelines.plan_settings import PlanConfig
from pipelines.report.observer import Observer, StepNumbers
from pipelines.train.legs import legs
from pipelines.train.optimizers import learning_rate
from pipelines.train.shelf import Shelf

PREDICTED = 2048
"""Steps of more micro-batches, times chunks, than this are not predicted one by one: it would take the driver longer
than a step takes the stages."""


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
        self._folder, self._observer, self._stop = folder, observer, stop
        self._previous_end = 0.0
        self._forecast: Forecast | None = None
        self._run = Preparation(config, folder)
        self._saving = Saving(Shelf(folder, config.checkpoint, observer.note, self._run.start), observer.saved)
        for note in self._run.notes:
            observer.note(note)
        self._config = config = self._run.config
        self._fleet: Fleet | None = None
        try:
            if config.plan.stages == "auto":
                self._run.read()
                self._run.encode()
                choice = plan_run(self._run, tell=observer.measuring)
                observer.planned(choice)
                self._run.decide(choice.plan)
                self._config = config = self._run.config
                self.plan, self._forecast = choice.plan, choice.forecast
                found = settled(config.plan, self.plan)
                servers = servers_of(found, self.plan.server_nodes)
                self._fleet = self._make_fleet(seats_of(self.plan), servers, found, may_grow=may_grow)
            else:
                # The actors start while data and model are read.
                seats = [replace(seat, threads=local_of(config, seat.kind).threads) for seat in wanted(config.plan)]
                assert config.plan.replicas != "auto"
                replicas, servers = [seats] * config.plan.replicas, servers_of(config.plan, ())
                self._fleet = self._make_fleet(replicas, servers, config.plan, may_grow=may_grow)
                self._run.read()
                self.plan = with_local(make_plan(self._run.model.units, config.plan, self._run.model.trained), config)
                self._run.encode()
            for bounds in {tuple(cut.bounds) for cut in self.plan.replicas}:
                self._run.model.prove(bounds[1:-1])
            self._done = self._run.first_step
            self._evaluation = Evaluation(self._run.data, self._fleet, token_budget=config.train.token_budget)
            sitting = self._fleet.meet()
            if self._forecast is None and not config.plan.servers:
                nodes = [seat.node for seat in sitting]
                self._forecast = forecast_of(config, self._run, self.plan.replicas[0], nodes)
            self._build()
            stages = [[asdict(stage) for stage in cut.stages] for cut in self.plan.replicas]
            observer.begin(self._run.beginning(self.plan.to_json() | self._fleet.describe(stages, sitting)))
        except BaseException:
            self.close()
            raise

    # -- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last step, evaluate on dev after every epoch and on test at the end.

        Raises:
            Stopped: a stop was asked for; a checkpoint was saved.
        """
        run, safely = self._run, self._recovering.run
        every = self._config.checkpoint.every_steps
        for _, end in legs(self._done, run.num_steps, every=every, epoch=run.steps_per_epoch):
            safely(partial(self._run_leg, end))
            if self._stop.signal is not None:
                raise self._stopped(self._stop.signal)
            scored = end % run.steps_per_epoch == 0 or end == run.num_steps
            score = safely(partial(self._score, "dev")) if scored else None
            safely(partial(self.save, score))
        self._saving.finish()
        safely(partial(self._score, "test"))

    def _run_leg(self, end: int) -> None:
        assert self._fleet is not None
        self._previous_end = 0.0
        for landed in self._fleet.run(takewhile(lambda _: self._stop.signal is None, self._works(self._done, end))):
            self._land(landed)
            self._saving.poll()

    def _works(self, first: int, end: int) -> Iterator[Work]:
        run = self._run
        steps, of = [], -1
        for number in range(first, end):
            epoch, at = divmod(number, run.steps_per_epoch)
            if epoch != of:
                steps, of = run.epoch(epoch), epoch
            yield Work(number, steps[at], run.target_weight(steps[at]))

    def save(self, score: float | None = None) -> None:
        """Save a checkpoint of the steps done so far, while the next ones run.

        Args:
            score: their score on dev, if it is known.
        """
        assert self._fleet is not None
        begin = time.monotonic()
        copies = self._fleet.copies()
        waited = time.monotonic() - begin
        self._saving.start(copies, step=self._done, facts=self._run.facts, score=score, waited=waited)

    def _stopped(self, signal: int) -> Stopped:
        """After a checkpoint."""
        self._recovering.run(self.save)
        checkpoint = self._saving.finish()
        assert checkpoint is not None
        return Stopped(checkpoint, signal)

    def save_model(self, folder: Path) -> None:
        """Write the trained model so that `from_pretrained` loads it."""
        fleet = self._fleet
        assert fleet is not None
        self._recovering.run(lambda: self._run.save_model(folder, fleet.weights(), fleet.moments()))

    def close(self) -> None:
        """End all actors."""
        self._saving.close()
        if self._fleet is not None:
            self._fleet.close()
            self._fleet = None
        self._run.close()

    # -- steps ----------------------------------------------------------------------------------

    def _land(self, landed: Landed) -> None:
        self._done = landed.version
        begin = self._previous_end or landed.begin
        self._previous_end = landed.end
        lengths = self._run.lengths["train"].lengths
        self._observer.step(
            StepNumbers(
                step=self._done,
                epoch=landed.work.number // self._run.steps_per_epoch + 1,
                loss=landed.loss,
                grad_norm=landed.grad_norm,
                learning_rate=learning_rate(self._done - 1, self._run.num_steps, self._config.train),
                num_tokens=sum(lengths[row] for row in landed.work.step.rows),
                rows=landed.work.step.rows,
                seconds=landed.end - begin,
                ideal_seconds=landed.ideal_seconds,
                bytes_sent=landed.bytes_sent,
                reports=landed.reports,
                staleness=landed.staleness,
                waves=landed.waves,
                predicted_seconds=self._predicted(landed.work),
            )
        )

    def _predicted(self, work: Work) -> float | None:
        micro_batches = work.step.micro_batches
        chunks = max(len(cut.stage_of) for cut in self.plan.replicas)
        if self._forecast is None or len(micro_batches) * chunks > PREDICTED:
            return None
        return self._forecast.seconds([shape_of(one) for one in micro_batches])

    # -- evaluation -----------------------------------------------------------------------------

    def _score(self, split: str) -> float | None:
        if split not in self._run.lengths:
            return None
        report = self._run.report(split, self._evaluation.answers(split, self._run.lengths[split].lengths))
        if asked := self._run.asked(split):
            assert self._run.rules is not None
            written = write_texts(
                split,
                asked,
                data=self._run.data,
                evaluation=self._evaluation,
                rules=self._run.rules,
                token_budget=self._config.train.token_budget,
            )
            report = self._run.report_texts(report, asked, written)
        epoch = -(-self._done // self._run.steps_per_epoch)
        self._observer.scored(split, epoch=epoch, step=self._done, report=report)
        return report.score

    # -- getting ready --------------------------------------------------------------------------

    def _make_fleet(
        self, devices: Sequence[Sequence[Wanted]], servers: Sequence[Wanted], config: PlanConfig, *, may_grow: bool
    ) -> Fleet:
        return make_fleet(
            devices,
            servers,
            config,
            self._config.train.task,
            self._run.data,
            may_grow=may_grow,
            copy_every=self._config.recovery.copy_every,
        )

    def _build(self) -> None:
        assert self._fleet is not None
        run, beginnings = self._run, Beginnings(self._run, self._config, self.plan, self._forecast)
        self._fleet.build(beginnings.at(run.start))
        self._recovering = Recovering(
            self._fleet,
            run.data,
            self._config.recovery,
            self._observer,
            start=lambda: beginnings.at(newest(self._folder, self._observer.note) or run.start),
            works=self._works,
            done=lambda: self._done,
        )
