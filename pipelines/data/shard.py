"""A data shard: every `num_shards`-th row of each split, read, checked and tokenised.

A row makes one example, or several where it is a text that is longer than the model takes. Examples are numbered in the
order of their rows, so that their numbers do not depend on the number of shards.

A shard reads its splits itself and holds them in memory, or takes its rows out of blocks of a stream (`data.memory`)
and holds them on disk. Either way it gives the same examples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.anonymous import MemoryUse
from pipelines.data.examples import Encoded
from pipelines.data.holding import Encode, OnDisk, RowFile, holding_of
from pipelines.data.order import Where, pieces_of
from pipelines.data.pack import Ints, Packed, pack
from pipelines.data.read import read_split, sources
from pipelines.data.replay import with_replayed
from pipelines.data.row_bytes import from_bytes
from pipelines.data.stream import fault_of
from pipelines.errors import UserError
from pipelines.tasks.task import Task
from pipelines.tasks.teacher import Spread
from pipelines.tasks.writing import Asked, WritingTask

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What a split looks like: the whole of it, or (of a stream) the rows that one shard took."""

    num_rows: int
    num_repaired: int
    labels: frozenset[str]
    counts: Mapping[str, int]
    """Of all rows; see `Task.facts`."""


@dataclass(slots=True)
class _Seen:
    """What is known of a split so far."""

    num_rows: int = 0
    num_repaired: int = 0
    labels: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def summary(self) -> SplitSummary:
        return SplitSummary(self.num_rows, self.num_repaired, frozenset(self.labels), dict(self.counts))


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the driver must know of a split's examples to plan an epoch."""

    lengths: list[int]
    """Sub-words of each example."""
    num_targets: list[int]
    num_cut: int
    num_unseen: int
    num_in_pieces: int
    """Rows that are longer than the model takes, and make several examples."""


@dataclass(frozen=True, slots=True)
class OwnLengths:
    """The same of one shard's examples, on its way to the driver."""

    lengths: Ints
    num_targets: Ints
    num_cut: int
    num_unseen: int
    pieces: Ints
    """How many examples each row makes; the shard's row `r` is row `r * num_shards + shard` of the split."""


