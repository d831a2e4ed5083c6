"""Dropout on a CPU with a quarter of the random numbers.

torch draws a double for every value and asks whether it is below the probability, one value after the
other: about a tenth of a training step on a CPU. Sixteen random bits a value, four values from one draw,
do the same for a probability that is a multiple of 1/65536, and compare many at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 1 << 16


class Dropout:
    """Stands in for the forward of one nn.Dropout."""

    def __init__(self, layer: nn.Dropout) -> None:
        self._layer = layer
        self._plain = layer.forward

    def __call__(self, x: Tensor) -> Tensor:
        layer = self._layer
        if not layer.training or not 0 < layer.p < 1 or x.device.type != "cpu":
            return self._plain(x)
        return x * noise(x, layer.p)


def noise(like: Tensor, p: float) -> Tensor:
    """0 with probability `p` (to 1/65536) and else 1 / (1 - p), in the shape and dtype of `like`."""
    count = like.numel()
    # All 64 bits: random_() alone would leave the highest one 0.
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    kept = round(LEVELS * (1 - p))
    mask = bits.view(like.shape) < kept - LEVELS // 2
    return mask.to(like.dtype).mul_(LEVELS / kept)


def hasten(model: nn.Module) -> None:
    """Put every plain dropout layer of `model` behind a Dropout."""
    for module in model.modules():
        if type(module) is nn.Dropout and not module.inplace:
            module.forward = Dropout(module)  # type: ignore[assignment]
