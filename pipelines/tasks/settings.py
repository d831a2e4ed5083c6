"""What a task must know of a run's config, beside its loss."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskSettings:
    mask_probability: float = 0.15
    """`train.mask_probability`."""
    temperature: float = 0.05
    """`train.temperature`."""
    seed: int = 0
    """`run.seed`."""


USUAL = TaskSettings()