class DataShard:
    """Holds rows `shard`, `shard + num_shards`, ... of each split."""

    def __init__(self, data: DataConfig, task: Task, *, shard: int, num_shards: int) -> None:
        self._data, self._task, self._shard, self._num_shards = data, task, shard, num_shards
        self._holding = holding_of(data, f"Data shard {shard}")
        self._rows: dict[str, Sequence[Any]] = {}
        self._encoded: dict[str, Sequence[Encoded]] = {}
        self._row_of: dict[str, Ints] = {}
        """Of each example."""
        self._taken: dict[str, int] = {}
        """Rows of the whole split in all blocks so far."""
        self._seen: dict[str, _Seen] = {}

    @property
    def use(self) -> MemoryUse:
        """What memory it took so far."""
        return self._holding.use

    def load(self) -> dict[str, SplitSummary]:
        """Read every split that the config names and keep this shard's rows; the summaries are of whole splits.

        Raises:
            UserError: a split, or a set to replay, that cannot be read; see pipelines/data/read.py.
        """
        self._holding.memory.begin()
        summaries = {}
        for split, source in sources(self._data).items():
            table = read_split(source, split=split, data=self._data, kind=self._task.kind)
            if split == "train":
                table = with_replayed(table, self._data, self._task.kind)
            counts = Counter[str]()
            for row in table.rows:
                counts.update(self._task.count(row))
            summaries[split] = SplitSummary(len(table.rows), table.num_repaired, table.labels, dict(counts))
            self._rows[split] = table.rows[self._shard :: self._num_shards]
            self._holding.memory.look("to read its rows")
        return summaries

    def take(self, split: str, block: pyarrow.Table) -> None:
        """Keep this shard's rows of the next block of a split; see pipelines/data/stream.py. Every block comes once.

        Raises:
            UserError: the block holds a fault, or there is no room.
        """
        assert isinstance(self._holding, OnDisk)
        self._holding.memory.begin()
        if split not in self._rows:
            self._rows[split], self._seen[split], self._taken[split] = self._holding.rows(), _Seen(), 0
        rows, seen, kind = self._rows[split], self._seen[split], self._task.kind
        assert isinstance(rows, RowFile)
        first = (self._shard - self._taken[split]) % self._num_shards
        fault = fault_of(block)
        for at in range(first, block.num_rows - (fault is not None), self._num_shards):
            raw = block["row"][at].as_py()
            rows.append(raw)
            row = from_bytes(raw)
            seen.num_rows += 1
            seen.num_repaired += block["repaired"][at].as_py()
            seen.labels.update(kind.labels_of(row))
            seen.counts.update(self._task.count(row))
        if fault is not None:
            raise UserError(fault)
        self._taken[split] += block.num_rows
        self._holding.memory.look("to take its rows")

    def taken(self) -> dict[str, SplitSummary]:
        """Of all rows that this shard took, when there are no more blocks."""
        return {split: seen.summary for split, seen in self._seen.items()}

    def encode(
        self, source: str, labels: Sequence[str], max_length: int, spread: Spread | None = None
    ) -> dict[str, OwnLengths]:
        """Encode this shard's rows for the model of `source`; the returned numbers are all that the driver learns.

        Args:
            spread: has a teacher computed elsewhere meanwhile.

        Raises:
            UserError: a row that the model cannot take, or no room.
        """
        with self._holding.memory.aside():
            self._processor, self._max_length = self._task.load_processor(source), max_length
        encode = partial(self._task.encode, processor=self._processor, labels=labels, max_length=max_length)
        found = {}
        for split, rows in self._rows.items():
            taught: Encode = partial(self._taught, encode, labels, max_length, spread) if split == "train" else encode
            examples = self._encoded[split] = self._holding.encoded(rows, taught)
            found[split] = own = _own_lengths(examples)
            self._row_of[split] = np.repeat(np.arange(len(own.pieces), dtype=np.int32), own.pieces)
            self._holding.memory.look("to number its examples")
        return found

    def _taught(
        self,
        encode: Encode,
        labels: Sequence[str],
        max_length: int,
        spread: Spread | None,
        rows: Sequence[Any],
    ) -> list[Encoded]:
        """Rows to learn from, with what a teacher says of them if there is one."""
        return list(self._task.taught(rows, encode(rows), labels, max_length, spread))

    def class_counts(self, split: str) -> Counter[int]:
        """How many targets of this shard's rows are of each class."""
        counts = Counter[int]()
        for example in self._encoded[split]:
            counts.update(example.classes.tolist())
        return counts

    def target_weights(self, split: str, weights: Sequence[float]) -> list[float]:
        """What the targets of each of this shard's examples weigh together, with `weights` by class."""
        # Rounded once for each and never for a shard: the step's sum does not depend on who holds a row.
        rows = self._encoded[split]
        return [math.fsum(weights[label] for label in row.classes.tolist()) for row in rows]

    def micro_batches(
        self, split: str, wanted: Sequence[Sequence[Where]], written: Mapping[int, Sequence[int]] | None = None
    ) -> list[Packed]:
        """For each micro-batch this shard's examples with their places in it.

        Args:
            written: of texts that are being written, what there is so far of each of this shard's examples.
        """
        examples = self._encoded[split]

        def example(one: Where) -> Encoded:
            if written is not None:
                assert isinstance(self._task, WritingTask)
                return self._task.resumed(examples[one.own], written[one.own])
            if one.epoch is not None:
                return self._task.drawn(examples[one.own], self._processor, one.epoch)
            return examples[one.own]

        packed = [pack([example(one) for one in mine], *_places(mine)) for mine in wanted]
        self._holding.memory.look("to hand out micro-batches")
        return packed

    def asked(self, split: str, first: int, end: int) -> list[Asked | None]:
        """For each example of a part what is to be written; fewer where the shard's examples end."""
        assert isinstance(self._task, WritingTask)
        asked = [self._task.asked(row, one, self._max_length) for row, one in self._pairs(split, first, end)]
        self._holding.memory.look("to say what is to be written")
        return asked

    def gold(self, split: str, first: int, end: int) -> list[Any]:
        """For each example of a part what its answer is compared with; fewer where the shard's examples end."""
        gold = [self._task.gold(row, one) for row, one in self._pairs(split, first, end)]
        self._holding.memory.look("to give true answers")
        return gold

    def _pairs(self, split: str, first: int, end: int) -> list[tuple[Any, Encoded]]:
        """Examples, each with the row that it is of."""
        numbers = self._row_of[split][first:end].tolist()
        if not numbers:
            return []
        rows = self._rows[split][numbers[0] : numbers[-1] + 1]
        return [(rows[n - numbers[0]], one) for n, one in zip(numbers, self._encoded[split][first:end], strict=True)]


def _places(mine: Sequence[Where]) -> tuple[list[int], list[int] | None]:
    starts = [one.start for one in mine if one.start is not None]
    return [one.place for one in mine], starts or None


def _own_lengths(examples: Sequence[Encoded]) -> OwnLengths:
    lengths, num_targets, continues = (np.zeros(len(examples), np.int32) for _ in range(3))
    num_cut = num_unseen = 0
    for at, example in enumerate(examples):
        lengths[at], num_targets[at], continues[at] = example.length, example.num_targets, example.continues
        num_cut += example.num_cut
        num_unseen += example.num_unseen
    return OwnLengths(lengths, num_targets, num_cut, num_unseen, pieces_of(continues))


def same_everywhere(summaries: Sequence[Mapping[str, SplitSummary]]) -> Mapping[str, SplitSummary]:
    """The one summary that all shards agree on.

    Raises:
        ValueError: the shards read different data, as when a file differs from node to node.
    """
    first = summaries[0]
    if any(other != first for other in summaries):
        raise ValueError("the data shards read different rows: the files differ between the nodes")
    return first


def all_together(summaries: Iterable[Mapping[str, SplitSummary]]) -> Mapping[str, SplitSummary]:
    """The summaries of whole splits, from those of the rows that each shard took."""
    whole: dict[str, _Seen] = {}
    for summary in summaries:
        for split, part in summary.items():
            seen = whole.setdefault(split, _Seen())
            seen.num_rows += part.num_rows
            seen.num_repaired += part.num_repaired
            seen.labels |= part.labels
            seen.counts.update(part.counts)
    return {split: seen.summary for split, seen in whole.items()}
