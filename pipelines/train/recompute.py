"""Keep only what goes into a block for its backward, and run the block again there (Chen et al. 2016).

    forward     x -> block -> y      kept: x, and where dropout's generator stood
    backward    x -> block           now everything that the block's backward reads is there
                dy -> dx             and gone again before the next block's turn

torch.utils.checkpoint does it. What it cannot know is what a block of a cut model is: other calls inside it
are counted, skipped, seeded and may end the forward (pipelines/model/cut.py), and all that must go the second
time as it went the first, and leave no trace. And some blocks change what they are given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint

from pipelines.model.cut import Stop

Moment = Callable[[], AbstractContextManager[None]]
_STOPPED = object()


class Recomputed:
    """Stands in for the forward of one block while it is trained."""

    def __init__(self, block: nn.Module, moment: Moment) -> None:
        self._block, self._moment = block, moment
        self._plain = block.forward
        self._changed: set[int] | None = None
        """Which of its tensors the block changes in place; None until it has run once."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._block.training or not torch.is_grad_enabled():
            return self._plain(*args, **kwargs)
        leaves, spec = tree_flatten((args, kwargs), is_leaf=_is_cache)
        del args, kwargs
        places = [at for at, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        tensors: list[Tensor] = [leaves[at] for at in places]
        versions = [tensor._version for tensor in tensors]
        copied = set(range(len(tensors))) if self._changed is None else self._changed
        kept = [_copy(tensor) if n in copied else tensor for n, tensor in enumerate(tensors)]
        others = [None if isinstance(leaf, Tensor) else _without_tensors_copied(leaf) for leaf in leaves]
        # Given away: the second run must not find, nor keep, what the first one was given.
        given = [leaves]
        del leaves

        def part(*again: Tensor) -> Any:
            if given:
                here = given.pop()
            else:
                here = [_without_tensors_copied(other) for other in others]
                for n, (at, tensor) in enumerate(zip(places, again, strict=True)):
                    # A leaf of the graph must not be changed in place.
                    here[at] = tensor.clone() if n in copied else tensor
            args, kwargs = tree_unflatten(here, spec)
            try:
                return self._plain(*args, **kwargs)
            except Stop:
                # The chunk ends inside this block. checkpoint's own bookkeeping wants a return.
                return _STOPPED

        moment = self._moment()
        output = checkpoint(part, *kept, use_reentrant=False, context_fn=lambda: (nullcontext(), moment))
        if self._changed is None:
            pairs = zip(tensors, versions, strict=True)
            self._changed = {n for n, (tensor, version) in enumerate(pairs) if tensor._version != version}
        if output is _STOPPED:
            raise Stop
        return output


def recompute(model: nn.Module, blocks: Iterable[str], moment: Moment) -> None:
    """Put the modules at the paths `blocks` behind a Recomputed.

    Args:
        moment: gives a context in which a part of the forward that is running goes again as it would now.
    """
    for path in blocks:
        block = model.get_submodule(path)
        block.forward = Recomputed(block, moment)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _is_cache(value: Any) -> bool:
    # torch may know caches as containers of tensors; here one stays in one piece.
    return any(kind.__module__ == "transformers.cache_utils" for kind in type(value).__mro__)


def _without_tensors_copied(value: Any) -> Any:
    """A cache as it is now, whatever is added to it later; everything else as it is."""
    if isinstance(value, list | tuple) and type(value) in {list, tuple}:
        return type(value)(_without_tensors_copied(entry) for entry in value)
    if isinstance(value, dict):
        return {key: _without_tensors_copied(entry) for key, entry in value.items()}
    if not _is_cache(value) or isinstance(value, type):
        return value
    same = copy.copy(value)
    same.__dict__.update({name: _without_tensors_copied(entry) for name, entry in value.__dict__.items()})
    return same
