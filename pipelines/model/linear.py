"""Linear layers, however a model's authors write them down: which they are, and along which dimension they read."""

from __future__ import annotations

from torch import nn
from transformers.pytorch_utils import Conv1D

_READS: dict[type[nn.Module], int] = {nn.Linear: 1, Conv1D: 0}


def reads(module: nn.Module) -> int | None:
    """Along which dimension of its weight a linear layer reads; it makes along the other one. None of others."""
    return next((dim for kind, dim in _READS.items() if isinstance(module, kind)), None)


def linear_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of a model's linear layers, each once; none that is a table of embeddings as well."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    found: dict[int, nn.Parameter] = {}
    for module in model.modules():
        # A quantised layer keeps no parameter there.
        if reads(module) is not None and isinstance(weight := module.weight, nn.Parameter) and id(weight) not in tables:
            found[id(weight)] = weight
    return list(found.values())
