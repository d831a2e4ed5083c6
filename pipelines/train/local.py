"""Each stage's own way to compute, put into what it is told of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.config import TrainConfig
from pipelines.plan.local import Local, local_trains
from pipelines.train.optimizers import check_device
from pipelines.train.specs import StageSpec


def localised(specs: Sequence[StageSpec], train: TrainConfig, chosen: Sequence[Local]) -> list[StageSpec]:
    """The specs of all stages, each with its own choices.

    Raises:
        UserError: the choices do not go together.
    """
    mixed = len({local.precision for local in chosen}) > 1
    own = zip(specs, local_trains(train, chosen), strict=True)
    return [replace(spec, train=train, widens=mixed and train.precision == "float32") for spec, train in own]


def check_local(train: TrainConfig, chosen: Sequence[tuple[str, Local]]) -> None:
    """Refuse early what stages could not do.

    Args:
        chosen: the kind of each stage's device, `cpu` or `gpu`, and its choices.

    Raises:
        UserError: an optimizer that is not for this kind of device; precisions that do not go together.
    """
    local_trains(train, [local for _, local in chosen])
    for kind, local in chosen:
        check_device(local.optimizer, kind)
