"""Cross entropy as a sum, so that micro-batches add up to what one call over all targets of the step would give."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.data.examples import IGNORE
from pipelines.tasks.precision import widened


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """The settings of a loss over classes; they travel to the last stage with the task.

    The loss of a step is `torch.nn.functional.cross_entropy(weight=..., label_smoothing=...)` of all its targets in one
    call: with w the weight of a class, e the smoothing, C the number of classes and y a target's class,

        sum over targets of  (1 - e) * w[y] * -log p[y]  +  e / C * (sum over classes c of w[c] * -log p[c])

    over the sum of all w[y]. The smoothing goes to all C classes, the true one among them, as in transformers'
    LabelSmoother (and not to the C - 1 others, as in some older code).
    """

    label_smoothing: float = 0.0
    weights: tuple[float, ...] | None = None
    """By class number; None: every target weighs 1."""

    def sum(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The numerator above; the sum of all w[y], over the whole step, is for the engine to divide by.

        Args:
            logits: [..., classes]; half precision is computed in float32.
            targets: class numbers [...], IGNORE where there is no target.
        """
        logits = widened(logits)
        weights = None if self.weights is None else logits.new_tensor(self.weights)
        return F.cross_entropy(
            logits.flatten(0, -2),
            targets.flatten(),
            weight=weights,
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )

    def of_targets(self, targets: Tensor, dtype: torch.dtype) -> Tensor | None:
        """What targets weigh, like `targets`, none of which may be IGNORE; None where each weighs 1."""
        return None if self.weights is None else torch.tensor(self.weights, dtype=dtype, device=targets.device)[targets]


PLAIN = CrossEntropy()
