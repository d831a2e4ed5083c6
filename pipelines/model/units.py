"""Find the units of a loaded model: what comes before its blocks, each block, and what comes after.

Nothing here knows an architecture by name. The model runs once on a small input while two observers
watch: one sees in which order the entries of its ModuleLists are called, the other (below autograd)
sees which parameters every unit reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines.errors import UserError

FIRST, LAST = "embeddings", "head"


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest piece of a model that can be placed."""

    name: str
    """The block's module path; `embeddings` before the first block and `head` after the last."""
    parameters: tuple[str, ...]
    """Fully qualified names of the parameters that it reads."""
    size: int
    """Number of values in these parameters."""
    num_outputs: int | None = None
    """How many tensors the tuple holds that this block returns; None where it returns a bare tensor."""


@dataclass(frozen=True, slots=True)
class Units:
    """A model's units in the order in which they run; unit `k` is block `k - 1`."""

    all: tuple[Unit, ...]

    def __len__(self) -> int:
        return len(self.all)

    @property
    def blocks(self) -> tuple[str, ...]:
        return tuple(unit.name for unit in self.all[1:-1])

    def parameters(self, first: int, end: int) -> tuple[str, ...]:
        """Names of the parameters that units `first` to `end - 1` read, each once, in a stable order."""
        return tuple(dict.fromkeys(name for unit in self.all[first:end] for name in unit.parameters))


def find_units(model: nn.Module, inputs: Mapping[str, Tensor]) -> Units:
    """The units of `model`, seen while it runs on `inputs` (keyword arguments of its forward).

    Raises:
        UserError: the model has no single stack of blocks that run once each, in order.
    """
    name = type(model).__name__
    stacks = _stacks_in_order(model, inputs)
    if not stacks:
        raise UserError(
            f"{name} cannot be cut: none of its module lists holds blocks that run once each, in order. "
            "Train it uncut, with plan.stages=1."
        )
    if len(stacks) > 1:
        raise UserError(
            f"{name} cannot be cut: it has {len(stacks)} stacks of blocks ({', '.join(stacks)}), "
            "and only models with one stack are cut so far."
        )
    (blocks,) = stacks.values()
    readers, outputs = _watch(model, inputs, blocks)
    for path, output in outputs.items():
        if not isinstance(output, Tensor) and not (
            type(output) is tuple and all(isinstance(o, Tensor) for o in output)
        ):
            raise UserError(
                f"{name} cannot be cut: its block {path} returns a {type(output).__name__}, and only tensors and "
                "tuples of tensors can be sent from stage to stage so far. Train it uncut, with plan.stages=1."
            )
    sizes = {key: parameter.numel() for key, parameter in model.named_parameters()}
    lengths = [None, *(None if isinstance(o, Tensor) else len(o) for o in outputs.values()), None]
    rows = zip((FIRST, *blocks, LAST), readers, lengths, strict=True)
    return Units(tuple(Unit(path, tuple(used), sum(sizes[p] for p in used), length) for path, used, length in rows))


def one_unit(model: nn.Module) -> Units:
    """All of `model` as a single unit, for a run with one stage: any model will do."""
    names = tuple(name for name, _ in model.named_parameters())
    return Units((Unit("model", names, sum(p.numel() for p in model.parameters())),))


def _stacks_in_order(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Outermost module lists whose every entry runs exactly once, in order, with the entries' paths."""
    lists = {
        path: module for path, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)
    }
    entries = {f"{path}.{i}": path for path, module in lists.items() for i in range(len(module))}
    calls: list[str] = []
    with _hooked(model, entries, calls.append, lambda *_: None):
        _run(model, inputs)
    stacks: dict[str, list[str]] = {}
    for path, module in lists.items():
        expected = [f"{path}.{i}" for i in range(len(module))]
        nested = any(path.startswith(f"{outer}.") for outer in stacks)
        if not nested and [call for call in calls if entries[call] == path] == expected:
            stacks[path] = expected
    return stacks


def _watch(model: nn.Module, inputs: Mapping[str, Tensor], blocks: list[str]) -> tuple[list[list[str]], dict[str, Any]]:
    """For each unit, the names of the parameters that it reads, in the model's order; for each block, its output."""
    index = {path: k for k, path in enumerate(blocks, start=1)}
    outputs: dict[str, Any] = {}
    watch = _Reads()

    def enter(path: str) -> None:
        watch.unit = index[path]

    def leave(path: str, output: Any) -> None:
        outputs[path] = output
        # What runs between two blocks runs on the stage of the second one.
        watch.unit = index[path] + 1

    with _hooked(model, index, enter, leave), watch:
        _run(model, inputs)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    seen = [{names[i] for i in watch.read.get(k, set()) if i in names} for k in range(len(blocks) + 2)]
    return [[key for key in names.values() if key in used] for used in seen], outputs


class _Reads(TorchDispatchMode):
    """Notes which parameters reach a kernel, by unit. Shapes and dtypes are looked at without a kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unit = 0
        self.read: dict[int, set[int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, nn.Parameter):
                self.read.setdefault(self.unit, set()).add(id(leaf))
        return func(*args, **(kwargs or {}))


@contextmanager
def _hooked(
    model: nn.Module, paths: Mapping[str, Any], enter: Callable[[str], None], leave: Callable[[str, Any], None]
) -> Iterator[None]:
    handles = []
    for path in paths:
        module = model.get_submodule(path)
        handles.append(module.register_forward_pre_hook(lambda *_, path=path: enter(path)))
        handles.append(module.register_forward_hook(lambda _, __, output, path=path: leave(path, output)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run(model: nn.Module, inputs: Mapping[str, Tensor]) -> None:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        model.train(training)
