"""Weights that are zero stay zero: what pruning took out of a linear layer does not grow back.

    gradient = gradient * (weight != 0)        once a step, before anything looks at the gradients

A value that is zero, and whose gradients all were, is moved by no optimizer: its momentum and its likes are zero, and
weight decay multiplies it. So whether a weight stays zero follows from the weight itself. No list of them is held, sent
or saved, and a run that goes on from a checkpoint keeps what the run that wrote it kept. A weight that becomes zero by
chance misses the gradients of that one step, however the model is cut.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.model.linear import linear_weights


class Zeros:
    """The weights of linear layers that one stage trains."""

    def __init__(self, model: nn.Module, own: Mapping[str, nn.Parameter]) -> None:
        """
        Args:
            own: this stage's trained parameters by fully qualified name.
        """
        linear = {id(weight) for weight in linear_weights(model)}
        self._weights = [parameter for parameter in own.values() if id(parameter) in linear]

    @torch.no_grad()
    def keep(self) -> None:
        """Make the gradient of every weight zero that is zero; one that is NaN or infinite becomes NaN, to be seen."""
        for weight in self._weights:
            if weight.grad is not None:
                weight.grad *= weight != 0


def check_zeros(config: Config) -> None:
    """Refuse what `train.keep_zeros` does not go together with.

    Raises:
        UserError: says what, and what to change.
    """
    if config.train.keep_zeros and config.adapter is not None:
        raise UserError(
            "train.keep_zeros does not go together with an adapter: what that adds to a matrix fills its zeros. Leave "
            "train.keep_zeros or the adapter out."
        )
