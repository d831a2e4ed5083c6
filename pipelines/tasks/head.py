"""What a stage must know of a task: what goes into the model, and what is lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
LossSum = Callable[[Any, Batch], Tensor]
"""Of a model's output and a micro-batch, as `loss_sum` of a head."""


def of_dtype(batch: Batch, dtype: torch.dtype) -> dict[str, Tensor]:
    """Columns of floating-point numbers (pixels, sound) in the precision that the model's weights have."""
    return {name: column.to(dtype) if column.is_floating_point() else column for name, column in batch.items()}


class Head(ABC):
    """Loss and answers of one kind of model."""

    @abstractmethod
    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """What of a micro-batch the model's forward takes."""

    @abstractmethod
    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """The loss summed over the valid targets of a micro-batch; the engine divides by what those of the step weigh.

        Where no classes are weighted every target weighs 1.
        """

    def loss_on(self, model: nn.Module) -> LossSum:  # noqa: ARG002
        """The loss of what this very model answers: `loss_sum`, unless it looks at more of the model than its output.

        To be asked for once, where the model's last units are.
        """
        return self.loss_sum

    @abstractmethod
    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """For each row an array: what the model says of it."""
