"""Leave out, in every block of a trained model, the neurons and the heads that matter least for its task.

How important one is, is how much the loss would change to first order if it were nothing: at each position its
activation times the loss's gradient by it (Molchanov et al. 2017, arXiv:1611.06440), of a head the sum of its entries'
(Michel et al. 2019, arXiv:1905.10650); of that the absolute value, summed over all positions, by target. Both are
measured on what the linear layer that reads them is given. In every block as many stay, since the configuration of an
ordinary model has one number for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.compress.beside import copy_beside
from pipelines.compress.parts import Parts, block_paths, find_heads, find_neurons
from pipelines.compress.trained import Sample, TaskLoss, Trained
from pipelines.errors import UserError
from pipelines.model.load import quiet
from pipelines.tasks.task import Task

Kept = Mapping[str, Sequence[int]]
"""By block, the numbers of the parts that stay, rising."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What is left of every block's neurons, or of its groups of heads."""

    settings: Mapping[str, int]
    """What the configuration says now."""
    before: int
    after: int
    stays: Mapping[str, float]
    """By block, how much of the importance of all is that of those that are left, as a share of 1."""
    rows: int
    """That it was measured on."""
    kept: Kept

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Narrowed:
        return Narrowed(**dict(found))


@dataclass(frozen=True, slots=True)
class Inside:
    """What is left inside of blocks; None where nothing was to go."""

    neurons: Narrowed | None
    heads: Narrowed | None


def prune_inside(
    folder: Path, out: Path, *, task: Task, width: float | None, heads: int | None, sample: Sample,
    tell: Callable[[str], None],
) -> Inside:  # fmt: skip
    """Write the model in `folder` with narrower blocks to the new folder `out`.

    Args:
        task: that it was trained for.
        width: the share of a feed-forward's neurons that stays.
        heads: how many query heads stay.

    Raises:
        UserError: neurons or heads that cannot be left out, or data that cannot be used.
    """
    trained = Trained(folder, task)
    model = trained.model
    blocks = block_paths(model, trained.probe())
    wanted: dict[str, Parts] = {}
    if width is not None:
        wanted["neurons"] = find_neurons(model, blocks, width)
    if heads is not None:
        wanted["heads"] = find_heads(model, blocks, heads)
    loss = trained.loss_on(sample)
    importances = dict(zip(wanted, importance(model, list(wanted.values()), loss), strict=True))
    kept = {name: most_important(importances[name], parts.after) for name, parts in wanted.items()}
    cuts = [(parts, kept[name]) for name, parts in wanted.items()]
    with masked(model, cuts):
        expected = loss(model)
    tell(f"without the {' and '.join(wanted)} that go: loss {expected:.4f}, and {loss(model):.4f} with all")
    trained.restore_settings()
    write_narrowed(model, cuts, folder, out)
    trained.check_written(out, loss, expected, why="something else follows from how many neurons or heads there are")
    found = {
        name: Narrowed(
            parts.settings, parts.before, parts.after, stays(importances[name], kept[name]), loss.rows, kept[name]
        )
        for name, parts in wanted.items()
    }
    return Inside(found.get("neurons"), found.get("heads"))


def importance(model: nn.Module, wanted: Sequence[Parts], loss: TaskLoss) -> list[dict[str, Tensor]]:
    """Of each kind of parts, by block, how important they are. Shapes: [parts].

    Raises:
        UserError: a layer is read past its hooks, so that what it is given cannot be seen.
    """
    found = [{block: torch.zeros(parts.before) for block in parts.readers} for parts in wanted]
    given: dict[tuple[int, str], list[Tensor]] = {}

    def watch(kind: int, block: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            del module
            given.setdefault((kind, block), []).append(inputs[0])

        return hook

    with _hooked(model, wanted, watch):
        for total in loss.sums(model):
            if len(given) < sum(map(len, found)):
                raise UserError(
                    f"{type(model).__name__} runs its linear layers out of sight. It cannot be pruned here."
                )
            seen = [(key, one) for key, several in given.items() for one in several]
            # Of the activations alone: gradients of weights are not computed.
            gradients = torch.autograd.grad(total, [one for _, one in seen], materialize_grads=True)
            for ((kind, block), one), gradient in zip(seen, gradients, strict=True):
                parts = found[kind][block]
                products = (one.detach() * gradient).reshape(-1, len(parts), one.shape[-1] // len(parts))
                parts += products.sum(-1).abs().sum(0) / loss.targets
            given.clear()
    return found


def most_important(found: Mapping[str, Tensor], count: int) -> dict[str, list[int]]:
    """In each block so many parts; of those that are as important as each other, the first ones."""
    return {
        block: sorted(torch.argsort(parts, descending=True, stable=True)[:count].tolist())
        for block, parts in found.items()
    }


def stays(found: Mapping[str, Tensor], kept: Kept) -> dict[str, float]:
    """By block, what share of the importance of all parts is that of the kept ones; 1 where none has any."""
    totals = {block: float(parts.sum()) for block, parts in found.items()}
    return {
        block: float(found[block][list(kept[block])].sum()) / total if total else 1.0 for block, total in totals.items()
    }


@contextmanager
def masked(model: nn.Module, cuts: Sequence[tuple[Parts, Kept]]) -> Iterator[None]:
    """While this lasts, the layers that read parts see nothing of those that are not kept."""

    def mask(kind: int, block: str) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        parts, kept = cuts[kind]
        there = torch.zeros(parts.before)
        there[list(kept[block])] = 1

        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            del module
            return inputs[0] * there.repeat_interleave(inputs[0].shape[-1] // parts.before), *inputs[1:]

        return hook

    with _hooked(model, [parts for parts, _ in cuts], mask):
        yield


@torch.no_grad()
def write_narrowed(model: Any, cuts: Sequence[tuple[Parts, Kept]], folder: Path, out: Path) -> None:
    """Write the model with the kept parts alone for `from_pretrained`, with what lies beside it in `folder`.

    The model is of no more use here afterwards.
    """
    copy_beside(folder, out)
    parameters = dict(model.named_parameters())
    for parts, kept in cuts:
        for block, held in parts.held.items():
            for name, dim in held:
                whole = parameters[name]
                each = whole.shape[dim] // parts.before
                entries = (torch.tensor(kept[block])[:, None] * each + torch.arange(each)).flatten()
                owner, _, own = name.rpartition(".")
                setattr(model.get_submodule(owner), own, nn.Parameter(whole.index_select(dim, entries)))
        for setting, number in parts.settings.items():
            setattr(model.config, setting, number)
    with quiet():
        model.save_pretrained(out)


@contextmanager
def _hooked(model: nn.Module, wanted: Sequence[Parts], made: Callable[[int, str], Any]) -> Iterator[None]:
    """While this lasts, a hook made for each kind of parts and block sees what their reader is given."""
    handles = [
        model.get_submodule(reader).register_forward_pre_hook(made(kind, block))
        for kind, parts in enumerate(wanted)
        for block, reader in parts.readers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
