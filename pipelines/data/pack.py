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

from pipelines.data.examples import Encoded

IGNORE = -100
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Packed:
    """Some rows of one micro-batch, without padding: `columns[name]` holds them one behind the other."""

    places: Ints
    """The rows' numbers within the micro-batch."""
    lengths: Ints
    columns: dict[str, Ints]

    @property
    def num_bytes(self) -> int:
        return sum(int(column.nbytes) for column in self.columns.values())


def pack(rows: Sequence[Encoded], places: Sequence[int]) -> Packed:
    """Pack rows (inputs and labels) for their places in a micro-batch."""
    names = rows[0].inputs if rows else {}
    columns = {name: _flat([row.inputs[name] for row in rows]) for name in names}
    if rows:
        columns["labels"] = _flat([row.labels for row in rows])
    return Packed(np.asarray(places, np.int32), np.asarray([row.length for row in rows], np.int32), columns)


def merge(parts: Sequence[Packed], padding: Mapping[str, int]) -> dict[str, Tensor]:
    """One micro-batch from all shards' parts: int64 tensors [rows, longest], padded at the end.

    Args:
        parts: what every shard packed; together they fill the places 0, 1, 2, ...
        padding: what to fill each column with.

    Raises:
        ValueError: a place is missing or taken twice.
    """
    places = np.concatenate([part.places for part in parts])
    if sorted(places.tolist()) != list(range(len(places))):
        raise ValueError(f"the rows of a micro-batch came for the places {sorted(places.tolist())}")
    width = max(int(part.lengths.max()) for part in parts if len(part.lengths))
    names = next(iter(part.columns for part in parts if part.columns))
    merged = {}
    for name in names:
        out = np.full((len(places), width), padding[name], np.int64)
        for part in parts:
            ends = np.cumsum(part.lengths)
            for place, length, end in zip(part.places, part.lengths, ends, strict=True):
                out[place, :length] = part.columns[name][end - length : end]
        merged[name] = torch.from_numpy(out)
    return merged


def _flat(rows: Sequence[Sequence[int]]) -> Ints:
    return np.fromiter((value for row in rows for value in row), np.int32)
