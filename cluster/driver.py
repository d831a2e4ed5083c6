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
from signal import SIGTERM

from cluster.beginnings import Beginnings, newest
from cluster.copies import Salvaged
from cluster.course import Course, another, offered, smaller
from cluster.evaluation import Evaluation
from cluster.fleet import Fleet, Work
from cluster.generation import write_texts
from cluster.landing import Landing
from cluster.nodes import NodesLost, check_nodes, named
from cluster.phases import Phases
from cluster.planning import plan_run
from cluster.preparation import Preparation
from cluster.recovering import LOSSES, Recovering, Result
from cluster.saving import Saving
from pipelines.config import Config
from pipelines.data.anonymous import MemoryUse
from pipelines.errors import UserError
from pipelines.plan.choose import Choice
from pipelines.plan.pace import gain_of
from pipelines.report.observer import Move, Observer
from pipelines.train.checkpoint import Checkpoint
from pipelines.train.legs import legs
from pipelines.train.patience import best_step, forget_after, is_tired
from pipelines.train.shelf import Shelf


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
        self._run = Preparation(config, folder)
        self._saving = Saving(Shelf(folder, config.checkpoint, observer.note, self._run.start), observer.saved)
        for note in self._run.notes:
            observer.note(note)
        self._config = self._run.config
        self._landing = Landing(self._run, observer)
        self._course: Course | None = None
        try:
            self._persist(self._open)
            if self._config.train.patience is not None and "dev" not in self._run.lengths:
                raise UserError(
                    "train.patience waits for a better score on dev, and there is no dev split. Set data.dev."
                )
            self._done = self._run.first_step
            clock = Phases()
            self._persist(self._set_out)
            clock.end("follow")
            self._restart_seconds = clock.seconds["follow"]
            observer.begin(self._run.beginning(self._in_force.describe()))
        except BaseException:
            self.close()
            raise

    # -- the beginning --------------------------------------------------------------------------

    def _persist(self, part: Callable[[bool], None]) -> None:
        """Do a part of the beginning, again after a loss; it is told whether it is done again.

        Raises:
            ActorLost, TimeoutError: more losses than `recovery.tries`.
        """
        tries = self._config.recovery.tries
        for losses in range(tries + 1):
            try:
                return part(losses > 0)
            except LOSSES as error:
                if losses == tries:
                    raise type(error)(
                        f"{error} That was loss {tries + 1} before the first step (recovery.tries)."
                    ) from error
                self._observer.note(f"{error} That was before the first step; it is begun again.")
        raise AssertionError("never more than one round without a loss")

    def _open(self, again: bool) -> None:
        """Read, plan and encode; the actors start on the way."""
        run = self._run
        if again:
            # Little was done yet: all of it once more is simpler than what of it is left.
            run.data.renew()
            self._close_course()
        if run.config.plan.stages == "auto":
            run.read()
            run.encode()
            choice = plan_run(run, tell=self._observer.measuring)
            self._observer.planned(choice)
            run.decide(choice.plan)
            self._config = run.config
            self._course = Course.found(run, choice, may_grow=self._may_grow)
        else:
            # The actors start while data and model are read.
            self._course = Course.given(run, run.config.plan, may_grow=self._may_grow)
            run.read()
            self._course.cut()
            run.encode()

    def _set_out(self, again: bool) -> None:
        if again:
            self._run.data.replace_lost(self._config.recovery.silence)
            self._close_course()
            self._course = another(self._run, self._observer, None, may_grow=self._may_grow)
        self._follow(self._run.start)

    # -- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last step, evaluate on dev after every epoch and on test at the end.

        Raises:
            Stopped: a stop was asked for, or `checkpoint.stop_after` came; a checkpoint was saved.
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
            if end == run.stop_step and end < run.num_steps:
                raise self._stopped(SIGTERM)
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
        self._landing.after_a_pause()
        for landed in self._fleet.run(takewhile(lambda _: self._stop.signal is None, self._works(self._done, end))):
            self._done = self._landing.land(landed)
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
        self._close_course()
        self._run.close()

    def _close_course(self) -> None:
        if self._course is not None:
            self._course.fleet.close()
            self._course = None

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
    def _in_force(self) -> Course:
        assert self._course is not None
        return self._course

    @property
    def _fleet(self) -> Fleet:
        return self._in_force.fleet

    def _follow(self, start: Checkpoint | Salvaged | None) -> None:
        """Get the course's actors ready to go on from `start`."""
        run, course = self._run, self._in_force
        course.meet()
        beginnings = Beginnings(run, self._config, course.plan, course.forecast)
        course.fleet.build(beginnings.at(start))
        self._evaluation = Evaluation(run.data, course.fleet, token_budget=self._config.train.token_budget)
        self._landing.follow(course)
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
        before, clock = self._in_force.plan, Phases()
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
        plans = before.to_json(), self._in_force.describe()
        self._observer.moved(Move(why, sorted(lost), sorted(joined), self._done, back_to, *plans, clock.seconds))

    def _consider_joined(self) -> None:
        """Between two parts of the run: whether nodes that have joined are worth a move."""
        course = self._in_force
        joined = offered() - course.nodes
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
        if course.plan.seconds * self._landing.pace.factor * steps <= self._restart_seconds:
            # Not worth a plan, for which its devices may have to be measured.
            self._observer.note(f"{who}, too late: the {steps} steps that are left take no longer than a move.")
            return
        self._saving.finish()
        try:
            choice = plan_run(self._run)
        except (*LOSSES, UserError) as error:
            self._observer.note(f"{who}, and no plan could be made with what is there now: {error}")
            return
        gain = gain_of(course.plan, choice.plan, pace=self._landing.pace.factor, steps=steps)
        verdict = f"{who}: {gain}; a move takes {self._restart_seconds:.0f} s"
        if gain.seconds > self._restart_seconds:
            self._move(f"{verdict}.", joined=joined, choice=choice)
        else:
            self._observer.note(f"{verdict}, so the run stays where it is.")
