"""How a message's head looks on its way: whose it is, what it is, and the kinds and shapes of its tensors.

    sender, step, micro-batch, chunk, what, number of tensors | dtype, dimensions, sizes | ...

Both ends are the same code, so a number stands for every name. No pickle: a head cannot make anything run.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, get_args

import torch
from torch import Tensor

from pipelines.train.transport import Tag, What

_WHATS: tuple[What, ...] = get_args(What)
_WHAT_NUMBERS = {what: number for number, what in enumerate(_WHATS)}
_DTYPES = (
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128,
)  # fmt: skip
_DTYPE_NUMBERS = {dtype: number for number, dtype in enumerate(_DTYPES)}
_FIXED = struct.Struct("<iqiiBH")

Shape = tuple[torch.dtype, tuple[int, ...]]


def head(sender: int, tag: Tag, tensors: Sequence[Tensor]) -> bytes:
    """The head of a message."""
    fixed = _FIXED.pack(sender, tag.step, tag.micro_batch, tag.chunk, _WHAT_NUMBERS[tag.what], len(tensors))
    return fixed + _shapes(tuple([(tensor.dtype, tensor.shape) for tensor in tensors]))


def read_head(buffer: Any, at: int = 0) -> tuple[int, Tag, list[Shape], int]:
    """Sender, tag, each tensor's dtype and shape, and where the head that begins at `at` ends.

    Raises:
        ValueError: it is no head.
    """
    try:
        sender, step, micro_batch, chunk, what, count = _FIXED.unpack_from(buffer, at)
        at += _FIXED.size
        shapes: list[Shape] = []
        for _ in range(count):
            dtype, dimensions = struct.unpack_from("<BB", buffer, at)
            shapes.append((_DTYPES[dtype], struct.unpack_from(f"<{dimensions}q", buffer, at + 2)))
            at += 2 + 8 * dimensions
        return sender, Tag(step, _WHATS[what], micro_batch, chunk), shapes, at
    except (struct.error, IndexError):
        raise ValueError("what came is no head of a message between stages") from None


@lru_cache(maxsize=1024)
def _shapes(shapes: tuple[Shape, ...]) -> bytes:
    # The same few shapes come again and again.
    return b"".join(
        struct.pack(f"<BB{len(shape)}q", _DTYPE_NUMBERS[dtype], len(shape), *shape) for dtype, shape in shapes
    )
