"""What the configuration says of workers: what each of them computes with, and how many there are."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.plan_settings import PlanConfig, check_answering
from pipelines.section import Section


class ScaleConfig(Section):
    """As many workers as there is work for."""

    least: int = Field(default=1, ge=0)
    """With 0 the endpoint answers from an idle cluster after the time that a worker needs to start."""
    most: int = Field(ge=1)
    wait: float = Field(default=0.1, gt=0)
    """Seconds of work that may wait for each worker; where more does, there are too few of them."""
    up_after: float = Field(default=5, gt=0)
    """Seconds of more work than the workers can do after which there are more of them."""
    down_after: float = Field(default=60, gt=0)
    """Seconds of less work after which there are fewer."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise PydanticCustomError("order", "least is above most; at least as many workers as at most cannot be")
        return self


class WorkersConfig(Section):
    """Workers that are alike."""

    replicas: int = Field(default=1, ge=1)
    """Workers, each with a copy of the model."""
    scale: ScaleConfig | None = None
    """By load, in the place of `replicas`."""
    device: Literal["cpu", "gpu"] = "cpu"
    """What a worker computes on, of which it takes one for itself."""
    cpus_per_replica: float = Field(default=1, gt=0)
    """CPUs reserved for each worker; torch, or what runs the graph, uses as many threads (at least one)."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that a worker's node must have, as Ray selects by them, such as {ray.io/accelerator-type: A100}."""
    plan: PlanConfig | None = None
    """The model is cut over actors of its own, as `plan` of jobs.train cuts it: `stages` and, if wanted, `devices`,
    `cpus_per_stage`, `cut`, `stage_of` and `timeout`. One process holds all of it when left out."""

    @property
    def least(self) -> int:
        """Workers that there are at least."""
        return self.replicas if self.scale is None else self.scale.least

    @property
    def most(self) -> int:
        """Workers that there are at most."""
        return self.replicas if self.scale is None else self.scale.most

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.scale is not None and self.replicas != 1:
            raise PydanticCustomError("both", "scale decides how many workers there are; leave replicas out")
        if self.plan is None:
            return self
        check_answering(self.plan, fewest=2)
        if self.device == "gpu":
            raise PydanticCustomError(
                "devices", "a worker whose model is cut computes nothing itself; set devices of its plan, not device"
            )
        return self
