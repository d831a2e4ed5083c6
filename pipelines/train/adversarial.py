"""Adversarial training by the fast gradient method: a step runs again with the embeddings moved against the model.

    first round    forwards, backwards, weight gradients of all micro-batches      gradients g, of the table e
    move           table + epsilon * e / |e|                                       what of e is not zero: few rows
    second round   the same micro-batches with the same dropout masks              their gradients are added to g
    put back       the rows that were moved, from a copy of them, bitwise
    update         penalties, the global norm, clipping, the optimizer: once, by the sum of both rounds

Miyato et al. 2017, Adversarial Training Methods for Semi-Supervised Text Classification, section 3. There every text
has a direction and a length of its own, and embeddings are brought to one scale first; here one direction is taken for
all that a step looks up, so that it is the gradient of the table. Both rounds are divided by the step's targets: what
is learnt is the sum of two mean losses, with gradients up to twice as long, and `train.clip` clips that sum. The loss
scale of float16 is no part of the direction, and is divided out in the update, as ever. With `train.accumulate` the
direction is that of all batches of the step.

The masks are those of the first round, since the direction is the steepest one for them only: what the loss rises by
is due to the move alone, and is epsilon * |e| to first order.

Only the stage that holds the table moves anything. It needs no word of the others: when its last backward is done its
gradient is whole, and theirs are, too.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from pipelines.config import Config, TrainConfig
from pipelines.errors import UserError
from pipelines.model.units import Units
from pipelines.train.sparse import rows_of


class Adversary:
    """Moves one table, and puts it back."""

    def __init__(self, table: nn.Parameter, epsilon: float) -> None:
        self._table, self._epsilon = table, epsilon
        self._before: tuple[Tensor, Tensor] | None = None
        """The rows that are moved now, and what they were."""

    @torch.no_grad()
    def move(self) -> None:
        """Move the table by `epsilon` in the direction of its gradient, which stays as it is.

        Not where there is no direction: of a gradient of zeros, or one that is not finite, which makes no update.
        """
        assert self._before is None
        if self._table.grad is None:
            return
        rows, gradient = rows_of(self._table.grad)
        length = float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
        if not 0 < length < math.inf:
            return
        self._before = rows, self._table[rows]
        # In float64: the inverse of a small length may be no float32.
        away = (gradient.double() / length * self._epsilon).to(self._table.dtype)
        self._table.index_copy_(0, rows, self._before[1] + away)

    @torch.no_grad()
    def put_back(self) -> None:
        """Bitwise, if anything was moved."""
        if self._before is not None:
            self._table.index_copy_(0, *self._before)
            self._before = None


def rounds_of(train: TrainConfig) -> int:
    """How often a step runs its micro-batches."""
    return 1 if train.adversarial is None else 2


def table_of(model: nn.Module, units: Units, trained: Collection[str]) -> str:
    """The fully qualified name of the table of sub-word embeddings.

    Args:
        trained: names of the parameters that are trained.

    Raises:
        UserError: the model has none, it is not trained, or other layers use it as well.
    """
    name, where = type(model).__name__, "train.adversarial moves the table of sub-word embeddings"
    try:
        # Of transformers; a model of another kind may not know it.
        module = getattr(model, "get_input_embeddings", lambda: None)()
    except NotImplementedError:
        module = None
    if not isinstance(module, nn.Embedding):
        raise UserError(
            f"{where}, and {name} looks up no sub-words in such a table. Leave train.adversarial out, or train a model "
            "that reads text."
        )
    (table,) = (path for path, parameter in model.named_parameters() if parameter is module.weight)
    if table not in trained:
        raise UserError(
            f"{where}, and {table} stays as it is in this run: nothing would tell where the loss rises. Train it "
            "(adapter, train.freeze), or leave train.adversarial out."
        )
    places = sum(parameter is module.weight for m in model.modules() for parameter in m._parameters.values())
    if places > 1 or sum(table in unit.parameters for unit in units.all) > 1:
        raise UserError(
            f"{where}, and in {name} other layers use {table} as well, such as an output layer over the sub-words, "
            "which would be moved with it. Leave train.adversarial out, or use a model whose weights are not tied."
        )
    return table


def check_adversarial(config: Config) -> None:
    """Refuse what adversarial training does not go together with.

    Raises:
        UserError: says what, and what to change.
    """
    if config.train.adversarial is not None and (config.plan.servers or config.plan.strategy == "data"):
        what = "plan.servers" if config.plan.servers else "plan.strategy=data"
        raise UserError(
            f"train.adversarial does not go together with {what}: the table is moved by its gradient over the whole "
            "step, which no replica has before the update. Use one replica of plan.strategy=pipeline with "
            "plan.servers=0, or leave train.adversarial out."
        )
