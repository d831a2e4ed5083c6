"""Rows of sets that a model has learnt already, among those that it learns now."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from pipelines.config import DataConfig
from pipelines.data.examples import Table
from pipelines.data.hub import PREFIX
from pipelines.data.kind import ExampleKind
from pipelines.data.read import read_split, sources
from pipelines.data.textfile import existing


def with_replayed(table: Table[Any], data: DataConfig, kind: ExampleKind) -> Table[Any]:
    """The rows of train and behind them, as `data.replay` says, some of each earlier set's training split.

    Which ones is drawn from the seed and the place of the set in the list alone, so that all data shards draw the same.
    An epoch has them as it has all rows: every one once.

    Raises:
        UserError: an earlier set cannot be read.
    """
    if data.replay is None:
        return table
    rows, labels, repaired = list(table.rows), set(table.labels), table.num_repaired
    for k, path in enumerate(data.replay.sets):
        earlier = read_split(_source(path, data), split="train", data=data, kind=kind)
        chosen = sample(len(earlier.rows), data.replay.kept, seed=data.replay.seed, k=k)
        rows += [earlier.rows[n] for n in chosen]
        # All of the set's, also those that no chosen row has: the model knows them.
        labels |= earlier.labels
        repaired += earlier.num_repaired
    return replace(table, rows=rows, labels=frozenset(labels), num_repaired=repaired)


def sample(num_rows: int, kept: int, *, seed: int, k: int) -> list[int]:
    """Numbers of the rows that are kept of set `k`, in their order; all where there are no more."""
    draw = random.Random(f"{seed} {k}")
    return sorted(draw.sample(range(num_rows), min(kept, num_rows)))


def _source(path: str, data: DataConfig) -> str:
    if not path.startswith(PREFIX) and existing(path).is_file():
        return str(existing(path).absolute())
    alone = data.model_copy(update={"path": path, "train": None, "dev": None, "test": None})
    return sources(alone)["train"]
