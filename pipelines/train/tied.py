"""One parameter in several modules: its gradient is the sum of theirs, in one order whatever the cut.

    embeddings.weight ──┐ the same values in the same memory;      places, in the model's own order of modules:
    lm_head.weight    ──┘ a gradient of its own in each place      grad = (place 0 + place 1) + place 2 ...

Left to autograd, the gradients of two places would be added micro-batch by micro-batch in one process, and stage
by stage over several: another order of one sum, other last bits. So each place has a leaf of its own, which
shares the values' memory, sums its micro-batches by itself, and is added when the step's backwards are done.

A module that runs in several units (ALBERT's one block) is one place for all of them: its parts are added stage by
stage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Part = tuple[int, Tensor]
"""Which place of a parameter, and its gradient there."""


class Places:
    """The places of each tied parameter of one stage's model."""

    def __init__(self, model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        """Give every place its own leaf.

        Args:
            parameters: trained parameters by fully qualified name; those in one place only are left alone.
        """
        names = {id(parameter): name for name, parameter in parameters.items()}
        found: defaultdict[str, list[tuple[nn.Module, str]]] = defaultdict(list)
        for module in model.modules():
            for attribute, parameter in module._parameters.items():
                if parameter is not None and id(parameter) in names:
                    found[names[id(parameter)]].append((module, attribute))
        self._leaves: dict[str, list[nn.Parameter]] = {}
        for name, places in found.items():
            if len(places) == 1:
                continue
            self._leaves[name] = [nn.Parameter(parameters[name].detach()) for _ in places]
            for (module, attribute), leaf in zip(places, self._leaves[name], strict=True):
                module._parameters[attribute] = leaf

    def take(self, name: str, parameter: nn.Parameter) -> list[Part]:
        """The gradients of `parameter` by place; they are forgotten here."""
        leaves = self._leaves.get(name, [parameter])
        parts = [(place, leaf.grad) for place, leaf in enumerate(leaves) if leaf.grad is not None]
        for leaf in leaves:
            leaf.grad = None
        return parts

    @property
    def names(self) -> Sequence[str]:
        """Parameters with more than one place."""
        return list(self._leaves)


def total(own: Sequence[Part], others: Sequence[Part]) -> Tensor | None:
    """The sum of a parameter's gradients, place by place; None where there is none.

    Args:
        own: may be written to: a tied table is often the largest of all tensors.
        others: from other stages, and left alone.
    """
    ordered = sorted([*((*part, True) for part in own), *((*part, False) for part in others)], key=lambda part: part[0])
    if not ordered:
        return None
    _, whole, writable = ordered[0]
    for _, gradient, mine in ordered[1:]:
        # Two numbers add up to the same whichever comes first.
        if writable:
            whole.add_(gradient)
        else:
            whole = gradient.add_(whole) if mine else whole + gradient
        writable = True
    return whole


def as_message(parts_by_name: Sequence[Sequence[Part]]) -> list[Tensor]:
    """Parts of several parameters, in an order that both sides know, as one message."""
    index = [(at, place) for at, parts in enumerate(parts_by_name) for place, _ in parts]
    gradients = [gradient for parts in parts_by_name for _, gradient in parts]
    return [torch.tensor(index, dtype=torch.int64).reshape(-1, 2), *gradients]


def from_message(message: Sequence[Tensor], count: int) -> list[list[Part]]:
    """The other way round, for `count` parameters."""
    parts: list[list[Part]] = [[] for _ in range(count)]
    for (at, place), gradient in zip(message[0].tolist(), message[1:], strict=True):
        parts[at].append((place, gradient))
    return parts
