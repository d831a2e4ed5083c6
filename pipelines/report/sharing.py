"""What is told of replicas with parameter servers: who ran how many waves, and how stale their weights were."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from pipelines.report.observer import StepNumbers


def metrics(numbers: StepNumbers) -> dict[str, float]:
    """Of one step; empty without parameter servers."""
    if not numbers.waves:
        return {}
    return {
        "staleness/mean": fmean(numbers.staleness),
        "staleness/max": float(max(numbers.staleness)),
        **{f"waves/replica_{r}": float(waves) for r, waves in enumerate(numbers.waves)},
    }


def summary(steps: Sequence[StepNumbers]) -> dict[str, Any]:
    """Of all steps; empty without parameter servers."""
    staleness = [stale for numbers in steps for stale in numbers.staleness]
    if not staleness:
        return {}
    return {
        "staleness": {"mean": fmean(staleness), "max": max(staleness)},
        "waves_per_replica": [sum(waves) for waves in zip(*(numbers.waves for numbers in steps), strict=True)],
    }
