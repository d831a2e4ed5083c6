"""What a task must know of a run's config, beside its loss."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.distil_settings import DistilConfig
from pipelines.recipe_settings import ContrastiveConfig
from pipelines.tasks.writing_rules import WritingRules


@dataclass(frozen=True, slots=True)
class TaskSettings:
    mask_probability: float = 0.15
    """`train.mask_probability`."""
    temperature: float = 0.05
    """`train.temperature`."""
    seed: int = 0
    """`run.seed`."""
    distil: DistilConfig | None = None
    """`train.distil`."""
    contrastive: ContrastiveConfig | None = None
    """`train.contrastive`."""
    rules: WritingRules | None = None
    """How texts are written; for the head alone, and None where none are."""


USUAL = TaskSettings()
