"""The loss scale of float16 training: what torch.amp.GradScaler does, by the one norm that all stages learn.

float16 ends at 65504, and what is smaller than 6e-8 is 0: most gradients of a mean are. So the last stage
multiplies the loss by a large number, and the update divides every gradient by it. Where the number was too
large, gradients overflow, and with them the global norm: then the step changes no weight and the number is
halved (Micikevicius et al. 2018, Mixed Precision Training, section 3.2). Each stage keeps this state for
itself; since all see the same norm, all decide alike, and nothing needs to be said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipelines.config import Config, TrainConfig
from pipelines.errors import UserError
from pipelines.plan.local import INITIAL

GROWTH, BACKOFF, INTERVAL = 2.0, 0.5, 2000
"""torch.amp.GradScaler's defaults, as INITIAL."""

NAME = ".loss_scale"
"""Bears the state in a checkpoint, beside the parameters' names: a name that no parameter can have."""


@dataclass(frozen=True, slots=True)
class LossScale:
    """What the loss is multiplied by, and how long that has gone well."""

    scale: float = INITIAL
    good_steps: int = 0
    """Updates in a row since the scale last changed."""

    def after(self, norm: float) -> LossScale:
        """The state behind a step whose scaled gradients have this global norm: inf or NaN where one overflowed."""
        if not math.isfinite(norm):
            return LossScale(self.scale * BACKOFF)
        if self.good_steps + 1 < INTERVAL:
            return replace(self, good_steps=self.good_steps + 1)
        # The scaled loss is a float32.
        grown = self.scale * GROWTH
        return LossScale(grown if grown <= torch.finfo(torch.float32).max else self.scale)

    def times(self, loss: Tensor) -> Tensor:
        """The loss to go back from."""
        return loss.to(torch.promote_types(loss.dtype, torch.float32)) * self.scale

    @property
    def spent(self) -> bool:
        """Whether gradients that are not finite have another reason than the scale."""
        return self.scale < 1

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint, as NAME/KEY; the same on every stage."""
        return {
            f"{NAME}/scale": torch.tensor(self.scale, dtype=torch.float64),
            f"{NAME}/good_steps": torch.tensor(self.good_steps),
        }

    def restored(self, key: str, value: Tensor) -> LossScale:
        """With one KEY of what `state` gave."""
        return replace(self, scale=float(value)) if key == "scale" else replace(self, good_steps=int(value))

    @staticmethod
    def of(train: TrainConfig) -> LossScale | None:
        """Where a run begins; None where nothing is scaled. A float32 stage scales too where others are in float16."""
        scaled = train.precision == "float16" or train.loss_scale is not None
        return LossScale(train.loss_scale or INITIAL) if scaled else None


def check_scaling(config: Config) -> None:
    """Refuse what does not go together with a loss scale, or asks for one where there is none.

    Raises:
        UserError: says which two settings contradict each other.
    """
    train, adapter = config.train, config.adapter
    if "float16" not in {train.precision, *(device.precision for device in config.devices.values())}:
        if train.loss_scale is not None:
            raise UserError(
                f"train.loss_scale={train.loss_scale} has no effect with train.precision={train.precision}: only "
                "float16 is scaled. Leave train.loss_scale out, or use train.precision=float16."
            )
    elif adapter is not None and adapter.method == "adalora":
        raise UserError(
            "adapter.method=adalora does not go together with train.precision=float16: a step that is skipped because "
            "a gradient overflowed may be one at which the ranks are allotted. Use train.precision=bfloat16 or float32."
        )
