"""Elastic weight consolidation: weights that mattered for what was learnt before are held back.

    loss + strength / 2 * sum of F * (w - w*)²       gradient: strength * F * (w - w*)

`w*` are the weights that the run starts from, and `F` (pipelines/train/importance.py) says of each how much it
mattered (Kirkpatrick et al. 2017, equation 3). With several earlier sets, `F` is the sum of theirs: `w*` already
minimises the loss with the penalties before it, so that one penalty around it stands for all (Huszár 2018, On Quadratic
Penalties in Elastic Weight Consolidation).

Each weight's part depends on that weight alone. So whoever owns a parameter adds its gradient, once a step, when the
micro-batches' are summed and before they are clipped; nothing depends on the cut.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipelines.train.loss_scale import LossScale

HELD = "ewc_"
"""What belongs to this is handed over beside an optimizer's state, as NAME/ewc_KEY; checkpoints do not hold it."""
ANCHOR, IMPORTANCE = f"{HELD}anchor", f"{HELD}importance"


class Elastic:
    """The penalty of the parameters that one stage owns."""

    def __init__(self, strength: float, own: Mapping[str, nn.Parameter]) -> None:
        """
        Args:
            own: this stage's trained parameters by fully qualified name.
        """
        self._strength, self._own = strength, own
        self._held: dict[str, dict[str, Tensor]] = {ANCHOR: {}, IMPORTANCE: {}}

    def take(self, name: str, kind: str, value: Tensor) -> None:
        """Copy in the anchor or the importance of a parameter of this stage; others are left to their owners."""
        if name in self._own:
            own = self._own[name]
            self._held[kind][name] = value.to(own.device, own.dtype, copy=True)

    def state(self) -> dict[str, Tensor]:
        """What `take` took, as NAME/KIND: its own memory, which never changes."""
        return {f"{name}/{kind}": value for kind, values in self._held.items() for name, value in values.items()}

    def check_loaded(self) -> None:
        missing = [name for name in self._own for values in self._held.values() if name not in values]
        assert not missing, f"not held by anything: {missing[:3]}"

    @torch.no_grad()
    def pull(self, scale: LossScale | None) -> list[float]:
        """Add the penalty's gradient to each parameter's, and return the penalty's parts, one a parameter.

        Args:
            scale: what the loss was multiplied by, and so what this must be, too.
        """
        parts = []
        for name, parameter in self._own.items():
            away = parameter - self._held[ANCHOR][name]
            pull = self._held[IMPORTANCE][name] * away * self._strength
            parts.append(float((pull * away).sum(dtype=torch.float64)) / 2)
            if scale is not None:
                pull *= scale.scale
            parameter.grad = pull if parameter.grad is None else parameter.grad.add_(pull)
        return parts
