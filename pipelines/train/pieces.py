"""A stage's state in pieces, so that nobody needs room for all of it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from torch import Tensor

PIECE = 16 * 2**20
"""Bytes: much less than any stage that matters holds, and enough that the messages round a piece cost little."""

Part = Literal["weights", "moments", "gradients", "importance"]
"""What a handover is of; moments are the optimizer's state."""


def pieces(named: Iterable[tuple[str, Tensor]], limit: int = PIECE) -> Iterator[dict[str, Tensor]]:
    """Whole tensors, in their order, in pieces of at most `limit` bytes; a larger tensor is a piece of its own.

    `named` is taken as the pieces are: a piece that was let go of is free before the next one is made.
    """
    piece: dict[str, Tensor] = {}
    size = 0
    for name, tensor in named:
        if piece and size + tensor.nbytes > limit:
            yield piece
            piece, size = {}, 0
        piece[name] = tensor
        size += tensor.nbytes
    if piece:
        yield piece
