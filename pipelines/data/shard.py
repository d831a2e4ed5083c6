"""A data shard: every `num_shards`-th row of each split, read, checked and tokenised."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipelines.config import DataConfig
from pipelines.data.examples import Encoded
from pipelines.data.pack import Packed, pack
from pipelines.data.read import read_split, sources
from pipelines.tasks.task import Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What the whole split (not only this shard's part) looks like."""

    num_rows: int
    num_repaired: int
    labels: frozenset[str]
    facts: Mapping[str, Any]
    """What whoever uses the model must know of them; see `Task.facts`."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the driver must know of a shard's examples to plan an epoch; row `r` is number `r * num_shards + shard`."""

    lengths: list[int]
    """Sub-words of each row."""
    num_targets: list[int]
    num_cut: int
    num_unseen: int


class DataShard:
    """Holds rows `shard`, `shard + num_shards`, ... of each split."""

    def __init__(self, data: DataConfig, task: Task, *, shard: int, num_shards: int) -> None:
        self._data, self._task, self._shard, self._num_shards = data, task, shard, num_shards
        self._rows: dict[str, list[Any]] = {}
        self._encoded: dict[str, list[Encoded]] = {}

    def load(self) -> dict[str, SplitSummary]:
        """Read every split that the config names and keep this shard's rows.

        Raises:
            UserError: a split that cannot be read; see pipelines/data/read.py.
        """
        summaries = {}
        for split, source in sources(self._data).items():
            table = read_split(source, split=split, data=self._data, kind=self._task.kind)
            self._rows[split] = table.rows[self._shard :: self._num_shards]
            summaries[split] = SplitSummary(
                len(table.rows), table.num_repaired, table.labels, self._task.facts(table.rows)
            )
        return summaries

    def encode(self, source: str, labels: Sequence[str], max_length: int) -> dict[str, Lengths]:
        """Encode this shard's rows for the model of `source`; the returned numbers are all that the driver learns."""
        processor = self._task.load_processor(source)
        for split, rows in self._rows.items():
            self._encoded[split] = self._task.encode(rows, processor, labels, max_length)
        return {
            split: Lengths(
                [row.length for row in rows],
                [row.num_targets for row in rows],
                sum(row.num_cut for row in rows),
                sum(row.num_unseen for row in rows),
            )
            for split, rows in self._encoded.items()
        }

    def class_counts(self, split: str) -> Counter[int]:
        """How many targets of this shard's rows are of each class."""
        return Counter(label for row in self._encoded[split] for label in row.classes.tolist())

    def target_weights(self, split: str, weights: Sequence[float]) -> list[float]:
        """What the targets of each of this shard's rows weigh together, with `weights` by class."""
        # Rounded once for a row and never for a shard: the step's sum does not depend on who holds a row.
        rows = self._encoded[split]
        return [math.fsum(weights[label] for label in row.classes.tolist()) for row in rows]

    def micro_batches(self, split: str, wanted: Sequence[Sequence[int]]) -> list[Packed]:
        """For each micro-batch (row numbers of the whole split), this shard's rows with their places in it."""
        rows = self._encoded[split]
        packed = []
        for numbers in wanted:
            mine = [(place, n // self._num_shards) for place, n in enumerate(numbers) if self._is_mine(n)]
            packed.append(pack([rows[at] for _, at in mine], [place for place, _ in mine]))
        return packed

    def gold(self, split: str) -> list[Any]:
        """For each row what its answer is compared with."""
        pairs = zip(self._rows[split], self._encoded[split], strict=True)
        return [self._task.gold(row, encoded) for row, encoded in pairs]

    def _is_mine(self, number: int) -> bool:
        return number % self._num_shards == self._shard


def interleave(parts: Sequence[Sequence[T]]) -> list[T]:
    """The split's rows in their own order, from what each shard holds of them."""
    total = sum(len(part) for part in parts)
    return [parts[n % len(parts)][n // len(parts)] for n in range(total)]


def same_everywhere(summaries: Sequence[Mapping[str, SplitSummary]]) -> Mapping[str, SplitSummary]:
    """The one summary that all shards agree on.

    Raises:
        ValueError: the shards read different data, as when a file differs from node to node.
    """
    first = summaries[0]
    if any(other != first for other in summaries):
        raise ValueError("the data shards read different rows: the files differ between the nodes")
    return first
