"""The training loop: plans, gets the crews ready, runs the steps, evaluates, saves.

    plan ──▶ crew ──▶ steps ──▶ end
      ▲                 │
      └─────────────────┘  nodes are gone that the crew needs, or have joined that are worth a move

Nothing that the model computes passes through here. Each stage gets one message a step, or a wave of it, and gives
back numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path

from cluster.beginnings import Beginnings, newest
from cluster.copies import Salvaged
from cluster.course import Course, another, offered, smaller
from cluster.evaluation import Evaluation
from cluster.fleet import Fleet, Landed, Work
from cluster.generation import write_texts
from cluster.nodes import NodesLost, check_nodes, named
from cluster.phases import Phases
from cluster.planning import plan_run
from cluster.preparation import Preparation
from cluster.profiling import shape_of
from cluster.recovering import LOSSES, Recovering, Result
from cluster.saving import Saving
from pipelines.config import Config
from pipelines.data.anonymous import MemoryUse
from pipelines.errors import UserError
from pipelines.plan.choose import Choice
from pipelines.plan.forecast import Expected
from pipelines.plan.pace import Pace, gain_of
from pipelines.report.observer import Move, Observer, StepNumbers
from pipelines.train.checkpoint import Checkpoint
from pipelines.train.legs import legs
from pipelines.train.optimizers import learning_rate
from pipelines.train.patience import best_step, forget_after, is_tired
from pipelines.train.poison import Tolerance, first_of, told
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
        self._folder, self._observer, self._stop, self._may_grow = folder, observer, stop, may_grow
        self._previous_end = 0.0
        self._tolerance = Tolerance(config.train)
        self._run = Preparation(config, folder)
        self._saving = Saving(Shelf(folder, config.checkpoint, observer.note, self._run.start), observer.saved)
        for note in self._run.notes:
            observer.note(note)
        self._config = config = self._run.config
        self._course: Course | None = None
        try:
            if config.plan.stages == "auto":
                self._run.read()
                self._run.encode()
                choice = plan_run(self._run, tell=observer.measuring)
                observer.planned(choice)
                self._run.decide(choice.plan)
                self._config = config = self._run.config
                self._course = Course.found(self._run, choice, may_grow=may_grow)
            else:
                # The actors start while data and model are read.
                self._course = Course.given(self._run, config.plan, may_grow=may_grow)
                self._run.read()
                self._course.cut()
                self._run.encode()
            if config.train.patience is not None and "dev" not in self._run.lengths:
                raise UserError(
                    "train.patience waits for a better score on dev, and there is no dev split. Set data.dev."
                )
            self._done = self._run.first_step
            clock = Phases()
            self._follow(self._run.start)
            clock.end("follow")
            self._restart_seconds = clock.seconds["follow"]
            observer.begin(self._run.beginning(self._course.describe()))
        except BaseException:
            self.close()
            raise

    # -- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last step, evaluate on dev after every epoch and on test at the end.

        Raises:
            Stopped: a stop was asked for; a checkpoint was saved.
            FloatingPointError: a step's numbers were not finite, and `train.poisoned` does not bear it.
        """
        run, safely = self._run, self._safely
        every = self._config.checkpoint.every_steps
        for _, end in legs(self._done, run.num_steps, every=every, epoch=run.steps_per_epoch):
            if self._is_tired():
                break
            safely(partial(self._run_leg, end))
            if self._stop.signal is not None:
                raise self._stopped(self._stop.signal)
            scored = end % run.steps_per_epoch == 0 or end == run.num_steps
            score = safely(partial(self._score, "dev")) if scored else None
            safely(partial(self.save, score))
            if end < run.num_steps:
                self._consider_joined()
        safely(self._saving.finish)
        if self._config.train.patience is not None:
            safely(self._take_best)
        safely(partial(self._score, "test"))

    def _is_tired(self) -> bool:
        """Whether no epoch has been better for as long as `train.patience` says."""
        patience, epoch = self._config.train.patience, self._run.steps_per_epoch
        if patience is None or self._done % epoch:
            return False
        self._safely(self._saving.finish)
        return is_tired(self._folder, done=self._done, steps_per_epoch=epoch, patience=patience)

    def _take_best(self) -> None:
        """Go back to the checkpoint with the best score, with new actors."""
        best = best_step(self._folder)
        if best is None or best == self._done:
            return
        forget_after(self._folder, best)
        self._fleet.close()
        self._course = another(self._run, self._observer, None, may_grow=self._may_grow)
        self._observer.note(f"Ended after step {self._done}; the best score on dev was that of step {best}.")
        self._done = best
        self._follow(self._on_disk())

    def _safely(self, part: Callable[[], Result]) -> Result:
        """What a part of the run returns, whatever is lost on the way."""
        while True:
            try:
                return self._recovering.run(part)
            except NodesLost as lost:
                self._move(f"{lost}.", lost=lost.nodes)

    def _run_leg(self, end: int) -> None:
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
        begin = time.monotonic()
        copies = self._fleet.copies()
        waited = time.monotonic() - begin
        self._saving.start(copies, step=self._done, facts=self._run.facts, score=score, waited=waited)

    def _stopped(self, signal: int) -> Stopped:
        """After a checkpoint."""
        self._safely(self.save)
        checkpoint = self._safely(self._saving.finish)
        assert checkpoint is not None
        return Stopped(checkpoint, signal)

    def save_model(self, folder: Path) -> None:
        """Write the trained model so that `from_pretrained` loads it."""
        self._safely(lambda: self._run.save_model(folder, self._fleet.weights(), self._fleet.moments()))

    def data_memory(self) -> list[MemoryUse]:
        """What memory each data shard took."""
        return self._safely(self._run.data.use)

    def close(self) -> None:
        """End all actors."""
        self._saving.close()
        if self._course is not None:
            self._course.fleet.close()
            self._course = None
        self._run.close()

    # -- steps ----------------------------------------------------------------------------------

    def _land(self, landed: Landed) -> None:
        reports, rows = landed.reports, [one.rows for one in landed.work.step.micro_batches]
        poison = told(landed.version, first_of(report.poison for report in reports), rows)
        self._tolerance.take(poison, reports[0].loss_scale)
        self._done = landed.version
        begin = self._previous_end or landed.begin
        self._previous_end = landed.end
        expected = self._expected(landed.work)
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
                reports=reports,
                staleness=landed.staleness,
                waves=landed.waves,
                predicted_seconds=None if expected is None else expected.seconds,
                poison=poison,
            )
        )
        # A poisoned step took as long as it was looked for what is wrong with it.
        if expected is not None and poison is None:
            self._pace.add(landed.end - begin, expected.seconds)
            busy = [report.busy for report in reports]
            for straggler in self._pace.stragglers(self._done, busy, expected.busy or busy):
                self._observer.straggling(straggler)

    def _expected(self, work: Work) -> Expected | None:
        assert self._course is not None
        micro_batches, forecast = work.step.micro_batches, self._course.forecast
        chunks = max(len(cut.stage_of) for cut in self._course.plan.replicas)
        if forecast is None or len(micro_batches) * chunks > PREDICTED:
            return None
        return forecast.step([shape_of(one) for one in micro_batches])

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

    # -- plans ----------------------------------------------------------------------------------

    @property
    def _fleet(self) -> Fleet:
        assert self._course is not None
        return self._course.fleet

    def _follow(self, start: Checkpoint | Salvaged | None) -> None:
        """Get the course's actors ready to go on from `start`."""
        assert self._course is not None
        run, course = self._run, self._course
        course.meet()
        beginnings = Beginnings(run, self._config, course.plan, course.forecast)
        course.fleet.build(beginnings.at(start))
        self._evaluation = Evaluation(run.data, course.fleet, token_budget=self._config.train.token_budget)
        self._pace = Pace()
        self._recovering = Recovering(
            course.fleet,
            run.data,
            self._config.recovery,
            self._observer,
            start=lambda: beginnings.at(self._on_disk()),
            works=self._works,
            done=lambda: self._done,
            check=partial(check_nodes, course.fleet, self._config.recovery.silence),
        )

    def _on_disk(self) -> Checkpoint | None:
        return newest(self._folder, self._observer.note) or self._run.start

    def _move(
        self, why: str, *, lost: Collection[str] = (), joined: Collection[str] = (), choice: Choice | None = None
    ) -> None:
        """Go on with another plan, from the newest state that is left.

        Raises:
            UserError: there is no plan for the nodes that are left.
            ActorLost, TimeoutError: more was lost in the middle of it, more often than `recovery.tries`.
        """
        assert self._course is not None
        before, clock = self._course.plan, Phases()
        salvaged, saved = self._fleet.salvage(), self._on_disk()
        state = saved if salvaged is None or (saved is not None and saved.step > salvaged.step) else salvaged
        back_to = 0 if state is None else state.step
        for left in range(self._config.recovery.tries, -1, -1):
            self._fleet.close()
            clock.end("left")
            try:
                self._run.data.replace_lost(self._config.recovery.silence)
                self._course = another(self._run, self._observer, choice, may_grow=self._may_grow)
                clock.end("planned")
                self._follow(state)
                clock.end("built")
                for _ in self._fleet.run(self._works(back_to, self._done)):
                    pass
                clock.end("replayed")
                break
            except LOSSES:
                if left == 0:
                    raise
                choice = None
        self._restart_seconds = clock.seconds["built"]
        plans = before.to_json(), self._course.describe()
        self._observer.moved(Move(why, sorted(lost), sorted(joined), self._done, back_to, *plans, clock.seconds))

    def _consider_joined(self) -> None:
        """Between two parts of the run: whether nodes that have joined are worth a move."""
        assert self._course is not None
        course, joined = self._course, offered() - self._course.nodes
        if not joined:
            return
        course.nodes |= joined
        who = f"{named(joined)} joined"
        if self._config.plan.stages != "auto":
            if smaller(self._config.plan, may_grow=False) != course.config:
                self._move(f"{who}: there is room for the plan as it was given.", joined=joined)
            return
        assert course.plan.seconds is not None
        steps = self._run.num_steps - self._done
        if course.plan.seconds * self._pace.factor * steps <= self._restart_seconds:
            # Not worth a plan, for which its devices may have to be measured.
            self._observer.note(f"{who}, too late: the {steps} steps that are left take no longer than a move.")
            return
        self._saving.finish()
        try:
            choice = plan_run(self._run)
        except (*LOSSES, UserError) as error:
            self._observer.note(f"{who}, and no plan could be made with what is there now: {error}")
            return
        gain = gain_of(course.plan, choice.plan, pace=self._pace.factor, steps=steps)
        verdict = f"{who}: {gain}; a move takes {self._restart_seconds:.0f} s"
        if gain.seconds > self._restart_seconds:
            self._move(f"{verdict}.", joined=joined, choice=choice)
        else:
            self._observer.note(f"{verdict}, so the run stays where it is.")
