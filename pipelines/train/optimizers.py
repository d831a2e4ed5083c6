"""Optimizers by name, and the learning rate of a step. To add one: a function here and its line in OPTIMIZERS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.train.lion import KEPT, Lion

RISE = 1e5
"""From the first to the last learning rate of `train.decay=rising`."""

Named = Iterable[tuple[str, nn.Parameter]]


def _groups(parameters: Named, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices decay; biases and norms, which have one dimension, do not."""
    listed = [parameter for _, parameter in parameters]
    decayed = [p for p in listed if p.ndim > 1]
    others = [p for p in listed if p.ndim <= 1]
    groups: list[dict[str, Any]] = []
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


def _adam(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015); `weight_decay` is added to the gradient, so that it is scaled as the gradient is."""
    return torch.optim.Adam(
        _groups(parameters, train.weight_decay), lr=0.0, betas=train.betas, eps=train.eps, fused=True
    )


def _sgd(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """Plain stochastic gradient descent with momentum `betas[0]`."""
    return torch.optim.SGD(_groups(parameters, train.weight_decay), lr=0.0, momentum=train.betas[0], fused=True)


def _lion(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """Lion (Chen et al. 2023): half of AdamW's state, and a learning rate of about a tenth of AdamW's."""
    return Lion(_groups(parameters, train.weight_decay), lr=0.0, betas=train.betas)


def _adafactor(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """Adafactor (Shazeer and Stern 2018): of a matrix's second moments only what rows and columns have in common.

    The learning rate is relative to the root mean square of a parameter, and at most 1 / sqrt(step). torch's own: of a
    parameter with more dimensions than two it divides the last two. One parameter after the other, so that a result
    does not depend on which of them are together.
    """
    return torch.optim.Adafactor(_groups(parameters, train.weight_decay), lr=0.0, foreach=False)


def _adamw_8bit(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with moments of one byte, scaled by blocks of 256 values (Dettmers et al. 2022), by bitsandbytes.

    Raises:
        UserError: not on a GPU, or bitsandbytes is not installed there.
    """
    listed = list(parameters)
    for _, parameter in listed:
        check_device("adamw-8bit", parameter.device.type)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise UserError(
            f"optimizer=adamw-8bit needs bitsandbytes on every node whose GPUs use it ({error}). Install it there "
            "(pip install bitsandbytes), or use adafactor, which keeps even less."
        ) from None
    made: torch.optim.Optimizer = AdamW8bit(
        _groups(listed, train.weight_decay), lr=0.0, betas=train.betas, eps=train.eps
    )
    return made


@dataclass(frozen=True, slots=True)
class Known:
    """One optimizer."""

    make: Callable[[Named, TrainConfig], torch.optim.Optimizer]
    state: frozenset[str]
    """What it may keep of a parameter. No two unlike optimizers share all, so that a mix-up is seen."""
    size: Callable[[Sequence[int], int], int]
    """Bytes of that, for a parameter's shape and the bytes of a value; the count of steps is left out."""
    by_value: bool = True
    """Whether a value's step depends on the gradients of that value alone, and is none while all of these were 0: only
    then may a parameter be trained by rows or in parts."""
    gpu_only: bool = False


def _moments(number: int) -> Callable[[Sequence[int], int], int]:
    return lambda shape, itemsize: number * math.prod(shape) * itemsize


