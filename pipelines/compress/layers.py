"""Leave out the blocks of a trained model that matter least for its task.

What a block is worth is how much the task's loss rises on labelled rows when the block is skipped. Blocks do each
other's work, so what two of them are worth is not the sum of both: they go one by one, each time the one without which
the loss is lowest, and what the others are worth is measured again (greedy layer pruning, Peer et al. 2021,
arXiv:2105.14839).

    all six        loss without 0 .. 5    lowest without 4
    0 1 2 3 5      without 4 and each     lowest without 2
    0 1 3 5        ...

Blocks are found as pipelines/model finds them, without knowing the architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pipelines.compress.beside import copy_beside
from pipelines.compress.trained import Sample, Trained
from pipelines.errors import UserError
from pipelines.model.blocks import find_blocks
from pipelines.model.load import quiet
from pipelines.model.trace import trace
from pipelines.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Stack:
    """The list of modules that are a model's blocks."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Worth:
    """What blocks are worth, and which of them stay."""

    whole: float
    """The loss of a target with all blocks."""
    rounds: tuple[Mapping[int, float], ...]
    """The loss without each block that is still there; its lowest goes before the next round."""
    rows: int
    """That it was measured on."""

    @property
    def dropped(self) -> tuple[int, ...]:
        """In the order in which they went."""
        return tuple(min(one, key=lambda block: (one[block], -block)) for one in self.rounds)

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.rounds[0]).difference(self.dropped)))

    def to_json(self) -> dict[str, Any]:
        rounds = [{str(block): loss for block, loss in one.items()} for one in self.rounds]
        return {"whole": self.whole, "rounds": rounds, "rows": self.rows, "dropped": self.dropped, "kept": self.kept}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Worth:
        rounds = tuple({int(block): loss for block, loss in one.items()} for one in found["rounds"])
        return Worth(found["whole"], rounds, found["rows"])


def prune_layers(
    folder: Path, out: Path, *, task: Task, layers: int, sample: Sample, tell: Callable[[str], None]
) -> Worth:
    """Write the model in `folder` with only `layers` of its blocks to the new folder `out`.

    Args:
        task: that it was trained for.

    Raises:
        UserError: no such number of blocks, blocks that cannot be left out, or data that cannot be used.
    """
    trained = Trained(folder, task)
    model = trained.model
    stack = find_stack(model, trained.probe())
    if not 1 <= layers < stack.size:
        raise UserError(
            f"The model has {stack.size} blocks, of which {layers} cannot be what is left: give --layers a number from "
            f"1 to {stack.size - 1}."
        )
    loss = trained.loss_on(sample)
    found = measure(model, stack, layers, loss, rows=loss.rows, tell=tell)
    trained.restore_settings()
    write_pruned(model, stack, found.kept, folder, out)
    expected = found.rounds[-1][found.dropped[-1]]
    trained.check_written(out, loss, expected, why="its configuration tells its blocks apart")
    return found


def find_stack(model: nn.Module, probe: Mapping[str, Tensor]) -> Stack:
    """
    Raises:
        UserError: the blocks are not one list that the configuration counts, each run once.
    """
    calls = find_blocks(model, trace(model, probe))
    lists = dict.fromkeys(call.path.rpartition(".")[0] for call in calls)
    size = getattr(model.config, "num_hidden_layers", None)
    if len(lists) != 1 or len({call.path for call in calls}) != len(calls) or len(calls) != size:
        found = ", ".join(f"{path} ({sum(call.path.startswith(f'{path}.') for call in calls)})" for path in lists)
        raise UserError(
            f"{type(model).__name__} cannot be pruned: its blocks would have to be one list, each run once, of "
            f"num_hidden_layers ({size}) entries; found: {found or 'none'}."
        )
    return Stack(next(iter(lists)), len(calls))


def measure(
    model: nn.Module, stack: Stack, layers: int, loss: Callable[[nn.Module], float], *, rows: int,
    tell: Callable[[str], None],
) -> Worth:  # fmt: skip
    """What each block is worth, until so many `layers` are left."""
    whole, rounds = loss(model), list[Mapping[int, float]]()
    while stack.size - len(rounds) > layers:
        gone = Worth(whole, tuple(rounds), rows).dropped
        found = {}
        for block in set(range(stack.size)).difference(gone):
            with skipped(model, stack, {*gone, block}):
                found[block] = loss(model)
        rounds.append(found)
        dropped = Worth(whole, tuple(rounds), rows).dropped[-1]
        tell(f"without block {dropped}: loss {found[dropped]:.4f}, and {whole:.4f} with all")
    return Worth(whole, tuple(rounds), rows)


@contextmanager
def skipped(model: nn.Module, stack: Stack, gone: Collection[int]) -> Iterator[None]:
    """While this lasts, the model runs without the blocks `gone`."""
    owner, _, name = stack.path.rpartition(".")
    parent = model.get_submodule(owner)
    whole = getattr(parent, name)
    setattr(parent, name, _some(whole, [block for block in range(stack.size) if block not in gone]))
    try:
        yield
    finally:
        setattr(parent, name, whole)


def write_pruned(model: Any, stack: Stack, kept: Sequence[int], folder: Path, out: Path) -> None:
    """Write the model with the blocks `kept` alone for `from_pretrained`, with what lies beside it in `folder`."""
    copy_beside(folder, out)
    config, gone = model.config, set(range(stack.size)).difference(kept)
    before = {"num_hidden_layers": config.num_hidden_layers}
    config.num_hidden_layers = len(kept)
    if (kinds := getattr(config, "layer_types", None)) is not None:
        before["layer_types"] = kinds
        config.layer_types = [kinds[block] for block in kept]
    try:
        with skipped(model, stack, gone), quiet():
            model.save_pretrained(out)
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def _some(blocks: nn.Module, kept: Sequence[int]) -> nn.Module:
    children = list(blocks.children())
    some = [children[k] for k in kept]
    return nn.ModuleList(some) if isinstance(blocks, nn.ModuleList) else nn.Sequential(*some)
