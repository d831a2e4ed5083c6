"""What Motley would train wrongly, found in a model before anything is trained."""

from __future__ import annotations

from torch import nn

from pipelines.errors import UserError
from pipelines.model.linear import linear_weights


def refuse_running_statistics(model: nn.Module) -> None:
    """Statistics of the data that layers keep beside their parameters stay on the stages: nobody gathers them yet.

    Raises:
        UserError: the model has such layers.
    """
    found = [name for name, module in model.named_modules() if getattr(module, "running_mean", None) is not None]
    if found:
        raise UserError(
            f"{type(model).__name__} cannot be trained yet: {found[0]} (one of {len(found)}) keeps running statistics, "
            "which would be lost. Use a model without batch norm."
        )


def refuse_dropped_blocks(model: nn.Module) -> None:
    """A block that is left out at random may be the one that a stage is to stop at.

    Raises:
        UserError: the configuration drops whole blocks.
    """
    config = getattr(model, "config", None)
    parts = [config, *(part for part in vars(config).values() if hasattr(part, "model_type"))] if config else []
    found = {
        name: value for part in parts for name, value in vars(part).items() if name.endswith("layerdrop") and value
    }
    if found:
        settings = ", ".join(f"{name} ({value})" for name, value in found.items())
        raise UserError(
            f"{type(model).__name__} cannot be cut: it leaves whole blocks out at random. Set {settings} to 0 in its "
            "config.json, or train it with plan.stages=1."
        )


def refuse_without_zeros(model: nn.Module) -> None:
    """`train.keep_zeros` is for models of which single weights were pruned.

    Raises:
        UserError: no weight of a linear layer is zero.
    """
    if all(bool(weight.all()) for weight in linear_weights(model)):
        raise UserError(
            f"train.keep_zeros has no effect: no weight of a linear layer of this {type(model).__name__} is zero. "
            "Start from a model of which single weights were pruned (jobs.prune --weights), or leave it out."
        )
