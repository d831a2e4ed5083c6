"""Integrated gradients (Sundararajan et al. 2017) over the embeddings of sub-words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum.attr import IntegratedGradients
from torch import Tensor, nn

TOKENS_PER_PASS = 2048
"""Sub-words in one pass forwards and backwards: predictions get their turn between two of them."""


def integrate(
    model: nn.Module, ids: Tensor, blank: Tensor, score: Callable[[Tensor], Tensor], *, steps: int
) -> tuple[list[float], float]:
    """The share of each sub-word in the score's way from `blank` to `ids` [1, length], and the error of their sum.

    The model takes the embeddings as `inputs_embeds`. A hook on its embedding layer would be the other way, but then
    whoever else uses the model meanwhile would get its embeddings from the hook.

    Args:
        score: from embeddings [rows, length, width], [rows].
    """
    whole: Any = model
    embed = whole.get_input_embeddings()
    found, error = IntegratedGradients(score).attribute(
        embed(ids).detach(),
        baselines=embed(blank).detach(),
        n_steps=steps,
        internal_batch_size=max(1, TOKENS_PER_PASS // ids.shape[1]),
        return_convergence_delta=True,
    )
    return found[0].sum(-1).tolist(), float(error[0])
