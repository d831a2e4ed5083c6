"""Supervised contrastive learning beside the cross entropy: rows of one label lie together, apart from the others.

    loss of row i    (1 - weight) * cross entropy + weight * mean over j of -log p(j | i)
    p(j | i)         exp(v_i v_j / T) / sum over k of exp(v_i v_k / T)

(Gunel et al. 2021, Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning, equations 1 to 3.) v is
what goes into the classification layer, at length 1; k are all other rows of the micro-batch, and j those of them that
have the label of i. A row without any such j has a contrastive loss of 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.errors import UserError
from pipelines.model.trace import left_as_it_was
from pipelines.tasks.head import Batch
from pipelines.tasks.precision import widened


def contrastive_sum(vectors: Tensor, labels: Tensor, temperature: float, weights: Tensor | None) -> Tensor:
    """The contrastive losses of a micro-batch's rows, summed.

    Args:
        vectors: [rows, hidden], of any length but 0; half precision is computed in float32.
        labels: class numbers [rows].
        weights: what each row counts, [rows]; 1 when None.
    """
    vectors = F.normalize(widened(vectors), dim=-1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    alike = (labels[:, None] == labels) & ~itself
    # Not minus infinity: a row that is alone would have no sum to take the logarithm of.
    cosines = (vectors @ vectors.T / temperature).masked_fill(itself, torch.finfo(vectors.dtype).min)
    of_pairs = cosines.log_softmax(-1).masked_fill(~alike, 0)
    of_rows = -of_pairs.sum(-1) / alike.sum(-1).clamp(min=1)
    return (of_rows if weights is None else of_rows * weights).sum()


class Representation:
    """Keeps what goes into a model's classification layer, forward by forward."""

    def __init__(self, model: Any) -> None:
        """
        Raises:
            UserError: the model has no such layer.
        """
        classes = int(model.config.num_labels)
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
        if not layers:
            raise UserError(_refusal(model, f"it has no linear layer of {classes} classes"))
        self._last: tuple[Tensor, Tensor] | None = None
        self._hook = layers[-1].register_forward_hook(self._keep)

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor, ...], scores: Tensor) -> None:
        del layer
        self._last = inputs[0], scores

    def of(self, logits: Tensor) -> Tensor:
        """Of the forward that ran last and answered with `logits` [rows, classes]: [rows, hidden]; forgotten here.

        Some models score every sub-word and answer with the scores of one: it is what that one's are made of.
        """
        assert self._last is not None
        (vectors, scores), self._last = self._last, None
        if vectors.ndim == 2:
            return vectors
        chosen = (scores == logits[:, None]).all(-1).int().argmax(1)
        return vectors[torch.arange(len(logits), device=vectors.device), chosen]

    def answers_with(self, logits: Tensor) -> bool:
        """Whether `logits` are what the layer made of one vector of each row, in the forward that ran last."""
        if self._last is None or logits.ndim != 2:
            return False
        vectors, scores = self._last
        if vectors.ndim == 2:
            return torch.equal(scores, logits)
        return (
            scores.ndim == 3 and len(scores) == len(logits) and bool((scores == logits[:, None]).all(-1).any(1).all())
        )

    def let_go(self) -> None:
        """Keep nothing from now on."""
        self._hook.remove()


def check_representation(model: nn.Module, inputs: Batch) -> None:
    """Refuse a model that does not answer with what one layer makes of one vector a row.

    Args:
        inputs: a micro-batch, as its forward takes it.

    Raises:
        UserError: says which model.
    """
    representation = Representation(model)
    try:
        with torch.no_grad(), left_as_it_was(model):
            known = representation.answers_with(model.eval()(**inputs).logits)
    finally:
        representation.let_go()
    if not known:
        raise UserError(_refusal(model, "it does not answer with what one layer makes of one vector of a row"))


def _refusal(model: nn.Module, why: str) -> str:
    return (
        f"train.contrastive compares what goes into the classification layer, and {type(model).__name__} has none that "
        f"is known: {why}. Use another model, or leave train.contrastive out."
    )
