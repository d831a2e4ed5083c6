"""Prove, before anything is trained, that a cut model computes what the whole one does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pipelines.errors import UserError
from pipelines.model.cut import chunk_of
from pipelines.model.trace import left_as_it_was
from pipelines.model.units import Units


def verify(model: nn.Module, units: Units, cut: Sequence[int], inputs: Mapping[str, Tensor]) -> None:
    """Run `inputs` through the chunks one behind the other and compare with the model's own answer.

    Whatever a chunk does not hold is NaN meanwhile, so that a value which a chunk should not need, and
    uses, is seen. The answers must be equal but for rounding: a kernel may sum in another order where a
    tensor that crossed lies in memory otherwise than it did.

    Raises:
        UserError: the answers differ, or a chunk fails; the model must not be trained with this cut.
    """
    with left_as_it_was(model):
        model.train()
        _in_pieces(model, units, cut, inputs)
        model.eval()
        pieces = _in_pieces(model, units, cut, inputs)
        # With gradients: what has none is not learnt from, and is not looked at (a cache, for example).
        whole = tree_leaves(model(**inputs))
    pairs = [(a, b) for a, b in zip(whole, pieces, strict=True) if isinstance(a, Tensor) and a.requires_grad]
    if not pairs or not all(_equal(a, b) for a, b in pairs):
        raise UserError(
            f"{type(model).__name__} cannot be cut before unit {' and '.join(map(str, cut))}: the pieces answer "
            f"otherwise than the whole model. {_instead(units, cut)}"
        )


def _instead(units: Units, cut: Sequence[int]) -> str:
    if {*cut} & {*units.inside_blocks}:
        return "Cut it between blocks (leave plan.cut out, or ask for fewer stages)."
    return "Train it uncut, with plan.stages=1."


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) or bool((a - b).abs().max() <= 64 * torch.finfo(a.dtype).eps * a.abs().max())


def _in_pieces(model: nn.Module, units: Units, cut: Sequence[int], inputs: Mapping[str, Tensor]) -> list[Any]:
    crossing: list[Tensor] = []
    output: object = None
    for first, end in pairwise([0, *cut, len(units)]):
        try:
            with (
                # Pieces run in processes of their own: nothing that one leaves in the model is there for another.
                left_as_it_was(model),
                chunk_of(model, units, first, end) as chunk,
                _only(model, {*units.parameters(first, end), *units.constants}),
            ):
                output = chunk(inputs, crossing)
        except Exception as error:
            # Whatever the model's own code makes of values that it never meets in one piece.
            raise UserError(
                f"{type(model).__name__} cannot be cut before unit {' and '.join(map(str, cut))}: its units {first} to "
                f"{end - 1} do not run by themselves ({type(error).__name__}: {' '.join(str(error).split())[:200]}). "
                f"{_instead(units, cut)}"
            ) from error
        # With gradients wanted, as in training: kernels are chosen by it.
        crossing = [_arrived(tensor) for tensor in output] if isinstance(output, list) else []
    return tree_leaves(output)


def _arrived(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy


@contextmanager
def _only(model: nn.Module, names: set[str]) -> Iterator[None]:
    """Let the model hold nothing but NaN, save for the named parameters."""
    kept = {}
    for name, parameter in model.named_parameters():
        if name not in names and parameter.is_floating_point():
            kept[name] = parameter.data
            parameter.data = torch.full((), float("nan"), dtype=parameter.dtype).expand(parameter.shape)
    try:
        yield
    finally:
        for name, value in kept.items():
            model.get_parameter(name).data = value
