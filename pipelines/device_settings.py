"""What the configuration says by type of device: how stages on it compute, what it draws, what it costs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pipelines.section import Section


def _not_compiled(value: bool) -> bool:
    if value:
        raise PydanticCustomError(
            "compile",
            "stages are not compiled: what they put in place of linear layers, dropout and the calls between chunks is "
            "Python that torch.compile cannot look through, and plain blocks that it did compile took 1.7 times as "
            "long as a stage does (docs/engine.md); leave it out",
        )
    return value


class DeviceConfig(Section):
    """How stages on one type of device compute. What is left out is as `train` says."""

    optimizer: str | None = None
    """See pipelines/train/optimizers.py."""
    betas: tuple[float, float] | None = None
    """Lion's authors use (0.9, 0.99)."""
    rate_factor: float = Field(default=1.0, gt=0)
    """The learning rate here is `train.learning_rate` times this: Lion wants about a tenth of AdamW's, Adafactor's is
    relative to the size of the weights."""
    precision: Literal["float32", "bfloat16", "float16"] | None = None
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch's CPU kernels; as many as CPUs are reserved (at least one) when left out."""
    compile: Annotated[bool, AfterValidator(_not_compiled)] = False
    """Whether torch.compile is used: it is not yet, and true is refused with the reason."""


class WattsConfig(Section):
    """Of one CPU (a thread of the processor, as Ray counts), or of one GPU."""

    idle: float = Field(ge=0)
    busy: float = Field(ge=0)


class EnergyConfig(Section):
    carbon_intensity: float | None = Field(default=None, ge=0)
    """Grams of CO2 for a kilowatt-hour where the cluster stands; the world's average when left out."""
    watts: dict[str, WattsConfig] = Field(default_factory=dict)
    """By type of device or by `cpu` and `gpu`, for estimates where nothing can be measured; see docs/energy.md."""
    price: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """What an hour of one CPU or one GPU costs, by type of device or by `cpu` and `gpu`; or no money is told."""
    currency: str = "USD"
    """In what the prices are."""
