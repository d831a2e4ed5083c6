"""Which data shard holds which example of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from pipelines.data.batches import MicroBatch
from pipelines.data.examples import Array
from pipelines.data.pack import Ints

T = TypeVar("T")


class Where(NamedTuple):
    """A place in a micro-batch, and which of the shard's own examples belongs there."""

    place: int
    """The row."""
    own: int
    start: int | None = None
    """Where in the row it begins, if it shares it with others."""
    epoch: int | None = None
    """Of the micro-batch."""


def pieces_of(continues: Sequence[bool] | Array) -> Ints:
    """How many examples each row makes, from whether each example continues the one before."""
    firsts = np.flatnonzero(~np.asarray(continues, np.bool_))
    return np.diff(np.append(firsts, len(continues))).astype(np.int32)


class Order:
    """A split's examples in their own order: which shard holds each, and as which of its own."""

    def __init__(self, pieces: Sequence[Sequence[int]]) -> None:
        """`pieces`: of each shard, how many examples each of its rows makes."""
        self._num_shards = len(pieces)
        self._at: list[tuple[int, int]] = []
        ends = [0] * len(pieces)
        for n in range(sum(map(len, pieces))):
            s = n % len(pieces)
            for _ in range(pieces[s][n // len(pieces)]):
                self._at.append((s, ends[s]))
                ends[s] += 1
        self.sizes = ends
        """How many examples each shard has."""

    def join(self, parts: Sequence[Sequence[T]]) -> list[T]:
        """What the shards have of their examples, as the split's."""
        return [parts[s][at] for s, at in self._at]

    def own(self, values: Mapping[int, T]) -> list[dict[int, T]]:
        """For each shard what there is of its examples, by its own numbers, from what there is by the split's."""
        found: list[dict[int, T]] = [{} for _ in range(self._num_shards)]
        for n, value in values.items():
            s, at = self._at[n]
            found[s][at] = value
        return found

    def deal(self, micro_batches: Sequence[MicroBatch]) -> list[list[list[Where]]]:
        """For each shard what it holds of each micro-batch."""
        dealt: list[list[list[Where]]] = [[[] for _ in micro_batches] for _ in range(self._num_shards)]
        for i, one in enumerate(micro_batches):
            spots = [(place, None) for place in range(len(one.rows))] if one.spots is None else one.spots
            for (place, start), n in zip(spots, one.rows, strict=True):
                s, own = self._at[n]
                dealt[s][i].append(Where(place, own, start, one.epoch))
        return dealt
