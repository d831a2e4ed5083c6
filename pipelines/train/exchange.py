"""What a stage shares with others: parameters that it borrows from their owners, and such that it lends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipelines.train.device import Device
from pipelines.train.specs import StageSpec
from pipelines.train.tied import Part, Places, as_message, from_message, total


class Exchange:
    """One stage's side of it: gradients go to the owner once a step, and weights come back after its update."""

    def __init__(self, spec: StageSpec, device: Device, model: nn.Module, own: Mapping[str, nn.Parameter]) -> None:
        """
        Args:
            own: the parameters that this stage trains, by fully qualified name.
        """
        named = dict(model.named_parameters())
        self._spec, self._device, self._own = spec, device, own
        self._borrowed = {name: named[name] for names in spec.borrowed.values() for name in names}
        self._places = Places(model, {**own, **self._borrowed})
        self._parts: dict[str, list[Part]] = {}

    def borrowed_gradients(self, owner: int) -> list[Tensor]:
        """This stage's part of the gradients of what it borrows from `owner`, as one message; forgets it."""
        parts = [self._places.take(name, self._borrowed[name]) for name in self._spec.borrowed[owner]]
        return [self._device.give(tensor) for tensor in as_message(parts)]

    def hold_gradients(self, borrower: int, message: Sequence[Tensor]) -> None:
        """Keep what `borrower` found for the gradients of what this stage lends it, until they are summed."""
        names = self._spec.lent[borrower]
        for name, parts in zip(names, from_message(message, len(names)), strict=True):
            # Not `take`, which may copy: a sum of two tensors does not depend on where they lie.
            self._parts.setdefault(name, []).extend((place, part.to(self._device.kind)) for place, part in parts)

    def sum_places(self) -> None:
        """Make one gradient of the parts of every parameter that sits in several places, here or on other stages."""
        for name in dict.fromkeys((*self._places.names, *self._parts)):
            if name in self._own:
                parameter = self._own[name]
                parameter.grad = total(self._places.take(name, parameter), self._parts.pop(name, []))

    def lent_weights(self, borrower: int) -> list[Tensor]:
        """What `borrower` uses of this stage's parameters, after an update.

        On a CPU the parameters' own memory: the next update waits for a norm that the borrower tells only when it has
        taken them up.
        """
        return [self._device.give(self._own[name]) for name in self._spec.lent[borrower]]

    @torch.no_grad()
    def take_weights(self, owner: int, values: Sequence[Tensor]) -> None:
        """Take up what `owner` made of the parameters that this stage borrows."""
        for name, value in zip(self._spec.borrowed[owner], values, strict=True):
            self._borrowed[name].copy_(value)
