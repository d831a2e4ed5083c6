"""Embedding tables are trained by the rows that were looked up, not by the whole vocabulary.

A dense gradient of the table is as large as the table and mostly zero, and autograd would write and add
one for every micro-batch. And a row that no example has looked up yet has neither gradient nor momentum,
so an optimizer leaves it as it is: it need not be visited. The rows that were looked up sit one behind
the other in a tensor that grows, which is what the optimizer sees, so the result is that of the plain
loop to the last bit (a row that was looked up once keeps moving by its momentum).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

SMALLEST = 1024
"""Tables with fewer rows stay dense: nothing would be gained."""

LANES = 16
"""Rows of a multiple of this many values: then no value is computed by a kernel's remainder loop, which
may round otherwise, wherever its row sits."""


class RowTable:
    """One embedding table, and the rows of it that are trained so far."""

    def __init__(self, table: nn.Parameter) -> None:
        self.table = table
        self.packed = nn.Parameter(table.detach()[:0].clone())
        """The rows [n, width] that the optimizer sees, in the order in which they were first looked up."""
        self._rows = torch.empty(0, dtype=torch.int64, device=table.device)
        self._slots = torch.full((len(table),), -1, dtype=torch.int64, device=table.device)
        self._gradient = torch.empty_like(self.packed)
        self._filled: Tensor | None = None

    def collect(self, optimizer: torch.optim.Optimizer) -> Tensor:
        """Sum what the micro-batches left into `packed.grad`, and return the rows of it that are not zero [m, width].

        They come in the table's own order, whenever they were first looked up: enough for a norm that does
        not depend on what was looked up before.
        """
        assert self.table.grad is not None
        rows, values = rows_of(self.table.grad)
        self.table.grad = None
        self._admit(rows[self._slots[rows] < 0], optimizer)
        if self._filled is not None:
            self._gradient[self._filled] = 0
        self._filled = self._slots[rows]
        self._gradient[self._filled] = values
        self.packed.grad = self._gradient[: len(self._rows)]
        return values

    def gradient(self) -> Tensor:
        """The collected gradient, of the whole table."""
        assert self.packed.grad is not None
        return self._spread(self.packed.grad)

    def seen(self) -> tuple[Tensor, Tensor]:
        """The rows [n] that were looked up so far, and their values [n, width]: the others are as they were."""
        return self._rows, self.packed.detach()

    def scale(self, factor: float) -> None:
        """Multiply the collected gradient."""
        assert self._filled is not None
        self._gradient[self._filled] *= factor

    @torch.no_grad()
    def write_back(self) -> None:
        """Bring the table up to date after the optimizer's step."""
        self.table.index_copy_(0, self._rows, self.packed)

    def moments(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The optimizer's state of `packed` as that of the whole table: nothing was seen of the other rows."""
        return {key: self._spread(value) if value.dim() else value for key, value in state.items()}

    def take_moments(self, state: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """The other way round: admit the rows that have a state, and return it as that of `packed`."""
        seen = torch.zeros(len(self.table), dtype=torch.bool, device=self.table.device)
        for value in state.values():
            if value.dim():
                seen |= (value != 0).any(1)
        # Those of another part of the state are there already.
        self._admit((seen & (self._slots < 0)).nonzero()[:, 0], optimizer)
        return {key: value[self._rows] if value.dim() else value for key, value in state.items()}

    @torch.no_grad()
    def _admit(self, rows: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Add rows that have no slot yet, with a state of zeros."""
        if not len(rows):
            return
        self._slots[rows] = torch.arange(len(self._rows), len(self._rows) + len(rows), device=rows.device)
        self._rows = torch.cat([self._rows, rows])
        size = len(self._rows)
        self.packed.data = _grown(self.packed.data, size)
        self.packed.data[-len(rows) :] = self.table[rows]
        if len(self._gradient) < size:
            self._gradient = _grown(self._gradient, min(2 * size, len(self.table)))
        state = optimizer.state.get(self.packed, {})
        for key, value in state.items():
            if isinstance(value, Tensor) and value.dim():
                state[key] = _grown(value, size)

    def _spread(self, value: Tensor) -> Tensor:
        whole = torch.zeros_like(self.table)
        whole[self._rows] = value
        return whole


def rows_of(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows [n] of a table's gradient that are not zero, rising, and their values [n, width]."""
    # Dense where the model reads the table otherwise than by looking rows up.
    sparse = gradient.coalesce() if gradient.is_sparse else gradient.to_sparse(1).coalesce()
    return sparse.indices()[0], sparse.values()


def _grown(tensor: Tensor, size: int) -> Tensor:
    """A tensor with `size` rows, zeros behind those of `tensor`; it moves only when its memory is too small."""
    width = tensor.shape[1]
    held = tensor.untyped_storage().nbytes() // tensor.element_size() // width
    if held >= size:
        return tensor.as_strided((size, width), (width, 1))
    larger = tensor.new_zeros(2 * size, width)
    larger[: len(tensor)] = tensor
    return larger[:size]


def by_rows(model: nn.Module, *, weight_decay: float, but: Collection[int] = ()) -> list[RowTable]:
    """Switch the large, trained, unshared embedding tables of `model` to training by rows.

    Not where weights decay: that moves every row in every step. `but` holds the ids of parameters that
    other stages share, which the model alone does not tell.
    """
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    found = []
    for module in model.modules():
        if type(module) is not nn.Embedding or not module.weight.requires_grad or module.max_norm is not None:
            continue
        large = module.num_embeddings >= SMALLEST and module.embedding_dim % LANES == 0
        alone = uses[id(module.weight)] == 1 and id(module.weight) not in but
        if large and alone and weight_decay == 0:
            module.sparse = True
            assert isinstance(module.weight, nn.Parameter)
            found.append(RowTable(module.weight))
    return found
