"""What came of a run that was attacked: kills, recoveries, and whether it learnt what an untouched one learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from cluster.chaos import Attacked
from pipelines.report.journal import read_journal, rows_by_epoch


@dataclass(frozen=True, slots=True)
class ChaosReport:
    attacked: Attacked
    untouched_seconds: float
    recoveries: tuple[Mapping[str, Any], ...]
    """As the journal has them: who was lost, seconds by phase, steps replayed."""
    resumed: tuple[int, ...]
    """Where each submission of the command began, in steps."""
    differing: tuple[str, ...]
    """Weights that are not bitwise those of the untouched run."""
    uneven: tuple[int, ...]
    """Epochs in which some example was not seen exactly once."""
    num_steps: int
    num_rows: int

    @property
    def ok(self) -> bool:
        return self.attacked.exit_code == 0 and not self.differing and not self.uneven

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok}


def make_report(attacked: Attacked, untouched_seconds: float, chaos: Path, untouched: Path) -> ChaosReport:
    """Compare the folders of both runs."""
    lines = list(read_journal(chaos))
    epochs, expected = rows_by_epoch(chaos), rows_by_epoch(untouched)
    return ChaosReport(
        attacked=attacked,
        untouched_seconds=untouched_seconds,
        recoveries=tuple(line for line in lines if line["what"] == "recovered"),
        resumed=tuple(line["first_step"] for line in lines if line["what"] == "began"),
        differing=_differing(chaos / "model", untouched / "model"),
        uneven=tuple(
            epoch
            for epoch in sorted({*epochs, *expected})
            if Counter(epochs.get(epoch, [])) != Counter(set(expected.get(epoch, [])))
        ),
        num_steps=max((line["step"] for line in lines if line["what"] == "step"), default=0),
        num_rows=len(set(expected.get(1, []))),
    )


def _differing(one: Path, other: Path) -> tuple[str, ...]:
    if not (one / "model.safetensors").is_file():
        return ("all of them: there is no model",)
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    same = {name for name in first if name in second and torch.equal(first[name], second[name])}
    return tuple(sorted({*first, *second} - same))


def show(report: ChaosReport, console: Console) -> None:
    """Tables for a person."""
    kills = Table("kill", "at, s", "who", "after step", "in recovery", title="What was killed")
    for number, kill in enumerate(report.attacked.kills, 1):
        kills.add_row(str(number), f"{kill.seconds:.1f}", kill.who, str(kill.step), "yes" if kill.in_recovery else "")
    console.print(kills)
    found = Table("lost", "replayed", "seconds", "by phase", title="Recoveries")
    for one in report.recoveries:
        seconds = one["seconds"]
        phases = ", ".join(f"{phase} {value:.1f}" for phase, value in seconds.items())
        found.add_row(", ".join(one["lost"]), str(one["replayed"]), f"{sum(seconds.values()):.1f}", phases)
    console.print(found)
    # The end of a run's output is no markup.
    console.print(verdict(report), markup=False)


def verdict(report: ChaosReport) -> str:
    """In a few sentences."""
    counted = Counter(kill.who for kill in report.attacked.kills)
    killed = ", ".join(f"{number} x {who}" for who, number in sorted(counted.items())) or "nothing"
    took = [sum(one["seconds"].values()) - one["seconds"]["replayed"] for one in report.recoveries]
    replayed = [one["replayed"] for one in report.recoveries]
    text = [
        f"Killed: {killed}; {report.attacked.submissions} submissions, going on from steps "
        f"{', '.join(map(str, report.resumed))} of {report.num_steps}.",
        f"{report.attacked.seconds:.0f} s, untouched {report.untouched_seconds:.0f} s.",
    ]
    if took:
        text.append(
            f"{len(took)} recoveries beside: median {median(took):.1f} s (most {max(took):.1f}) beyond replayed "
            f"steps, of which there were {sum(replayed)} (at most {max(replayed)} at once)."
        )
    if report.attacked.exit_code:
        text.append(f"The run failed with exit code {report.attacked.exit_code}:\n{report.attacked.ending}\n")
    weights = f"{len(report.differing)} weights differ, such as {report.differing[0]}" if report.differing else ""
    text.append(f"Weights: {weights or 'bitwise those of the untouched run'}.")
    rows = f"not so in epochs {', '.join(map(str, report.uneven))}" if report.uneven else "so"
    text.append(f"Every example of {report.num_rows} exactly once in every epoch: {rows}.")
    return " ".join(text)
