"""Set those single weights to zero, in the linear layers of a trained model's blocks, that matter least.

How important one is, is its absolute value times the norm of what it is multiplied by, over all positions of some rows
(Wanda: Sun et al. 2023, arXiv:2306.11695, section 3). The weights by which one neuron reads its inputs are compared
with each other alone, and of every neuron as many stay: that costs less than comparing those of a whole matrix (same
section), and no neuron is cut off. Neither labels nor gradients are looked at.

    norms of the inputs   2  1  1  8
    weights of a neuron   3 -4  1  1     importance  6  4  1  8     of four two stay:  3  0  0  1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.compress.beside import copy_beside
from pipelines.compress.parts import block_of, block_paths
from pipelines.compress.trained import Sample, Trained
from pipelines.errors import UserError
from pipelines.model.linear import reads
from pipelines.model.load import quiet
from pipelines.tasks.task import Task

ANY, TWO_OF_FOUR = "any", "2:4"
PATTERNS = (ANY, TWO_OF_FOUR)
FOUR, TWO = 4, 2
"""Neighbouring inputs, and of how many of them the weights stay: what some GPUs multiply faster (Mishra et al. 2021,
Accelerating Sparse Deep Neural Networks, arXiv:2104.08378)."""


@dataclass(frozen=True, slots=True)
class Thinned:
    """What is left of the weights of the linear layers in a model's blocks."""

    pattern: str
    share: float
    """That was to stay."""
    matrices: int
    """In which some went."""
    before: int
    """Weights of these."""
    after: int
    stays: Mapping[str, float]
    """By block, how much of the importance of all is that of those that are left, as a share of 1."""
    rows: int
    """That it was measured on."""
    whole: Mapping[str, str]
    """The linear layers that were left as they are, and why."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Thinned:
        return Thinned(**dict(found))


def prune_weights(
    folder: Path, out: Path, *, task: Task, share: float, pattern: str, sample: Sample, tell: Callable[[str], None]
) -> Thinned:
    """Write the model in `folder` with fewer weights that are not zero to the new folder `out`.

    Args:
        task: that it was trained for.
        share: of the weights by which a neuron reads, how many stay.

    Raises:
        UserError: a model without blocks or without linear layers in them, none of whose weights would go, or data that
            cannot be used.
    """
    trained = Trained(folder, task)
    model = trained.model
    blocks = block_paths(model, trained.probe())
    layers = {path: module for path, module in model.named_modules() if _is_linear_in(blocks, path, module)}
    # Row by row, so that nothing is measured on padding.
    loss = trained.loss_on(sample, tokens=1)
    with watched(layers) as squares:
        before = loss(model)
    kept, whole = choose(layers, squares, share, pattern)
    if all(bool(one.all()) for one in kept.values()):
        such = next((f", such as {path}: {why}" for path, why in whole.items()), "")
        raise UserError(
            f"No single weight of {type(model).__name__} would go: of {len(layers)} linear layers in its blocks "
            f"{len(whole)} have to stay as they are{such}. Give a smaller --weights, or leave it and --pattern out."
        )
    for path, why in whole.items():
        tell(f"{path} is left whole: {why}")
    found: dict[str, list[float]] = {}
    for path, stays in kept.items():
        worth = importance(layers[path], squares[path])
        sums = found.setdefault(str(block_of(path, blocks)), [0.0, 0.0])
        sums[0] += float(worth[stays].sum(dtype=torch.float64))
        sums[1] += float(worth.sum(dtype=torch.float64))
        thin(layers[path], stays)
    expected = loss(model)
    tell(f"without the single weights that go: loss {expected:.4f}, and {before:.4f} with all")
    trained.restore_settings()
    copy_beside(folder, out)
    with quiet():
        model.save_pretrained(out)
    trained.check_written(out, loss, expected, why="its weights are not all its own")
    return Thinned(
        pattern,
        share,
        len(kept),
        sum(one.numel() for one in kept.values()),
        sum(int(one.sum()) for one in kept.values()),
        {block: left / total if total else 1.0 for block, (left, total) in found.items()},
        loss.rows,
        whole,
    )


@contextmanager
def watched(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """By layer, the sums of the squares of its inputs over all that it was given while this lasts. Shapes: [inputs].

    What was never given any is not there.
    """
    found: dict[str, Tensor] = {}

    def watch(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            del module
            given = inputs[0].detach()
            squares = given.reshape(-1, given.shape[-1]).square().sum(0, dtype=torch.float64)
            found[path] = found[path] + squares if path in found else squares

        return hook

    handles = [module.register_forward_pre_hook(watch(path)) for path, module in layers.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def choose(
    layers: Mapping[str, nn.Module], squares: Mapping[str, Tensor], share: float, pattern: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Which weights stay, by layer; and the layers that are left as they are, with the reason.

    Args:
        squares: as `watched` gives them.

    Returns:
        Shapes: [neurons, inputs].
    """
    kept, whole = {}, {}
    for path, module in layers.items():
        if path not in squares:
            whole[path] = "none of the rows went through it"
            continue
        worth = importance(module, squares[path])
        inputs = worth.shape[1]
        if pattern == TWO_OF_FOUR and inputs % FOUR:
            whole[path] = f"its {inputs} inputs are no multiple of {FOUR}"
            continue
        group, stay = (FOUR, TWO) if pattern == TWO_OF_FOUR else (inputs, max(1, round(inputs * share)))
        kept[path] = most_important(worth, group=group, stay=stay)
    return kept, whole


def importance(module: nn.Module, squares: Tensor) -> Tensor:
    """Of every weight of a linear layer. Shape: [neurons, inputs].

    Args:
        squares: the sums of squares of its inputs. Shape: [inputs].
    """
    return _by_neuron(module).abs() * squares.sqrt()


def most_important(worth: Tensor, *, group: int, stay: int) -> Tensor:
    """Of the weights of each `group` of neighbouring inputs so many; of those that are worth the same, the first ones.

    Shapes: [neurons, inputs].
    """
    groups = worth.unflatten(1, (-1, group))
    order = torch.argsort(groups, dim=-1, descending=True, stable=True)
    none = torch.zeros(groups.shape, dtype=torch.bool)
    return none.scatter_(-1, order[..., :stay], True).flatten(1)


@torch.no_grad()
def thin(module: nn.Module, stays: Tensor) -> None:
    """Set all weights of a linear layer to zero but those that stay. Shape: [neurons, inputs]."""
    _by_neuron(module).masked_fill_(~stays, 0)


def _by_neuron(module: nn.Module) -> Tensor:
    """A linear layer's weights: the memory of its parameter. Shape: [neurons, inputs]."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    held = weight.detach()
    return held if reads(module) == 1 else held.t()


def _is_linear_in(blocks: list[str], path: str, module: nn.Module) -> bool:
    return reads(module) is not None and block_of(path, blocks) is not None
