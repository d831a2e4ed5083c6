"""Run a model once and write down which modules ran, what they returned, and what that depends on.

Two observers watch at once: a stand-in for every module's forward sees when it runs and what it returns; below
autograd, a dispatch mode sees which parameters reach a kernel at which moment. Moments are counted in ticks, one at
every beginning and every end of a module's call. What depends on what is read from autograd's graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines.errors import UserError
from pipelines.model.structure import Structure, take_apart


class ChangesItself(UserError):
    """A forward that is not a function of inputs and parameters."""


Edge = tuple[Any, int]
"""A value in autograd's graph: the node that made it, and which of the node's outputs it is."""


@dataclass(eq=False)
class Call:
    """One call of one module."""

    path: str
    nth: int
    """How often the module had run before."""
    opened: int
    begin: int
    """autograd's sequence number: what the call computes has numbers from `begin` to `end - 1`."""
    given: list[Edge | None]
    """Its arguments' leaves, positional ones first."""
    closed: int = -1
    end: int = -1
    structure: Structure | None = None
    returned: list[Edge | None] = field(default_factory=list)
    """Its output's leaves; None for what has no gradient."""

    @property
    def key(self) -> tuple[str, int]:
        return self.path, self.nth

    def computed(self, node: Any) -> bool:
        """Whether the node came to be during this call."""
        return bool(self.begin <= node._sequence_nr() < self.end)

    def within(self, other: Call) -> bool:
        return other.opened <= self.opened and self.closed <= other.closed


@dataclass
class Trace:
    """A whole forward."""

    calls: list[Call]
    """In the order of their beginnings, without the model's own."""
    reads: dict[int, set[str]]
    """Parameters that reached a kernel, by tick."""
    outputs: list[Edge]
    names: dict[int, str]
    """Names of the parameters by their id."""


def trace(model: nn.Module, inputs: Mapping[str, Tensor]) -> Trace:
    """Run `model` on `inputs` in evaluation mode, as if all of its parameters were trained.

    Raises:
        ChangesItself: the forward changed parameters, which are not what they were.
    """
    parameters = dict(model.named_parameters())
    versions = [parameter._version for parameter in parameters.values()]
    wanted = {name: parameter.requires_grad for name, parameter in parameters.items()}
    for parameter in parameters.values():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    watch = _Watch()
    try:
        with left_as_it_was(model):
            model.eval()
            with watch.watching(model), watch, torch.enable_grad():
                output = model(**inputs)
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(wanted[name])
    changed = [name for (name, p), version in zip(parameters.items(), versions, strict=True) if p._version != version]
    if changed:
        raise ChangesItself(
            f"{type(model).__name__} cannot be trained here: its forward changes its own parameters "
            f"({', '.join(changed[:3])}). Look for a setting that switches this off (RWKV: rescale_every=0)."
        )
    names = {id(parameter): name for name, parameter in parameters.items()}
    reads = {tick: {names[i] for i in ids if i in names} for tick, ids in watch.reads.items()}
    outputs = [edge for leaf in tree_leaves(output) if (edge := edge_of(leaf)) is not None]
    return Trace([call for call in watch.calls if call.closed >= 0], reads, outputs, names)


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Undo what a forward leaves behind: buffers, and attributes that modules set for each other."""
    kept = {"_parameters", "_buffers", "_modules"}
    attributes = [(m, {k: v for k, v in m.__dict__.items() if k not in kept}) for m in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for module, before in attributes:
            for name in set(module.__dict__) - set(before) - kept:
                del module.__dict__[name]
            module.__dict__.update(before)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def edge_of(leaf: Any) -> Edge | None:
    """Where a value comes from in autograd's graph; None for what depends on no parameter."""
    if not isinstance(leaf, Tensor) or not leaf.requires_grad:
        return None
    if leaf.grad_fn is None:
        with torch.enable_grad():
            view = leaf.view_as(leaf).grad_fn
        # None where a module computes outside autograd's sight (Reformer's reversible blocks).
        return None if view is None else view.next_functions[0]
    return leaf.grad_fn, leaf.output_nr


def parents(node: Any) -> Iterable[Edge]:
    """The values that a node was computed from."""
    return [(parent, number) for parent, number in node.next_functions if parent is not None]


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tick = 0
        self.reads: dict[int, set[int]] = {}
        self.calls: list[Call] = []
        self._open: list[Call] = []
        self._counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, nn.Parameter):
                self.reads.setdefault(self.tick, set()).add(id(leaf))
        return func(*args, **(kwargs or {}))

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Stand in for every module's forward: some models call it directly, past all hooks."""
        before = {path: module.__dict__.get("forward") for path, module in model.named_modules() if path}
        for path in before:
            module = model.get_submodule(path)
            module.forward = self._watched(path, module.forward, may_hand_on=_changes_in_training(module))
        try:
            yield
        finally:
            for path, forward in before.items():
                module = model.get_submodule(path)
                if forward is None:
                    del module.forward
                else:
                    module.forward = forward

    def _watched(self, path: str, run: Callable[..., Any], *, may_hand_on: bool) -> Callable[..., Any]:
        @wraps(run)
        def forward(*args: Any, **kwargs: Any) -> Any:
            self._enter(path, args, kwargs)
            output = run(*args, **kwargs)
            if may_hand_on and (edge := edge_of(output)) is not None and edge in self._open[-1].given:
                # What dropout makes in training is another value than what it got.
                output = output.view_as(output)
            self._leave(output)
            return output

        return forward

    def _enter(self, path: str, args: Any, kwargs: Any) -> None:
        self.tick += 1
        given = [edge_of(leaf) for leaf in tree_leaves((args, kwargs))]
        call = Call(path, self._counts[path], self.tick, _sequence_number(), given)
        self._counts[path] += 1
        self._open.append(call)
        self.calls.append(call)

    def _leave(self, output: Any) -> None:
        self.tick += 1
        call = self._open.pop()
        call.closed, call.end = self.tick, _sequence_number()
        call.structure, leaves = take_apart(output)
        call.returned = [edge_of(leaf) for leaf in leaves]


def _changes_in_training(module: nn.Module) -> bool:
    """Whether a module that hands on its input here may do otherwise in training, as dropout does."""
    plain = next(module.children(), None) is None and next(module.parameters(), None) is None
    return plain and type(module) is not nn.Identity


def _sequence_number() -> int:
    with torch.enable_grad():
        probe = torch.zeros((), requires_grad=True).view(1)
    return int(probe.grad_fn._sequence_nr())  # type: ignore[union-attr]
