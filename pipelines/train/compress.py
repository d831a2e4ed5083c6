"""Activations and gradients made smaller for slow links between stages (`plan.compress`).

    bfloat16   half of float32's bytes: the same range, 8 bits of precision
    int8       about a quarter: every row (the last dimension) as whole numbers times a scale of its own,
               the row's largest value over 127, rounded to the nearest (Dettmers et al. 2022, LLM.int8(), section 2.1)

Only what gradients flow through is made smaller. Masks and positions, which look like activations but bear no error,
stay as they are, and so does what stages send in an evaluation or before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Compression = Literal["none", "bfloat16", "int8"]

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_LARGEST = 127


def compress(tensors: Sequence[Tensor], may_lose: Sequence[bool], how: Compression) -> tuple[list[Tensor], float]:
    """A message that `restore` undoes, and the largest relative error of any tensor in it.

    The message begins with a tensor uint8 [number of tensors]: 0 for one that is as it was, else what its dtype was.
    The relative error is the norm of what was lost over the norm of what was there; 0 where all is zero.

    Args:
        may_lose: of each tensor, whether it may be made smaller; one that would not get smaller stays as it is.
        how: not `none`.
    """
    codes, message, error = [], [], 0.0
    for tensor, may in zip(tensors, may_lose, strict=True):
        if not may or not tensor.is_floating_point() or (how == "bfloat16" and tensor.element_size() == 2):
            codes.append(0)
            message.append(tensor.detach())
            continue
        tensor = tensor.detach()
        codes.append(1 + _FLOATS.index(tensor.dtype))
        parts = [tensor.to(torch.bfloat16)] if how == "bfloat16" else _to_int8(tensor)
        message += parts
        error = max(error, _relative_error(tensor, _restored(parts, tensor.dtype)))
    return [torch.tensor(codes, dtype=torch.uint8), *message], error


def restore(message: Sequence[Tensor], how: Compression) -> list[Tensor]:
    """The tensors of a message that `compress` made, in their dtypes and shapes."""
    codes, *left = message
    tensors = []
    for code in codes.tolist():
        if not code:
            tensors.append(left.pop(0))
            continue
        parts = [left.pop(0) for _ in range(2 if how == "int8" else 1)]
        tensors.append(_restored(parts, _FLOATS[code - 1]))
    return tensors


def _to_int8(tensor: Tensor) -> list[Tensor]:
    """Whole numbers int8 of the tensor's shape, and scales float32 [..., 1] that they are to be multiplied by.

    A row that is not finite becomes one that is not a number, so that an overflow is still noticed.
    """
    rows = tensor.reshape(1) if tensor.dim() == 0 else tensor
    scales = (rows.abs().amax(-1, keepdim=True) / _LARGEST).float()
    numbers = torch.where(scales > 0, rows / scales, 0).round().nan_to_num().clamp(-_LARGEST, _LARGEST)
    return [numbers.to(torch.int8).reshape(tensor.shape), scales]


def _restored(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    if len(parts) == 1:
        return parts[0].to(dtype)
    numbers, scales = parts
    return (numbers.to(dtype) * scales.to(dtype)).reshape(numbers.shape)


def _relative_error(was: Tensor, restored: Tensor) -> float:
    norm = float(torch.linalg.vector_norm(was, dtype=torch.float64))
    return float(torch.linalg.vector_norm(was - restored, dtype=torch.float64)) / norm if norm else 0.0
