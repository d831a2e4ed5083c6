"""What becomes of a step that is done: it is told, held against its prediction, and looked at for poison."""

from __future__ import annotations

from cluster.course import Course
from cluster.fleet import Landed, Work
from cluster.preparation import Preparation
from cluster.profiling import shape_of
from pipelines.plan.forecast import Expected
from pipelines.plan.pace import Pace
from pipelines.report.observer import Observer, StepNumbers
from pipelines.train.optimizers import learning_rate
from pipelines.train.poison import Tolerance, first_of, told

PREDICTED = 2048
"""Steps of more micro-batches, times chunks, than this are not predicted one by one: it would take the driver longer
than a step takes the stages."""


class Landing:
    """Of one run; each plan has a pace of its own."""

    def __init__(self, run: Preparation, observer: Observer) -> None:
        self._run, self._observer = run, observer
        self._tolerance = Tolerance(run.config.train)
        self._previous_end = 0.0
        self._course: Course
        self.pace = Pace()
        """Of the plan that is followed: how its steps compare with what was predicted of them."""

    def follow(self, course: Course) -> None:
        """Steps are those of another plan now."""
        self._course, self.pace = course, Pace()

    def after_a_pause(self) -> None:
        """The next step took what it took alone: what came before it was none."""
        self._previous_end = 0.0

    def land(self, landed: Landed) -> int:
        """Tell of a step; returns how many are done now.

        Raises:
            FloatingPointError: its numbers were not finite, and `train.poisoned` does not bear it.
        """
        run, reports, rows = self._run, landed.reports, [one.rows for one in landed.work.step.micro_batches]
        poison = told(landed.version, first_of(report.poison for report in reports), rows)
        self._tolerance.take(poison, reports[0].loss_scale)
        done = landed.version
        begin = self._previous_end or landed.begin
        self._previous_end = landed.end
        expected = self._expected(landed.work)
        lengths = run.lengths["train"].lengths
        self._observer.step(
            StepNumbers(
                step=done,
                epoch=landed.work.number // run.steps_per_epoch + 1,
                loss=landed.loss,
                grad_norm=landed.grad_norm,
                learning_rate=learning_rate(done - 1, run.num_steps, run.config.train),
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
            self.pace.add(landed.end - begin, expected.seconds)
            busy = [report.busy for report in reports]
            for straggler in self.pace.stragglers(done, busy, expected.busy or busy):
                self._observer.straggling(straggler)
        return done

    def _expected(self, work: Work) -> Expected | None:
        micro_batches, forecast = work.step.micro_batches, self._course.forecast
        chunks = max(len(cut.stage_of) for cut in self._course.plan.replicas)
        if forecast is None or len(micro_batches) * chunks > PREDICTED:
            return None
        return forecast.step([shape_of(one) for one in micro_batches])
