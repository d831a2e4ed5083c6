"""What a module returns, taken apart into leaves, and put together again with others in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

TENSOR, NUMBER = "tensor", "number"
"""Kinds of leaves that may differ from one micro-batch to the next."""


@dataclass(frozen=True)
class Structure:
    """The shape of a module's output: nested tuples, lists, dicts and transformers' ModelOutputs."""

    spec: TreeSpec
    kinds: tuple[str, ...]
    """For each leaf TENSOR, NUMBER or `constant`."""
    constants: tuple[Any, ...]
    """The leaves that are neither; None in the place of all others."""
    shapes: tuple[tuple[int, ...] | None, ...]
    """Of the tensors, as they were once."""

    def build(self, leaves: Sequence[Any]) -> Any:
        """An output of this shape with the given leaves (those of constants are not looked at)."""
        filled = [
            constant if kind == "constant" else leaf
            for kind, constant, leaf in zip(self.kinds, self.constants, leaves, strict=True)
        ]
        return tree_unflatten(filled, self.spec)


def take_apart(output: Any) -> tuple[Structure, list[Any]]:
    """The structure of a module's output, and its leaves."""
    leaves, spec = tree_flatten(output)
    kinds = tuple(_kind(leaf) for leaf in leaves)
    constants = tuple(_constant(leaf) if kind == "constant" else None for kind, leaf in zip(kinds, leaves, strict=True))
    shapes = tuple(tuple(leaf.shape) if isinstance(leaf, Tensor) else None for leaf in leaves)
    return Structure(spec, kinds, constants, shapes), leaves


def _kind(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        return TENSOR
    return NUMBER if isinstance(leaf, int | float) and not isinstance(leaf, bool) else "constant"


def _constant(leaf: Any) -> Any:
    # Anything else (a cache, a module) holds state of its own, which does not go from stage to stage.
    return leaf if isinstance(leaf, bool | str) else None
