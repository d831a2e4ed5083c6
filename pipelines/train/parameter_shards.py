"""Which parameter server owns which part of which parameter: split by bytes, not by count.

    word_embeddings.weight  [30522, 384]   ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒  pieces of at most 4 MiB: rows of the first
    layer.0.query.weight      [384, 384]   ▒                           dimension, so that a piece of a matrix is a
    layer.0.query.bias             [384]   ·                           matrix, and a piece of a table has whole rows
                                           └ server 0 ──┘└ server 1 ──┘

Pieces do not depend on the number of servers. So nothing that is computed piece by piece does: neither an elementwise
optimizer's result nor a norm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

PIECE = 4 * 2**20
"""Bytes of a piece at most, unless one row is longer: BytePS's partitions (Jiang et al. 2020, section 4.2)."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows `first` to `end - 1` of a parameter, along its first dimension; one row is all of a single number."""

    name: str
    """The parameter's fully qualified name."""
    first: int
    end: int
    shape: Shape
    """Of the piece itself."""

    @property
    def key(self) -> str:
        """Names the piece: no two pieces have the same."""
        return f"{self.name}[{self.first}:{self.end}]"

    @property
    def size(self) -> int:
        """Its number of values."""
        return math.prod(self.shape)

    def of(self, whole: Tensor) -> Tensor:
        """This piece of the parameter, or of anything of its shape; of a single number, that number."""
        return whole[self.first : self.end] if whole.dim() else whole


Owners = tuple[tuple[Piece, ...], ...]
"""For each server the pieces that it owns, in the order of the parameters."""


def cut_pieces(shapes: Mapping[str, Shape], *, itemsize: int, limit: int = PIECE, whole: bool = False) -> list[Piece]:
    """Cut parameters into pieces of about equal size and at most `limit` bytes, in their order.

    Args:
        shapes: of the parameters by fully qualified name.
        itemsize: bytes of a value.
        whole: leave them whole, for an optimizer that needs whole matrices.
    """
    pieces = []
    for name, shape in shapes.items():
        rows = shape[0] if shape else 1
        row_bytes = math.prod(shape[1:]) * itemsize
        most = rows if whole else max(1, limit // max(1, row_bytes))
        count = max(1, math.ceil(rows / most))
        for k in range(count):
            first, end = rows * k // count, rows * (k + 1) // count
            pieces.append(Piece(name, first, end, (end - first, *shape[1:]) if shape else ()))
    return pieces


def share_out(pieces: Sequence[Piece], num_owners: int, capacity: Sequence[float] | None = None) -> Owners:
    """Give every piece an owner; each gets a run of consecutive ones, at most one piece away from its share of bytes.

    Args:
        capacity: what each owner takes against the others, such as its bandwidth; equal when left out.

    Raises:
        ValueError: not one positive capacity for each owner.
    """
    weights = [1.0] * num_owners if capacity is None else list(capacity)
    if len(weights) != num_owners or num_owners < 1 or min(weights) <= 0:
        raise ValueError(f"{num_owners} owners need as many positive capacities, not {weights}")
    total = sum(piece.size for piece in pieces)
    owned: list[list[Piece]] = [[] for _ in weights]
    k, before, bound = 0, 0, total * weights[0] / sum(weights)
    for piece in pieces:
        # By its middle: at most half a piece reaches over either end of a share.
        while k < num_owners - 1 and before + piece.size / 2 > bound:
            k += 1
            bound = total * sum(weights[: k + 1]) / sum(weights)
        owned[k].append(piece)
        before += piece.size
    return tuple(tuple(own) for own in owned)


_KEY = re.compile(r"(?P<name>.*)\[\d+:\d+\](?P<rest>(/[^/]*)?)")


def joined(pieces: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Whole tensors by NAME (or NAME/KIND) from those of consecutive pieces, by KEY (or KEY/KIND).

    What is a single number in every piece, as an optimizer's count of steps, is so in the whole. What bears a whole
    name already is given as it is.
    """

    def parts() -> Iterator[tuple[str, str, Tensor]]:
        for key, tensor in pieces:
            found = _KEY.fullmatch(key)
            yield (key, "", tensor) if found is None else (found["name"], found["rest"], tensor)

    for name, of_one in groupby(parts(), key=lambda part: part[0]):
        kinds: dict[str, list[Tensor]] = {}
        for _, rest, tensor in of_one:
            kinds.setdefault(rest, []).append(tensor)
        for rest, tensors in kinds.items():
            yield name + rest, tensors[0] if len(tensors) == 1 or not tensors[0].dim() else torch.cat(tensors)
