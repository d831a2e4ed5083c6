"""Any head with the loss that its model computes inside: for models and losses that no task here knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines.model.examples import num_targets
from pipelines.tasks.head import Batch, Head


@dataclass(frozen=True, slots=True)
class OwnLoss(Head):
    """The model gets the labels and answers with the mean over a micro-batch's valid targets."""

    name: str
    """`causal-lm`, `masked-lm` and so on; see pipelines/model/examples.py."""

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        return dict(batch)

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """The model's mean times its number of targets: a sum again, so that micro-batches count by their targets."""
        count = num_targets(batch, self.name)
        # Without a target the mean is 0 / 0.
        loss: Tensor = output.loss if count else _logits(output)[0].sum() * 0
        # Many models compute it in float32 whatever their own precision is.
        return loss.to(torch.promote_types(loss.dtype, _logits(output)[0].dtype)) * max(count, 1)

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """The logits row by row, all of a row in one dimension."""
        del batch
        return [row.cpu().numpy() for row in torch.cat([part.flatten(1) for part in _logits(output)], 1)]


def _logits(output: Any) -> list[Tensor]:
    """One tensor, or where an answer begins and where it ends."""
    names = [name for name in ("start_logits", "end_logits", "logits", "question_answering_score") if name in output]
    return [output[name] for name in names]
