"""An observer that keeps what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.plan.choose import Choice
from pipelines.plan.pace import Straggler
from pipelines.report.observer import Beginning, Move, Recovery, StepNumbers


class Watcher:
    """Keeps what a run tells, and can act after a step."""

    def __init__(self, after: Mapping[int, Callable[[], object]] | None = None) -> None:
        self.after = after or {}
        self.choice: Choice | None = None
        self.beginning: Beginning | None = None
        self.steps: list[StepNumbers] = []
        self.reports: dict[str, list[Any]] = {"dev": [], "test": []}
        self.checkpoints: list[Path] = []
        self.recoveries: list[Recovery] = []
        self.moves: list[Move] = []
        self.stragglers: list[Straggler] = []
        self.notes: list[str] = []

    def measuring(self, what: str, done: int, total: int) -> None: ...

    def planned(self, choice: Choice) -> None:
        self.choice = choice

    def begin(self, beginning: Beginning) -> None:
        self.beginning = beginning

    def step(self, numbers: StepNumbers) -> None:
        self.steps.append(numbers)
        self.after.get(numbers.step, lambda: None)()

    def scored(self, split: str, *, epoch: int, step: int, report: Any) -> None:
        assert report.micro.support > 0
        self.reports[split].append((epoch, step, report))

    def saved(self, checkpoint: Path, waited: float | None) -> None:
        assert waited is None or waited >= 0
        self.checkpoints.append(checkpoint)

    def recovered(self, recovery: Recovery) -> None:
        self.recoveries.append(recovery)

    def moved(self, move: Move) -> None:
        self.moves.append(move)

    def straggling(self, straggler: Straggler) -> None:
        self.stragglers.append(straggler)

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def scores(self) -> list[tuple[str, int, int]]:
        """Split, epoch and step of every report."""
        return [(split, epoch, step) for split, found in self.reports.items() for epoch, step, _ in found]
