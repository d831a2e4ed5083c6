"""Embedding tables get gradients for the rows that were looked up, not for the whole vocabulary.

A dense gradient of the table is as large as the table and mostly zero, and autograd would write and
add one for every micro-batch. The optimizer still sees a dense gradient, so that its result is that of
the plain loop (rows without a gradient keep moving by their momentum).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST = 1024
"""Tables with fewer rows stay dense: nothing would be gained."""


class RowGradients:
    """The gradient of one embedding table, by rows."""

    def __init__(self, table: Tensor) -> None:
        self._table = table
        self._dense: Tensor | None = None
        self._rows: Tensor | None = None

    def collect(self) -> Tensor:
        """Sum what the micro-batches left, put it into `table.grad` (dense), and return its rows [n, width].

        The rows are a view of all of the gradient that is not zero: enough for its norm.
        """
        sparse = self._table.grad
        assert sparse is not None
        sparse = sparse.coalesce()
        if self._dense is None:
            self._dense = torch.zeros_like(self._table)
        elif self._rows is not None:
            self._dense[self._rows] = 0
        self._rows, values = sparse.indices()[0], sparse.values()
        self._dense[self._rows] = values
        self._table.grad = self._dense
        return values

    def scale(self, factor: float) -> None:
        """Multiply the collected gradient."""
        assert self._dense is not None
        assert self._rows is not None
        self._dense[self._rows] *= factor


def by_rows(model: nn.Module) -> list[tuple[Tensor, RowGradients]]:
    """Switch the large, trained, unshared embedding tables of `model` to gradients by rows."""
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    found = []
    for module in model.modules():
        if type(module) is not nn.Embedding or not module.weight.requires_grad or module.max_norm is not None:
            continue
        if module.num_embeddings >= SMALLEST and uses[id(module.weight)] == 1:
            module.sparse = True
            found.append((module.weight, RowGradients(module.weight)))
    return found
