"""What the driver tells of a run while it goes on. Numbers and names; never tensors or text of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.config import Config
from pipelines.plan.choose import Choice
from pipelines.plan.pace import Straggler
from pipelines.report.report import Report
from pipelines.train.events import StageReport


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known before the first step."""

    num_steps: int
    first_step: int
    """Where a resumed run goes on; 0 for a new one."""
    num_epochs: int
    plan: Mapping[str, Any]
    """The plan with each stage's real device."""
    data: Mapping[str, Any]
    """Rows, sub-words, padding waste and words cut, by split."""
    labels: Sequence[str]
    config: Config
    """As it is run, with nothing left open."""


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """One step, measured."""

    step: int
    """Counts from 1."""
    epoch: int
    """Counts from 1."""
    loss: float
    grad_norm: float
    learning_rate: float
    num_tokens: int
    """Sub-words of the step's examples, without padding."""
    rows: Sequence[int]
    """The numbers of the step's examples in the training split."""
    seconds: float
    """From the end of the step before (or, after a pause, from the first action) to the last stage's update."""
    ideal_seconds: float
    """What the schedule would take with the measured times of its actions and nothing else."""
    bytes_sent: int
    reports: Sequence[StageReport]
    staleness: tuple[int, ...] = ()
    """With parameter servers: for each wave of the step, how many updates its weights were behind."""
    waves: tuple[int, ...] = ()
    """With parameter servers: for each replica, how many waves of the step it ran."""
    predicted_seconds: float | None = None
    """What its micro-batches were predicted to take, where unit times of the devices are known."""
    poison: str | None = None
    """What is to be told of a step that was left out because its numbers are not finite; None of any other."""

    @property
    def tokens_per_second(self) -> float:
        return self.num_tokens / self.seconds

    @property
    def compression_error(self) -> float | None:
        """The largest relative error of any tensor that was compressed on its way."""
        errors = [report.compression_error for report in self.reports if report.compression_error is not None]
        return max(errors, default=None)

    @property
    def adversarial_loss(self) -> float | None:
        """The loss with the table of embeddings moved (`train.adversarial` only)."""
        return next((found for report in self.reports if (found := report.adversarial_loss) is not None), None)

    @property
    def loss_scale(self) -> float | None:
        """What the loss was multiplied by (float16 only)."""
        return self.reports[0].loss_scale

    @property
    def skipped(self) -> bool:
        """Whether a number was not finite, or a gradient overflowed float16, so that no weight was changed."""
        return self.reports[0].skipped

    @property
    def busy(self) -> list[float]:
        """Each stage's share of the step that it spent computing."""
        return [min(1.0, report.busy / self.seconds) for report in self.reports]


@dataclass(frozen=True, slots=True)
class Recovery:
    """A loss, and what it took to go on."""

    why: str
    """What was noticed."""
    lost: Sequence[str]
    """Who was replaced; nobody where all came to rest and answered."""
    by_spares: Sequence[str]
    """Those of them whose place a spare took, so that no new process had to start."""
    step: int
    """Steps that were done when it happened."""
    back_to: int
    """Steps that were done in the copy that everybody went back to."""
    seconds: Mapping[str, float]
    """By phase: `found`, `started`, `built`, `restored`, `replayed`."""

    @property
    def replayed(self) -> int:
        """Steps that were run again."""
        return self.step - self.back_to

    def __str__(self) -> str:
        who = ", ".join(f"{one} by a spare" if one in self.by_spares else one for one in self.lost) or "nobody"
        phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in self.seconds.items())
        took = f"{sum(self.seconds.values()):.1f} s ({phases})"
        return f"{self.why} Replaced: {who}; {self.replayed} steps run again; {took}"


@dataclass(frozen=True, slots=True)
class Move:
    """The run goes on with another plan: nodes that it needed are gone, or some that have joined are worth it."""

    why: str
    lost: Sequence[str]
    """Ray's ids of nodes."""
    joined: Sequence[str]
    step: int
    """Steps that were done when it happened."""
    back_to: int
    """Steps that were done in the state that it goes on from."""
    before: Mapping[str, Any]
    plan: Mapping[str, Any]
    """The plan from now on, with each stage's real device."""
    seconds: Mapping[str, float]
    """By phase: `left`, `planned`, `built`, `replayed`."""

    @property
    def replayed(self) -> int:
        """Steps that were run again."""
        return self.step - self.back_to

    def __str__(self) -> str:
        phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in self.seconds.items())
        now, before = len(self.plan["stages"]), len(self.before["stages"])
        return (
            f"{self.why} A new plan: {now} stage{'' if now == 1 else 's'} instead of {before}; "
            f"{self.replayed} steps run again; {sum(self.seconds.values()):.1f} s ({phases})"
        )


class Observer(Protocol):
    """Whoever shows or stores a run."""

    def measuring(self, what: str, done: int, total: int) -> None:
        """Before `begin`: so much of a measurement is done."""

    def planned(self, choice: Choice) -> None:
        """Before `begin`: the plan that was found, where nobody gave one."""

    def begin(self, beginning: Beginning) -> None: ...

    def step(self, numbers: StepNumbers) -> None: ...

    def scored(self, split: str, *, epoch: int, step: int, report: Report) -> None: ...

    def saved(self, checkpoint: Path, waited: float | None) -> None:
        """A checkpoint is written; steps waited for it so many seconds, if that is known."""

    def recovered(self, recovery: Recovery) -> None: ...

    def moved(self, move: Move) -> None: ...

    def straggling(self, straggler: Straggler) -> None: ...

    def note(self, text: str) -> None:
        """Something that whoever watches the run should know."""
