"""How each stage computes: what the config says of its type of device, over what it says of all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.config import Config, TrainConfig
from pipelines.errors import UserError

KINDS = ("cpu", "gpu")
"""Every type of device is of one of these kinds, which `devices` may always name."""

INITIAL = 65536.0
"""Where the loss scale of float16 begins: torch.amp.GradScaler's default."""


@dataclass(frozen=True, slots=True)
class Local:
    """One stage's choices."""

    optimizer: str
    betas: tuple[float, float]
    learning_rate: float
    """The highest: it rises and falls as everywhere."""
    precision: Literal["float32", "bfloat16", "float16"]
    threads: int | None
    """As many as CPUs when None."""
    compile: bool


def local_of(config: Config, *names: str, precision: str | None = None) -> Local:
    """The choices for a type of device.

    Args:
        names: what `devices` may call it, the most special first: its own name, then `cpu` or `gpu`.
        precision: what it was measured in, for where `devices` says nothing of it.
    """
    train = config.train
    said = [config.devices[name] for name in names if name in config.devices]

    def first(field: str, otherwise: Any) -> Any:
        """What was said, by the most special name that says anything of this field."""
        return next((getattr(part, field) for part in said if field in part.model_fields_set), None) or otherwise

    return Local(
        optimizer=first("optimizer", train.optimizer),
        betas=first("betas", train.betas),
        learning_rate=train.learning_rate * first("rate_factor", 1.0),
        precision=first("precision", precision or train.precision),
        threads=first("threads", None),
        compile=first("compile", False),
    )


def check_names(config: Config, known: Collection[str]) -> None:
    """Refuse what `devices` says of a type that there is not: it would be ignored.

    Args:
        known: the types' own names, which may be none.

    Raises:
        UserError: names the known ones.
    """
    names = [*KINDS, *(name for name in known if name not in KINDS)]
    for name in config.devices:
        if name not in names:
            raise UserError(f"There is no type of device {name!r} (devices.{name}); known: {', '.join(names)}.")


def local_trains(train: TrainConfig, chosen: Sequence[Local]) -> list[TrainConfig]:
    """`train` as it is for each stage.

    A loss scale is one for all stages, since gradients carry it from one to the next: where any computes in float16,
    all have it.

    Raises:
        UserError: some stages compute in bfloat16 and others in float16.
    """
    halves = {local.precision for local in chosen} - {"float32"}
    if len(halves) > 1:
        raise UserError(
            "Some stages compute in bfloat16 and others in float16, which has another range: what one sends would "
            "overflow in the next. Set one of them to float32, or both to the same (train.precision, devices)."
        )
    scale = (train.loss_scale or INITIAL) if "float16" in halves else None
    return [
        train.model_copy(
            update={
                "optimizer": local.optimizer,
                "betas": local.betas,
                "learning_rate": local.learning_rate,
                "precision": local.precision,
                "loss_scale": scale,
            }
        )
        for local in chosen
    ]
