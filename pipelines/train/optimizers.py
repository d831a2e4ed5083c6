"""Optimizers by name, and the learning rate of a step. To add one: a function here and its name in OPTIMIZERS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from pipelines.config import TrainConfig
from pipelines.errors import UserError

Named = Iterable[tuple[str, nn.Parameter]]


def _groups(parameters: Named, weight_decay: float) -> list[dict[str, object]]:
    """Two groups: matrices decay; biases and norms, which have one dimension, do not."""
    listed = [parameter for _, parameter in parameters]
    decayed = [p for p in listed if p.ndim > 1]
    others = [p for p in listed if p.ndim <= 1]
    groups: list[dict[str, object]] = []
    if decayed:
        groups.append({"params": decayed, "weight_decay": weight_decay})
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    # A stage may only borrow what it uses, and torch makes no optimizer of nothing.
    return groups or [{"params": [nn.Parameter(torch.empty(0))], "weight_decay": 0.0}]


def _adamw(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), torch's fused kernel: one pass over memory."""
    return torch.optim.AdamW(
        _groups(parameters, train.weight_decay), lr=0.0, betas=train.betas, eps=train.eps, fused=True
    )


def _sgd(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """Plain stochastic gradient descent with momentum `betas[0]`."""
    return torch.optim.SGD(_groups(parameters, train.weight_decay), lr=0.0, momentum=train.betas[0], fused=True)


OPTIMIZERS: dict[str, Callable[[Named, TrainConfig], torch.optim.Optimizer]] = {"adamw": _adamw, "sgd": _sgd}


ELEMENTWISE = frozenset({"adamw", "sgd"})
"""Those that treat every value by itself, so that a part of a parameter is updated as in the whole."""


def make_optimizer(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer that `train.optimizer` names, over the given named parameters."""
    check_optimizer(train)
    return OPTIMIZERS[train.optimizer](parameters, train)


def check_optimizer(train: TrainConfig) -> None:
    """Refuse an unknown name early.

    Raises:
        UserError: lists the known names.
    """
    if train.optimizer not in OPTIMIZERS:
        raise UserError(f"There is no optimizer {train.optimizer!r} (train.optimizer); known: {', '.join(OPTIMIZERS)}.")


def learning_rate(step: int, num_steps: int, train: TrainConfig) -> float:
    """The learning rate of step `step` (the first is 0): linear warm-up, then the decay, as the config says."""
    warmup = math.ceil(train.warmup * num_steps)
    if step < warmup:
        return train.learning_rate * step / warmup
    done = (step - warmup) / max(1, num_steps - warmup)
    factor = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2, "constant": 1.0}[train.decay]
    return train.learning_rate * factor
