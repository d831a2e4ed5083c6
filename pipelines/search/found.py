"""What a search found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial."""

    number: str
    chosen: Mapping[str, Any]
    """By key."""
    as_it_is: bool
    """Whether this is what the config says."""
    score: float | None
    """The best that it had on dev; None if it failed."""
    epochs: int
    stopped: bool
    """Whether it was ended because others did better."""
    problem: str | None
    folder: str | None = None
    """Of the run that came to the trial's end, with its model; None if none did."""


@dataclass(frozen=True, slots=True)
class Found:
    score_name: str
    trials: list[Tried]
    """The best first."""

    @property
    def best(self) -> Tried:
        return self.trials[0]

    @property
    def default(self) -> Tried | None:
        """The config as it is; None if it took over from another trial."""
        return next((trial for trial in self.trials if trial.as_it_is), None)


def table(found: Found) -> str:
    """A line a trial, the best first."""
    width = max(len(_chosen(one)) for one in found.trials)
    lines = [f"{'trial':<8}{'settings':<{width}}  {'best ' + found.score_name + ' on dev':>22}  epochs"]
    for one in found.trials:
        score = f"{one.score:.4f}" if one.score is not None else "failed"
        ended = " (stopped)" if one.stopped else f" ({one.problem})" if one.problem else ""
        lines.append(f"{one.number:<8}{_chosen(one):<{width}}  {score:>22}  {one.epochs:>6}{ended}")
    default = found.default
    if default is not None and default.score is not None and found.best.score is not None:
        lines.append(f"better than the config as it is by {found.best.score - default.score:.4f}")
    return "\n".join(lines)


def _chosen(one: Tried) -> str:
    parts = [f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in one.chosen.items()]
    return ", ".join(parts) + " (the config as it is)" * one.as_it_is
