"""Linear layers, however a model's authors write them down: which they are, and along which dimension they read."""

from __future__ import annotations

from torch import nn


def reads(module: nn.Module) -> int | None:
    """Along which dimension of its weight a linear layer reads; it makes along the other one. None of others."""
    if isinstance(module, nn.Linear):
        return 1
    # Imported here: it takes a second, and whoever needs it has a model, for which it was imported.
    from transformers.pytorch_utils import Conv1D

    return 0 if isinstance(module, Conv1D) else None


def linear_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of a model's linear layers, each once; none that is a table of embeddings as well."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    found: dict[int, nn.Parameter] = {}
    for module in model.modules():
        # A quantised layer keeps no parameter there.
        if reads(module) is not None and isinstance(weight := module.weight, nn.Parameter) and id(weight) not in tables:
            found[id(weight)] = weight
    return list(found.values())
