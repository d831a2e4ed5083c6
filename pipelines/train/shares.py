"""What stages and parameter servers send each other: gradients there, weights back, piece by piece.

A message is some numbers, an index of the pieces that it is about, and their tensors: the whole piece, or rows of a
table that is trained by rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.train.device import Device
from pipelines.train.parameter_shards import Owners, Piece
from pipelines.train.sparse import rows_of

Rows = tuple[Tensor, Tensor]
"""Numbers [n] of rows within the piece, rising, and their values [n, ...]."""

Part = Tensor | Rows
"""Of one piece: all of it, or some rows."""


@dataclass(frozen=True, slots=True)
class WaveNumbers:
    """Goes with a wave's gradients."""

    version: int
    """Of the weights that the wave was computed with; -1 from a stage that has none of this server's."""
    num_waves: int
    """Of the step."""
    stage: int
    num_stages: int
    """Of the replica: each of its stages sends something to every server."""


def as_message(numbers: Sequence[int], parts: Iterable[tuple[int, Part]]) -> list[Tensor]:
    """Parts by the number of their piece among those of the owner."""
    index: list[tuple[int, int]] = []
    tensors: list[Tensor] = []
    for at, part in parts:
        index.append((at, int(not isinstance(part, Tensor))))
        tensors.extend([part] if isinstance(part, Tensor) else part)
    return [torch.tensor(numbers, dtype=torch.int64), torch.tensor(index, dtype=torch.int64).reshape(-1, 2), *tensors]


def from_message(message: Sequence[Tensor]) -> tuple[list[int], list[tuple[int, Part]]]:
    """The other way round."""
    numbers, index, *tensors = message
    left = iter(tensors)
    parts: list[tuple[int, Part]] = []
    for at, by_rows in index.tolist():
        parts.append((at, (next(left), next(left)) if by_rows else next(left)))
    return numbers.tolist(), parts


class Pieces:
    """One stage's parameters as the pieces that servers own of them."""

    def __init__(
        self, owners: Owners, parameters: Mapping[str, nn.Parameter], tables: Iterable[str], device: Device
    ) -> None:
        """
        Args:
            parameters: that the stage trains, by fully qualified name.
            tables: names of those that are trained by rows.
        """
        self._parameters, self._tables, self._device = parameters, frozenset(tables), device
        self._held: list[dict[int, Piece]] = [
            {at: piece for at, piece in enumerate(owned) if piece.name in parameters} for owned in owners
        ]

    def held(self, server: int) -> list[int]:
        """Numbers of the pieces of `server` that the stage has parameters of."""
        return list(self._held[server])

    def take_gradients(self) -> list[list[tuple[int, Part]]]:
        """For each server its parts of the gradients, on the host; they are forgotten here."""
        rows = {name: rows_of(g) for name in self._tables if (g := self._parameters[name].grad) is not None}
        found = [
            [(at, part) for at, piece in held.items() for part in self._gradient(piece, rows)] for held in self._held
        ]
        for parameter in self._parameters.values():
            parameter.grad = None
        return found

    def _gradient(self, piece: Piece, rows: Mapping[str, Rows]) -> Iterator[Part]:
        gradient = self._parameters[piece.name].grad
        if piece.name in rows:
            # Of every piece, if only none of its rows: an optimizer's state is of whole tables.
            where, values = rows[piece.name]
            a, b = torch.searchsorted(where, torch.tensor([piece.first, piece.end], device=where.device)).tolist()
            yield self._device.give(where[a:b] - piece.first), self._device.give(values[a:b])
        elif gradient is not None:
            yield self._device.give(piece.of(gradient))

    @torch.no_grad()
    def take_values(self, server: int, parts: Iterable[tuple[int, Part]]) -> None:
        """Copy in what `server` has of the weights."""
        for at, part in parts:
            piece = self._held[server][at]
            target = piece.of(self._parameters[piece.name])
            if isinstance(part, Tensor):
                target.copy_(part)
            else:
                rows, values = part
                target[rows.to(target.device)] = values.to(target.device)
