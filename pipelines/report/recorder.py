"""Shows a run while it goes on and keeps what it leaves behind: run folder, MLflow, pictures, summary.

RUN/config.yaml    the resolved configuration         RUN/checkpoints/   to resume from
RUN/summary.json   every figure of the run            RUN/model/         for from_pretrained
RUN/journal.jsonl  what happened, line by line
RUN/pictures/      loss curve, confusion matrix, timeline of one step
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.console import Console

from pipelines.config import Config
from pipelines.mlflow_store import without_password
from pipelines.plan.choose import Choice
from pipelines.plan.pace import Straggler
from pipelines.report import pictures, sharing
from pipelines.report.energy import Book, Energy, added, holdings
from pipelines.report.journal import Journal
from pipelines.report.measured_table import Measuring
from pipelines.report.observer import Beginning, Move, Recovery, StepNumbers
from pipelines.report.plan_picture import save_plan_picture
from pipelines.report.plan_table import plan_table
from pipelines.report.progress import Progress
from pipelines.report.report import Report
from pipelines.report.summary import write_json, write_whole
from pipelines.run_folder import CONFIG, SUMMARY
from pipelines.tracking import Status, Tracker

WARM_UP = 5
"""First steps that throughput and step time leave out: caches and allocators fill."""
TOLD = 10
"""Steps that were left out, of which the summary says why; the journal has all of them."""


class Recorder:
    """The observer of one run."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._config, self.folder = config, folder
        self._steps: list[StepNumbers] = []
        self._recent: deque[StepNumbers] = deque(maxlen=50)
        self._scores: dict[str, list[tuple[int, int, Report]]] = {"dev": [], "test": []}
        self._summary: dict[str, Any] = {}
        self._recoveries: list[Recovery] = []
        self._moves: list[dict[str, Any]] = []
        self._skipped = 0
        self._loss_scale: float | None = None
        self._poisons: list[str] = []
        """What was told of steps that were left out because their numbers are not finite."""
        self._began = time.time()
        self._progress: Progress | None = None
        self._measuring: Measuring | None = None
        self._choice: Choice | None = None
        self._book = Book((), config.energy)
        self._accounts: list[Energy] = []
        """Of the plans before the last move."""
        self.tracker: Tracker | None = None
        self._journal: Journal | None = None

    # -- while it runs --------------------------------------------------------------------------

    def measuring(self, what: str, done: int, total: int) -> None:
        if self._measuring is None:
            self._measuring = Measuring(Console(stderr=True))
            self._measuring.__enter__()
        self._measuring.tell(what, done, total)

    def planned(self, choice: Choice) -> None:
        self._stop_measuring()
        self._choice = choice

    def _stop_measuring(self) -> None:
        if self._measuring is not None:
            self._measuring.__exit__(None, None, None)
            self._measuring = None

    def begin(self, beginning: Beginning) -> None:
        # What it goes on from is no part of what it is: whoever submits its config.yaml again may leave that open, too.
        self._config = beginning.config.model_copy(update={"checkpoint": self._config.checkpoint})
        # First what can fail: a store that cannot be reached leaves no folder behind.
        self.tracker = Tracker.start(self._config, run_name=self.folder.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        # A finished run that is made longer is unfinished again.
        (self.folder / SUMMARY).unlink(missing_ok=True)
        write_whole(self.folder / CONFIG, without_password(self._config).to_yaml())
        self._journal = Journal(self.folder)
        self._journal.write("began", first_step=beginning.first_step, num_steps=beginning.num_steps)
        self.tracker.plan(beginning.plan)
        self._summary = {
            "name": self._config.run.name,
            "folder": str(self.folder),
            "resumed_from_step": beginning.first_step or None,
            "num_steps": beginning.num_steps,
            "labels": list(beginning.labels),
            "data": beginning.data,
            "plan": beginning.plan,
        }
        self.tracker.metrics(0, {"padding_waste": float(beginning.data["train"]["padding_waste"])})
        self._book = Book(holdings(beginning.plan["stages"]), self._config.energy)
        stages = len(beginning.plan["stages"])
        self._progress = Progress(beginning.num_steps, stages, start_step=beginning.first_step)
        self._progress.__enter__()
        self.note(plan_table(beginning))

    def step(self, numbers: StepNumbers) -> None:
        assert self._progress is not None
        assert self.tracker is not None
        why = ""
        if numbers.skipped:
            self._skipped += 1
            why = numbers.poison or (
                f"step {numbers.step} changed nothing: gradients overflowed float16 with the loss scale "
                f"{numbers.loss_scale:g}, which is halved"
            )
            self.note(f"{why} ({self._skipped} skipped so far)")
        if numbers.poison is not None:
            self._poisons.append(numbers.poison)
        scaling = {} if numbers.loss_scale is None else {"loss_scale": numbers.loss_scale}
        if scaling or self._skipped:
            scaling["steps_skipped"] = float(self._skipped)
            self._loss_scale = numbers.loss_scale
        assert self._journal is not None
        # JSON has no word for a number that is not finite.
        loss = numbers.loss if math.isfinite(numbers.loss) else None
        self._journal.write("step", step=numbers.step, epoch=numbers.epoch, loss=loss, rows=list(numbers.rows))
        if why:
            self._journal.write("skipped", step=numbers.step, why=why)
        self._book.add(numbers.reports, numbers.num_tokens)
        self._steps.append(_without_reports(numbers))
        self._recent.append(numbers)
        self._progress.step(
            numbers.step,
            epoch=numbers.epoch,
            loss=numbers.loss,
            tokens_per_second=numbers.tokens_per_second,
            busy=numbers.busy,
        )
        some = ("predicted_seconds", "compression_error", "adversarial_loss")
        busy = {f"busy/stage_{j}": share for j, share in enumerate(numbers.busy)}
        self.tracker.metrics(
            numbers.step,
            {
                "loss": numbers.loss,
                "grad_norm": numbers.grad_norm,
                "learning_rate": numbers.learning_rate,
                "tokens_per_second": numbers.tokens_per_second,
                "step_seconds": numbers.seconds,
                "ideal_seconds": numbers.ideal_seconds,
                **{name: value for name in some if (value := getattr(numbers, name)) is not None},
                **busy,
                **scaling,
                **sharing.metrics(numbers),
            },
        )

    def scored(self, split: str, *, epoch: int, step: int, report: Report) -> None:
        assert self.tracker is not None
        assert self._journal is not None
        self._journal.write("scored", split=split, epoch=epoch, step=step, score=report.score, name=report.score_name)
        self._scores[split].append((epoch, step, report))
        self.tracker.metrics(step, report.metrics(split))
        when = f"after epoch {epoch} (step {step})" if split == "dev" else "with the final weights"
        self.note(f"\n{split}, {when}\n{report.table()}\n")

    def saved(self, checkpoint: Path, waited: float | None) -> None:
        assert self._journal is not None
        self._journal.write("saved", checkpoint=checkpoint.name, waited=waited)
        self.note(f"checkpoint {checkpoint}" + ("" if waited is None else f" (steps waited {waited:.2f} s)"))

    def recovered(self, recovery: Recovery) -> None:
        assert self.tracker is not None
        assert self._journal is not None
        self._recoveries.append(recovery)
        self._journal.write("recovered", **asdict(recovery), replayed=recovery.replayed)
        self.note(f"recovered: {recovery}")
        self.tracker.metrics(
            recovery.step,
            {
                "recoveries": float(len(self._recoveries)),
                "steps_replayed": float(sum(one.replayed for one in self._recoveries)),
                **{f"recovery_seconds/{phase}": seconds for phase, seconds in recovery.seconds.items()},
            },
        )

    def moved(self, move: Move) -> None:
        assert self.tracker is not None
        assert self._journal is not None
        assert self._progress is not None
        told = asdict(move) | {"replayed": move.replayed}
        # Plans are kept whole as files; here it is enough how many stages they have.
        told |= {"stages_before": len(told.pop("before")["stages"]), "stages": len(told.pop("plan")["stages"])}
        self._moves.append(told)
        self._journal.write("moved", **told)
        self.note(f"moved: {move}")
        self.tracker.plan(move.plan, number=len(self._moves))
        self._summary["plan"] = move.plan
        self._accounts.append(self._book.close())
        self._book = Book(holdings(move.plan["stages"]), self._config.energy)
        self._progress.move(len(move.plan["stages"]))
        self.tracker.metrics(
            move.step,
            {
                "moves": float(len(self._moves)),
                "stages": float(len(move.plan["stages"])),
                **{f"move_seconds/{phase}": seconds for phase, seconds in move.seconds.items()},
            },
        )

    def straggling(self, straggler: Straggler) -> None:
        assert self._journal is not None
        self._journal.write("straggling", **asdict(straggler))
        self.note(str(straggler))

    def note(self, text: str) -> None:
        if self._progress is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._progress.note(text)

    def stop_showing(self) -> None:
        """Take the live panel away; safe to call twice."""
        self._stop_measuring()
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None

    # -- what stays -----------------------------------------------------------------------------

    def draw(self) -> None:
        """The pictures of the run, in its folder and in MLflow."""
        assert self.tracker is not None
        place = self.folder / "pictures"
        place.mkdir(exist_ok=True)
        if self._steps:
            pictures.loss_curve(
                place / "loss.png",
                [n.step for n in self._steps],
                [n.loss for n in self._steps],
                [n.learning_rate for n in self._steps],
                {step: report.score for _, step, report in self._scores["dev"]},
                score_name="dev " + "".join(report.score_name for _, _, report in self._scores["dev"][:1]),
            )
            typical = sorted(self._recent, key=lambda n: n.seconds)[len(self._recent) // 2]
            pictures.timeline(place / "timeline.png", typical.reports)
        if self._choice is not None:
            save_plan_picture(place / "plan.png", self._choice)
        final = (self._scores["test"] or self._scores["dev"])[-1:]
        for _, _, report in final:
            report.draw(place)
        for path in sorted(place.glob("*.png")):
            self.tracker.picture(path)

    def write_summary(self, **more: Any) -> dict[str, Any]:
        """Write summary.json, also to MLflow, and return it."""
        assert self.tracker is not None
        warm = self._steps[WARM_UP:] if len(self._steps) > WARM_UP else self._steps
        summary = self._summary | {
            "seconds": round(time.time() - self._began, 1),
            "steps_run": len(self._steps),
            "mlflow": {"run_id": self.tracker.run_id, "experiment_id": self.tracker.experiment_id},
            "dev": [_scored(*one) for one in self._scores["dev"]],
            "test": [_scored(*one) for one in self._scores["test"]][-1:],
        }
        if warm:
            summary["loss"] = {"first": self._steps[0].loss, "last": self._steps[-1].loss}
            summary["throughput"] = {
                "useful_tokens_per_second": sum(n.num_tokens for n in warm) / sum(n.seconds for n in warm),
                "steps": len(warm),
                "bytes_sent_per_step": round(sum(n.bytes_sent for n in warm) / len(warm)),
            }
            summary["timing"] = {
                "median_step_seconds": median(n.seconds for n in warm),
                "median_ideal_seconds": median(n.ideal_seconds for n in warm),
                "step_over_ideal": sum(n.seconds for n in warm) / sum(n.ideal_seconds for n in warm),
            }
            predicted = [n.predicted_seconds for n in warm if n.predicted_seconds is not None]
            if len(predicted) == len(warm):
                summary["timing"] |= {
                    "mean_predicted_seconds": fmean(predicted),
                    "predicted_over_measured": sum(predicted) / sum(n.seconds for n in warm),
                }
        if self._recoveries:
            summary["recoveries"] = [asdict(one) | {"replayed": one.replayed} for one in self._recoveries]
        if self._moves:
            summary["moves"] = self._moves
        if served := sharing.summary(self._steps):
            summary["sharing"] = served
        if self._loss_scale is not None:
            summary["float16"] = {"steps_skipped": self._skipped, "last_loss_scale": self._loss_scale}
        if self._poisons:
            summary["poisoned"] = {"steps_skipped": len(self._poisons), "last": self._poisons[-TOLD:]}
        if self._steps:
            energy = added([*self._accounts, self._book.close()])
            summary["energy"] = energy.to_json()
            self.tracker.metrics(self._steps[-1].step, energy.metrics())
        summary |= more
        write_json(self.folder / SUMMARY, summary)
        self.tracker.file(self.folder / SUMMARY)
        return summary

    def finish(self, status: Status) -> None:
        """End the run in MLflow, if it began."""
        self.stop_showing()
        if self._journal is not None:
            self._journal.write("finished", status=status)
            self._journal.close()
        if self.tracker is not None:
            self.tracker.finish(status)


def _scored(epoch: int, step: int, report: Report) -> dict[str, Any]:
    return {"epoch": epoch, "step": step, "score": report.score, "score_name": report.score_name} | report.to_json()


def _without_reports(numbers: StepNumbers) -> StepNumbers:
    """What can be kept of every step of a long run."""
    kept = {name: getattr(numbers, name) for name in StepNumbers.__slots__}
    return StepNumbers(**(kept | {"reports": (), "rows": ()}))
