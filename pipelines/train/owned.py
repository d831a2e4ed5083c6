"""Parameters with their optimizer: what a stage owns, or a parameter server of pieces of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig
from pipelines.train.device import Device
from pipelines.train.events import Update, added
from pipelines.train.loss_scale import NAME as LOSS_SCALE
from pipelines.train.loss_scale import LossScale
from pipelines.train.optimizers import learning_rate, make_optimizer, take_state
from pipelines.train.rates import RATE, split_groups
from pipelines.train.sparse import RowTable


class Owned:
    """Named parameters, whose gradients somebody fills in; squared norms, then an update, then they are forgotten."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        tables: Sequence[RowTable],
        *,
        train: TrainConfig,
        num_steps: int,
        device: Device,
        rates: Mapping[str, float],
    ) -> None:
        """
        Args:
            tables: those of the parameters that are trained by rows.
            num_steps: of the whole run, for the learning rate.
            rates: by the parameter's name, what the learning rate is multiplied by; 1 for those that are not there.
        """
        self.parameters, self._train, self._num_steps, self._device = parameters, train, num_steps, device
        self._tables = list(tables)
        packed = {id(table.table): table.packed for table in tables}
        self._trained = {name: packed.get(id(p), p) for name, p in parameters.items()}
        self._optimizer = make_optimizer(self._trained.items(), train)
        split_groups(self._optimizer, {id(p): rates.get(name, 1.0) for name, p in self._trained.items()})
        self.scale = LossScale.of(train)
        """What the loss is multiplied by; None where nothing is scaled."""

    def named_gradients(self) -> Iterator[tuple[str, Tensor]]:
        """The gradients, on the host, each made when it is asked for; for whoever wants to compare them."""
        scale = 1.0 if self.scale is None else self.scale.scale
        tables = {id(table.table): table for table in self._tables}
        for name, parameter in self.parameters.items():
            table = tables.get(id(parameter))
            if table is not None and table.packed.grad is not None:
                yield name, self._device.give(table.gradient()) / scale
            elif parameter.grad is not None:
                yield name, self._device.give(parameter.grad) / scale

    def forget_gradients(self) -> None:
        """After an update, or where none is to come."""
        self._optimizer.zero_grad(set_to_none=True)

    def squared_norms(self) -> list[float]:
        """Of each parameter's gradient, when it is whole."""
        rows = self.collect()
        return squares(g for p in self.parameters.values() if (g := rows.get(id(p), p.grad)) is not None)

    def collect(self) -> dict[int, Tensor]:
        """Make the tables' gradients ready for an update; for each, by its id, the rows that are not zero."""
        return {
            id(table.table): table.collect(self._optimizer) for table in self._tables if table.table.grad is not None
        }

    def is_poisoned(self, norm: float) -> bool:
        """Whether gradients with this norm lead to no update, and no smaller loss scale will help."""
        return not math.isfinite(norm) and (self.scale is None or self.scale.after(norm).spent)

    def update(self, step: int, norm: float) -> Update:
        """Clip by the global norm and step the optimizer.

        Args:
            step: the number of the update, the first is 0.
            norm: of the gradients as they are, with the loss scale in them. If it is not a finite number nothing
                changes but that scale.
        """
        scale = 1.0 if self.scale is None else self.scale.scale
        grad_norm = norm / scale
        if self.scale is not None:
            self.scale = self.scale.after(norm)
        if not math.isfinite(norm):
            return Update(grad_norm, None if self.scale is None else scale, skipped=True)
        clip = self._train.clip
        factor = (1.0 if clip is None else min(1.0, clip / (grad_norm + 1e-6))) / scale
        if factor != 1.0:
            # Nothing at all on a stage that borrows all of its parameters.
            if gradients := [p.grad for p in self.parameters.values() if p.grad is not None]:
                torch._foreach_mul_(gradients, factor)
            for table in self._tables:
                if table.packed.grad is not None:
                    table.scale(factor)
        rate = learning_rate(step, self._num_steps, self._train)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group[RATE]
        self._optimizer.step()
        for table in self._tables:
            if table.packed.grad is not None:
                table.write_back()
        return Update(grad_norm, None if self.scale is None else scale)

    # -- state ----------------------------------------------------------------------------------

    def named_moments(self) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's state as `NAME/KEY`, on the host, each made when it is asked for."""
        tables = {id(table.packed): table for table in self._tables}
        for name, trained in self._trained.items():
            for key, value in self._optimizer.state.get(trained, {}).items():
                if id(trained) in tables:
                    value = tables[id(trained)].moments({key: value})[key]
                yield f"{name}/{key}", self._device.give(torch.as_tensor(value))
        for key, value in (self.scale.state() if self.scale is not None else {}).items():
            yield key, self._device.give(value)

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Take up what `named_moments` gave, here or anywhere, all or a part of it.

        The weights must be there: rows of a table are trained as copies.
        """
        tables = {id(table.packed): table for table in self._tables}
        for key, value in moments.items():
            name, _, kind = key.rpartition("/")
            trained = self._trained.get(name)
            if name == LOSS_SCALE and self.scale is not None:
                self.scale = self.scale.restored(kind, value)
            if trained is None:
                # Of a parameter that somebody else updates.
                continue
            value = value.to(self._device.kind if value.dim() else value.device, copy=True)
            if id(trained) in tables:
                value = tables[id(trained)].take_moments({kind: value}, self._optimizer)[kind]
            take_state(self._optimizer, name, trained, kind, value, self._train)


def squares(gradients: Iterable[Tensor]) -> list[float]:
    """Their squared norms, one for each."""
    parts = list(gradients)
    norms = torch.stack([norm.double() for norm in torch._foreach_norm(parts)]).tolist() if parts else []
    return [norm * norm for norm in norms]


def global_norm(parts: Iterable[float]) -> float:
    """The norm over all parameters; exactly rounded, so it does not depend on their order or on the cut.

    NaN or infinite where one of them is, or it is too large for a number.
    """
    return math.sqrt(added(parts))
