"""Linear layers whose weights stay as they are: the fast product, and no gradient but that of the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipelines.train.product import filled, product


class FrozenLinear:
    """Stands in for the forward of one nn.Linear that is not trained."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer
        self._plain = layer.forward
        self._casts: dict[torch.dtype, tuple[Tensor, Tensor | None]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        device = x.device.type
        if device != "cpu":
            return self._plain(x)
        layer = self._layer
        weight: Tensor = layer.weight
        bias: Tensor | None = layer.bias
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            if dtype not in self._casts:
                # Once a run: the weights never change.
                self._casts[dtype] = weight.to(dtype), None if bias is None else bias.to(dtype)
            weight, bias = self._casts[dtype]
            x = x.to(dtype)
        y: Tensor = _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return y


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        with torch.autocast(x.device.type, enabled=False):
            y = product(filled(x), weight, bias)
        # Not a view, as autograd sees it: an adapter adds to it in place.
        shape = (*x.shape[:-1], y.shape[-1])
        kept: Tensor = y.new_empty(0).set_(y.untyped_storage(), 0, shape, y.new_empty(shape, device="meta").stride())
        return kept

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        dx = product(filled(dy), weight.t())[: dy.shape[:-1].numel()].unflatten(0, dy.shape[:-1])
        return dx, None, None


def hasten_frozen(model: nn.Module, held: set[str]) -> None:
    """Put every untrained linear layer of `model` whose weight is among the names `held` behind a FrozenLinear."""
    for path, module in model.named_modules():
        # Subclasses have a forward of their own, which must stay.
        if type(module) is not nn.Linear or f"{path}.weight" not in held:
            continue
        if not any(parameter.requires_grad for parameter in module.parameters()):
            module.forward = FrozenLinear(module)  # type: ignore[assignment]
