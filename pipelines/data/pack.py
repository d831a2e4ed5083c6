"""Rows on their way from data shards to stages: packed by the shard, merged and padded by the stage.

A micro-batch may take rows from every shard, so that its rows do not depend on how many shards there
are. Each shard packs the rows that it holds, with their places in the micro-batch; the stage merges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.data.examples import Array, Encoded

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of some rows, without padding."""

    lengths: Ints
    """Of each row."""
    values: Array
    """[sum of lengths, ...]: the rows one behind the other."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Some rows of one micro-batch."""

    places: Ints
    """The rows' numbers within the micro-batch."""
    columns: dict[str, Column]
    starts: Ints | None = None
    """Where in its row each example begins, if several share one."""

    @property
    def num_bytes(self) -> int:
        return sum(int(column.values.nbytes) for column in self.columns.values())


def pack(rows: Sequence[Encoded], places: Sequence[int], starts: Sequence[int] | None = None) -> Packed:
    """Pack examples (inputs and labels) for their places in a micro-batch.

    Args:
        places: the row of each.
        starts: where in the row each begins, if several share one.
    """
    names = rows[0].columns if rows else {}
    columns = {name: _column([row.columns[name] for row in rows]) for name in names}
    return Packed(np.asarray(places, np.int32), columns, None if starts is None else np.asarray(starts, np.int32))


def merge(parts: Sequence[Packed], padding: Mapping[str, float]) -> dict[str, Tensor]:
    """One micro-batch from all shards' parts: tensors [rows, longest, ...], padded at the end; whole numbers as int64.

    Args:
        parts: what every shard packed; together they fill the places 0, 1, 2, ...
        padding: what to fill each column with.

    Where examples share rows, there are `position_ids` in place of an `attention_mask`: they begin with 0 in each
    example and are 0 in the padding, by which transformers finds where a text ends that none behind it may look into
    (`find_packed_sequence_indices`; it looks for it only where there is no mask).

    Raises:
        ValueError: a place is missing or taken twice.
    """
    if any(part.starts is not None for part in parts):
        return _side_by_side([part for part in parts if part.columns], padding)
    places = np.concatenate([part.places for part in parts])
    if sorted(places.tolist()) != list(range(len(places))):
        raise ValueError(f"the rows of a micro-batch came for the places {sorted(places.tolist())}")
    filled = [part for part in parts if part.columns]
    merged = {}
    for name, first in filled[0].columns.items():
        width = max(int(part.columns[name].lengths.max()) for part in filled)
        kind = np.int64 if first.values.dtype.kind == "i" else first.values.dtype
        out = np.full((len(places), width, *first.values.shape[1:]), padding[name], kind)
        for part in filled:
            column = part.columns[name]
            ends = np.cumsum(column.lengths)
            for place, length, end in zip(part.places, column.lengths, ends, strict=True):
                out[place, :length] = column.values[end - length : end]
        merged[name] = torch.from_numpy(out)
    return merged


def _side_by_side(parts: Sequence[Packed], padding: Mapping[str, float]) -> dict[str, Tensor]:
    spots: list[tuple[int, int, int]] = []
    for part in parts:
        assert part.starts is not None
        lengths = part.columns["input_ids"].lengths
        spots += zip(part.places.tolist(), part.starts.tolist(), lengths.tolist(), strict=True)
    ends: dict[int, int] = {}
    for place, start, length in sorted(spots):
        if start != ends.get(place, 0):
            raise ValueError(f"row {place} of a micro-batch has an example at {start}, and one that ends elsewhere")
        ends[place] = start + length
    if sorted(ends) != list(range(len(ends))):
        raise ValueError(f"the rows of a micro-batch came for the places {sorted(ends)}")
    shape = len(ends), max(ends.values())
    positions = np.zeros(shape, np.int64)
    for place, start, length in spots:
        positions[place, start : start + length] = np.arange(length)
    merged = {"position_ids": torch.from_numpy(positions)}
    for name in parts[0].columns:
        if name == "attention_mask":
            continue
        out = np.full(shape, padding[name], np.int64)
        for part in parts:
            assert part.starts is not None
            column = part.columns[name]
            last = np.cumsum(column.lengths)
            for place, start, length, end in zip(part.places, part.starts, column.lengths, last, strict=True):
                out[place, start : start + length] = column.values[end - length : end]
        merged[name] = torch.from_numpy(out)
    return merged


def _column(rows: Sequence[Array]) -> Column:
    return Column(np.asarray([len(row) for row in rows], np.int32), np.concatenate(rows))
