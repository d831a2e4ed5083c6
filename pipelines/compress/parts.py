"""Find what is alike inside of a model's blocks and counted by its configuration: neurons, and groups of heads.

Both are rows of the linear layers that make them and columns of the one that reads them. Which ones, the configuration
tells by itself, whatever the architecture is called: without memory, the model is built with another number in it, and
what has another shape then belongs to what is counted.

    intermediate_size: 64 -> 56
        encoder.layer.0.intermediate.dense.weight   [64, 32] -> [56, 32]   makes them
        encoder.layer.0.intermediate.dense.bias     [64]     -> [56]
        encoder.layer.0.output.dense.weight         [32, 64] -> [32, 56]   reads them

Where anything else has another shape, in a layer of another kind or beside the blocks, the number counts something
else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from pipelines.errors import UserError
from pipelines.model.blocks import find_blocks
from pipelines.model.linear import reads
from pipelines.model.load import skeleton
from pipelines.model.trace import trace

MULTIPLE = 8
"""Of what stays of the neurons: matrices of other sizes are multiplied more slowly."""
LEFT_OPEN = ("n_inner", "intermediate_size", "ffn_hidden_size")
"""Numbers of neurons that some configurations leave at None, for what follows from the hidden size."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of which every block has the same number, each as large as any other."""

    settings: Mapping[str, int]
    """What the configuration says with `after` of them."""
    before: int
    after: int
    held: Mapping[str, tuple[tuple[str, int], ...]]
    """By block: the parameters that they are in, and along which dimension; each has neighbouring entries in it."""
    readers: Mapping[str, str]
    """By block: the linear layer whose input they are."""


@dataclass(frozen=True, slots=True)
class _Change:
    name: str
    dim: int
    before: int
    after: int
    reads: bool


def block_paths(model: nn.Module, probe: Mapping[str, Tensor]) -> list[str]:
    """
    Raises:
        UserError: there are none.
    """
    if not (found := list(dict.fromkeys(call.path for call in find_blocks(model, trace(model, probe))))):
        raise UserError(f"{type(model).__name__} has no list of blocks, inside of which something could go.")
    return found


def find_neurons(model: Any, blocks: Sequence[str], share: float) -> Parts:
    """The neurons of the feed-forward in every block, of which `share` stays, rounded to a multiple of 8.

    Raises:
        UserError: no number of the configuration counts them, or so many cannot be what is left.
    """
    read = {
        module.weight.shape[dim]
        for path, module in model.named_modules()
        if (dim := reads(module)) is not None and block_of(path, blocks) is not None
    }
    for setting, number in model.config.to_dict().items():
        counts = type(number) is int and number in read and number > MULTIPLE
        if not counts and not (number is None and setting in LEFT_OPEN):
            continue
        other = number - MULTIPLE if counts else MULTIPLE
        found = _changes(model, blocks, {setting: other})
        every = [change for some in found.values() for change in some]
        before = every[0].before if every else 0
        if not _fit(found) or any((one.before, one.after) != (before, other) for one in every):
            continue
        after = max(MULTIPLE, round(before * share / MULTIPLE) * MULTIPLE)
        if after >= before:
            raise UserError(
                f"Each block has {before} neurons, of which {share:g} is {after} as a multiple of {MULTIPLE}: none "
                "would go. Give a smaller --width, or leave it out."
            )
        return _parts(found, {setting: after}, before, after)
    raise UserError(
        f"{type(model).__name__} cannot have fewer neurons: no number of its configuration counts those of every "
        "block, made by one or two linear layers and read by one. Leave --width out; --layers may do."
    )


def find_heads(model: Any, blocks: Sequence[str], heads: int) -> Parts:
    """The groups of heads of every block's attention, of which as many stay as have `heads` query heads.

    A group is a key and value head with the query heads that share it; a single head where each has its own.

    Raises:
        UserError: the configuration does not say how large a head is, so many cannot be what is left, or what else
            follows from their number.
    """
    config, kind = model.config, type(model).__name__
    if not isinstance(getattr(config, "head_dim", None), int):
        raise UserError(
            f"{kind} cannot have fewer heads: its configuration names no head_dim, so that the size of a head follows "
            "from their number. Leave --heads out; --width and --layers may do."
        )
    before = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None)
    groups = shared or before
    size = before // groups
    if not 0 < heads < before or heads % size:
        of = f" in groups of {size}, which share a key and value head" if size > 1 else ""
        may = f"give a multiple of {size} from {size} to {before - size}" if groups > 1 else "none can go, leave it out"
        raise UserError(f"Each block has {before} heads{of}: --heads {heads} cannot be what is left; {may}.")
    named = getattr(config, "attribute_map", {})
    settings = {named.get("num_attention_heads", "num_attention_heads"): heads}
    after = heads // size
    if shared is not None:
        settings[named.get("num_key_value_heads", "num_key_value_heads")] = after
    found = _changes(model, blocks, settings)
    every = [change for some in found.values() for change in some]
    if not _fit(found) or any(one.before % groups or one.after * groups != one.before * after for one in every):
        raise UserError(
            f"{kind} cannot have {heads} of {before} heads: its configuration refuses that number, or something beside "
            "the linear layers of every block's one attention follows from it. Give another number, or leave --heads "
            "out; --width and --layers may do."
        )
    return _parts(found, settings, groups, after)


def _changes(model: Any, blocks: Sequence[str], settings: Mapping[str, int]) -> dict[str, list[_Change]]:
    """By block, what has another shape in a model with these settings; empty where anything else has, or none is."""
    kind = type(model.config)
    try:
        # As whoever reads the folder makes it, so that what would be refused then is refused now.
        config = kind.from_dict(model.config.to_dict() | settings)
        other = skeleton(config, model_class=type(model).__name__, dtype="float32")
    except (ValueError, RuntimeError, ArithmeticError, AssertionError, StrictDataclassError):
        # There is no such model: the number counts something that others are divided by, and no neurons.
        return {}
    shapes = {name: parameter.shape for name, parameter in other.named_parameters()}
    found: dict[str, list[_Change]] = {block: [] for block in blocks}
    for name, parameter in model.named_parameters():
        there, here = shapes.get(name), parameter.shape
        if there == here:
            continue
        block, along = block_of(name, blocks), reads(model.get_submodule(name.rpartition(".")[0]))
        if block is None or along is None or there is None or len(there) != len(here):
            return {}
        dims = [dim for dim in range(len(here)) if here[dim] != there[dim]]
        if len(dims) != 1:
            return {}
        dim = dims[0]
        found[block].append(_Change(name, dim, here[dim], there[dim], reads=len(here) == 2 and dim == along))
    return found


def _fit(found: Mapping[str, Sequence[_Change]]) -> bool:
    """Whether every block makes its parts, and one layer of it reads them."""
    return bool(found) and all(
        sum(one.reads for one in some) == 1 and any(not one.reads for one in some) for some in found.values()
    )


def _parts(found: Mapping[str, Sequence[_Change]], settings: Mapping[str, int], before: int, after: int) -> Parts:
    held = {block: tuple((one.name, one.dim) for one in some) for block, some in found.items()}
    readers = {block: next(one.name for one in some if one.reads) for block, some in found.items()}
    return Parts(settings, before, after, held, {block: name.rpartition(".")[0] for block, name in readers.items()})


def block_of(name: str, blocks: Sequence[str]) -> str | None:
    """The path of the block that a module or a parameter is in."""
    return next((block for block in blocks if name.startswith(f"{block}.")), None)