def _rows_and_columns(shape: Sequence[int], itemsize: int) -> int:
    values = math.prod(shape)
    return (values if len(shape) < 2 else values // shape[-1] + values // shape[-2]) * itemsize


def _bytes_and_scales(shape: Sequence[int], itemsize: int) -> int:  # noqa: ARG001
    """Below 4096 values bitsandbytes keeps two float32 numbers for each; its two tables of 1 KiB are left out."""
    values = math.prod(shape)
    return 8 * values if values < 4096 else 2 * values + 8 * math.ceil(values / 256)


_ADAM = frozenset({"step", "exp_avg", "exp_avg_sq"})
_ADAFACTOR = frozenset({"step", "row_var", "col_var", "variance"})
_8BIT = frozenset({"step", "state1", "state2", "qmap1", "qmap2", "absmax1", "absmax2"})

OPTIMIZERS: dict[str, Known] = {
    "adamw": Known(_adamw, _ADAM, _moments(2)),
    "adam": Known(_adam, _ADAM, _moments(2)),
    "sgd": Known(_sgd, frozenset({"momentum_buffer"}), _moments(1)),
    "lion": Known(_lion, frozenset({KEPT}), _moments(1)),
    "adafactor": Known(_adafactor, _ADAFACTOR, _rows_and_columns, by_value=False),
    "adamw-8bit": Known(_adamw_8bit, _8BIT, _bytes_and_scales, by_value=False, gpu_only=True),
}


def make_optimizer(parameters: Named, train: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer that `train.optimizer` names, over the given named parameters."""
    check_optimizer(train.optimizer)
    return OPTIMIZERS[train.optimizer].make(parameters, train)


def by_value(train: TrainConfig) -> bool:
    """Whether parameters may be trained by rows or in parts: see Known."""
    return OPTIMIZERS[train.optimizer].by_value


def state_bytes(name: str, shape: Sequence[int], itemsize: int) -> int:
    """Bytes that the named optimizer keeps of a parameter, for a plan; `itemsize` is that of its values.

    `state_bytes("adamw", (10, 20), 4) == 1600`, `state_bytes("adafactor", (10, 20), 4) == 120`.
    """
    return OPTIMIZERS[name].size(shape, itemsize)


def check_optimizer(name: str, key: str = "train.optimizer") -> None:
    """Refuse an unknown name early.

    Args:
        key: where the config has it.

    Raises:
        UserError: lists the known names.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"There is no optimizer {name!r} ({key}); known: {', '.join(OPTIMIZERS)}.")


def check_device(name: str, kind: str) -> None:
    """Refuse an optimizer that has no kernels for a kind of device, `cpu` or `gpu`.

    Raises:
        UserError: says what to use there.
    """
    if OPTIMIZERS[name].gpu_only and kind == "cpu":
        raise UserError(
            f"optimizer={name} computes on GPUs only, and a stage is on a CPU. Set it for GPUs alone "
            f"(devices.gpu.optimizer={name}), or use adafactor or lion, which keep less than adamw too."
        )


def take_state(
    optimizer: torch.optim.Optimizer, name: str, parameter: nn.Parameter, key: str, value: Tensor, train: TrainConfig
) -> None:
    """Give the optimizer back what it kept of a parameter, under `key`, where it keeps it.

    Args:
        name: the parameter's own.

    Raises:
        UserError: another optimizer kept this.
    """
    if key not in OPTIMIZERS[train.optimizer].state:
        raise UserError(
            f"The checkpoint has a {key!r} for {name}, which {train.optimizer} does not keep: the parameter was on a "
            "device with another optimizer. Resume with a plan that keeps parameters on devices with the same "
            "`devices.*.optimizer`, or start afresh without checkpoint.resume."
        )
    if not value.dim() and any(group.get("fused") for group in optimizer.param_groups):
        # A fused kernel reads the count of steps where it reads the rest.
        value = value.to(parameter.device)
    # torch counts steps in a floating-point tensor, bitsandbytes in a number of Python's.
    number = not value.dim() and not value.is_floating_point()
    optimizer.state[parameter][key] = int(value) if number else value


def learning_rate(step: int, num_steps: int, train: TrainConfig) -> float:
    """The learning rate of step `step` (the first is 0): linear warm-up, then the decay, as the config says."""
    warmup = math.ceil(train.warmup * num_steps)
    if step < warmup:
        return train.learning_rate * step / warmup
    done = (step - warmup) / max(1, num_steps - warmup)
    factors: dict[str, float] = {
        "linear": 1 - done,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "constant": 1.0,
        "rising": RISE ** (done - 1),
    }
    factor = factors[train.decay]
    return train.learning_rate * factor
