"""Which parameters are trained."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from pipelines.errors import UserError


def trained(model: nn.Module) -> dict[str, int]:
    """The parameters that are to be trained, by fully qualified name, with their numbers of values."""
    return {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Leave every parameter as it is whose fully qualified name fits one of `patterns` (`*`, `?`, `[...]`).

    Raises:
        UserError: a pattern fits no parameter, or nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            some = ", ".join(names[:: max(1, len(names) // 5)][:5])
            raise UserError(
                f"train.freeze: no parameter is called {pattern!r}. Names are such as {some}; * stands for anything."
            )
        for name in found:
            model.get_parameter(name).requires_grad_(False)
    if not trained(model):
        raise UserError("train.freeze leaves nothing to train. Take a pattern away.")
