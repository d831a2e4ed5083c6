"""What the configuration says of ways to train that make a model more robust; see docs/recipes.md."""

from __future__ import annotations

from pydantic import Field

from pipelines.section import Section


class AdversarialConfig(Section):
    epsilon: float = Field(default=1.0, gt=0)
    """How far the table of sub-word embeddings is moved, in the direction in which the loss rises fastest: the length
    (L2) of all of its values' moves together."""


class ContrastiveConfig(Section):
    weight: float = Field(default=0.1, gt=0, le=1)
    """Share of the loss that is the contrastive one; the rest is the task's own."""
    temperature: float = Field(default=0.3, gt=0)
    """What cosines are divided by: the lower, the more the likest of the other rows count."""
