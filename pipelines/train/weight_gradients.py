"""Compute the weight gradients of linear layers once a step instead of once a micro-batch.

The backward of `y = x W' + b` has two halves: dx = dy W, which the stage before waits for, and
dW = dy' x, which nobody waits for (Qi et al., Zero Bubble Pipeline Parallelism, 2023, section 2). Here
the backward does the first half and puts (x, dy) aside; `compute` does the second half for all
micro-batches in one product. Three things follow: the wait for the slowest stage is filled with work,
a product over all tokens of the step is faster than many small ones that each read and write the whole
gradient, and the sum runs in the order of the micro-batches whatever order the schedule ran them in.
The price is memory: the inputs of all micro-batches of the step live until then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.train.product import product


class LinearLater:
    """Stands in for the forward of one nn.Linear while it is trained."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer
        self._plain = layer.forward
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._cast: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self._plain(x)
        device = x.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            if self._cast is None:
                # One cast a step: autocast's own cache ends with every micro-batch.
                self._cast = self._layer.weight.detach().to(dtype)
            bias = None if self._layer.bias is None else self._layer.bias.to(dtype)
            y: Tensor = _Linear.apply(  # type: ignore[no-untyped-call]
                x.to(dtype), self._layer.weight, self._cast, bias, self._seen
            )
            return y
        plain: Tensor = _Linear.apply(  # type: ignore[no-untyped-call]
            x, self._layer.weight, self._layer.weight.detach(), self._layer.bias, self._seen
        )
        return plain

    def compute(self) -> None:
        """Fill the gradients of the layer from what the backward put aside, and forget it."""
        self._cast = None
        if not self._seen:
            return
        x = torch.cat([x.flatten(0, -2) for x, _ in self._seen])
        dy = torch.cat([dy.flatten(0, -2) for _, dy in self._seen])
        self._seen.clear()
        self._layer.weight.grad = product(dy.t(), x.t()).to(self._layer.weight.dtype)
        if self._layer.bias is not None and self._layer.bias.requires_grad:
            self._layer.bias.grad = dy.sum(0, dtype=self._layer.bias.dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, value: Tensor, bias: Tensor | None, seen: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        # `weight` is here only so that the output asks for a gradient even where `x` does not.
        del weight
        ctx.save_for_backward(x, value)
        ctx.seen = seen
        with torch.autocast(x.device.type, enabled=False):
            return product(x, value, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        x, value = ctx.saved_tensors
        ctx.seen.append((x, dy))
        dx = product(dy, value.t()) if ctx.needs_input_grad[0] else None
        return dx, None, None, None, None


def defer(model: nn.Module) -> list[LinearLater]:
    """Put every trained linear layer of `model` whose weight no other layer shares behind a LinearLater."""
    count: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                count[id(parameter)] = count.get(id(parameter), 0) + 1
    later = []
    for module in model.modules():
        # Subclasses (quantised, adapters) have a forward of their own, which must stay.
        if type(module) is nn.Linear and module.weight.requires_grad and count[id(module.weight)] == 1:
            stand_in = LinearLater(module)
            module.forward = stand_in  # type: ignore[assignment]
            later.append(stand_in)
    return later


def compute_all(layers: Iterable[LinearLater]) -> None:
    for layer in layers:
        layer.compute()
