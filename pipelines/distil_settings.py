"""What the configuration says of learning from another model's answers; see docs/distillation.md."""

from __future__ import annotations

from pydantic import Field

from pipelines.section import Section


class DistilConfig(Section):
    teacher: str
    """A model that was trained for the same task and labels: its folder, or what else `model.source` takes."""
    weight: float = Field(default=0.5, gt=0, le=1)
    """Share of the loss that is how far the model's answers are from the teacher's; the rest is the task's own."""
    temperature: float = Field(default=2.0, gt=0)
    """What the logits of both are divided by before they are compared: the higher, the more the teacher's second and
    third thoughts count."""
