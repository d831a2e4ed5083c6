"""What the configuration says of learning from another model's answers; see docs/distillation.md."""

from __future__ import annotations

from pydantic import Field, field_validator

from pipelines.plan_settings import PlanConfig, check_answering
from pipelines.section import Section


class DistilConfig(Section):
    teacher: str
    """A model that was trained for the same task and labels: its folder, or what else `model.source` takes."""
    weight: float = Field(default=0.5, gt=0, le=1)
    """Share of the loss that is how far the model's answers are from the teacher's; the rest is the task's own."""
    temperature: float = Field(default=2.0, gt=0)
    """What the logits of both are divided by before they are compared: the higher, the more the teacher's second and
    third thoughts count."""
    plan: PlanConfig | None = None
    """The teacher sits on devices of its own while the data are tokenised, one for each data shard: `stages`, and if
    wanted `devices`, `cpus_per_stage`, `cut`, `stage_of` and `timeout`. In the shards' own processes when left out."""

    @field_validator("plan")
    @classmethod
    def _answers(cls, plan: PlanConfig | None) -> PlanConfig | None:
        if plan is not None:
            check_answering(plan, fewest=1)
        return plan
