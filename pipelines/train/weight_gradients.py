"""Compute the weight gradients of linear layers once a step instead of once a micro-batch.

The backward of `y = x W' + b` has two halves: dx = dy W, which the stage before waits for, and
dW = dy' x, which nobody waits for (Qi et al., Zero Bubble Pipeline Parallelism, 2023, section 2). Here
the backward does the first half and puts (x, dy) aside; `compute` does the second half for many
micro-batches in one product. Three things follow: waiting time is filled with work, a product over
many tokens is faster than many small ones that each read and write the whole gradient, and the sum runs
in the order of the micro-batches whatever order the schedule ran them in. The price is memory: the
inputs of these micro-batches live until then.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipelines.train.product import filled, product


class Notes:
    """What the backwards of one layer put aside, by micro-batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[int, list[tuple[int, Tensor, Tensor]]] = {}

    def add(self, x: Tensor, dy: Tensor) -> None:
        self._kept.setdefault(self._clock.chunk, []).append((self._clock.micro_batch, x, dy))

    def take(self, chunk: int, last: int) -> list[tuple[Tensor, Tensor]]:
        """(x, dy) of a chunk's micro-batches up to `last`, in their order; they are forgotten here."""
        kept = self._kept.get(chunk)
        if not kept:
            return []
        taken = sorted((note for note in kept if note[0] <= last), key=lambda note: note[0])
        self._kept[chunk] = [note for note in kept if note[0] > last]
        return [(x, dy) for _, x, dy in taken]

    def tensors(self) -> list[Tensor]:
        """All that is kept."""
        return [tensor for notes in self._kept.values() for _, x, dy in notes for tensor in (x, dy)]


class Clock:
    """Which micro-batch the stage is running backward, and through which chunk."""

    def __init__(self) -> None:
        self.chunk = self.micro_batch = 0


class LinearLater:
    """Stands in for the forward of one nn.Linear while it is trained."""

    def __init__(self, layer: nn.Linear, clock: Clock, *, at_once: bool = False) -> None:
        self._layer = layer
        self._plain = layer.forward
        self._notes = Notes(clock)
        self._at_once = at_once
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
            x, value = x.to(dtype), self._cast
        else:
            value = self._layer.weight.detach()
        notes = None if self._at_once else self._notes
        y: Tensor = _Linear.apply(  # type: ignore[no-untyped-call]
            x, self._layer.weight, value, self._layer.bias, notes
        )
        return y

    def compute(self, chunk: int, last: int) -> None:
        """Add to the layer's gradients what a chunk's micro-batches up to `last` left."""
        taken = self._notes.take(chunk, last)
        if not taken:
            return
        x, dy = (torch.cat(rows) for rows in zip(*taken, strict=True))
        weight, bias = self._layer.weight, self._layer.bias
        _add(weight, product(dy.t(), x.t()))
        if bias is not None and bias.requires_grad:
            _add(bias, dy.sum(0, dtype=bias.dtype))

    def noted(self) -> list[Tensor]:
        """What backwards put aside and `compute` has not taken yet."""
        return self._notes.tensors()

    def forget_cast(self) -> None:
        """The weight is about to change."""
        self._cast = None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, value: Tensor, bias: Tensor | None, notes: Notes | None) -> Tensor:
        # Also where gradients are noted, so that the output asks for one even where `x` does not.
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        rows = filled(x)
        ctx.save_for_backward(rows, value)
        ctx.notes, ctx.shape = notes, x.shape
        with torch.autocast(x.device.type, enabled=False):
            y = product(rows, value, None if bias is None else bias.to(value.dtype))
        # Not a view, as autograd sees it: a model may change what a layer returned in place.
        shape = (*x.shape[:-1], y.shape[-1])
        kept: Tensor = y.new_empty(0).set_(y.untyped_storage(), 0, shape, y.new_empty(shape, device="meta").stride())
        return kept

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None, Tensor | None, None]:
        x, value = ctx.saved_tensors
        dy = filled(dy)
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = product(dy, value.t())[: ctx.shape[:-1].numel()].unflatten(0, ctx.shape[:-1])
        if ctx.notes is not None:
            ctx.notes.add(x, dy)
            return dx, None, None, None, None
        weight, bias = ctx.dtypes
        if ctx.needs_input_grad[1]:
            dw = product(dy.t(), x.t()).to(weight)
        if ctx.needs_input_grad[3]:
            db = dy.sum(0, dtype=bias)
        return dx, dw, None, db, None


def _add(parameter: Tensor, gradient: Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        parameter.grad += gradient


def defer(model: nn.Module, clock: Clock, *, at_once: bool = False) -> list[LinearLater]:
    """Put every trained linear layer of `model` whose weight no other layer shares behind a LinearLater.

    `at_once` computes the second half in the backward after all, for autograd to add up: where blocks run again in
    their backward, nothing that was put aside may outlive it; and where workers share their gradients, autograd is who
    tells that one is there.
    """
    count: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                count[id(parameter)] = count.get(id(parameter), 0) + 1
    later = []
    for module in model.modules():
        # Subclasses (quantised, adapters) have a forward of their own, which must stay.
        if type(module) is nn.Linear and module.weight.requires_grad and count[id(module.weight)] == 1:
            stand_in = LinearLater(module, clock, at_once=at_once)
            module.forward = stand_in  # type: ignore[assignment]
            later.append(stand_in)
    return later
