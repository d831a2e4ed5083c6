"""A data shard: every `num_shards`-th row of each split, read, checked and tokenised.

A row makes one example, or several where it is a text that is longer than the model takes. Examples are numbered in the
order of their rows, so that their numbers do not depend on the number of shards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from pipelines.config import DataConfig
from pipelines.data.examples import Encoded
from pipelines.data.pack import Packed, pack
from pipelines.data.read import read_split, sources
from pipelines.data.replay import with_replayed
from pipelines.tasks.task import Task
from pipelines.tasks.writing import Asked, WritingTask

T = TypeVar("T")

Where = tuple[int, int]
"""A place in a micro-batch, and which of the shard's own examples belongs there."""


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
    """What the driver must know of a shard's examples to plan an epoch."""

    lengths: list[int]
    """Sub-words of each example."""
    num_targets: list[int]
    num_cut: int
    num_unseen: int
    pieces: list[int]
    """How many examples each row makes; the shard's row `r` is row `r * num_shards + shard` of the split."""


class DataShard:
    """Holds rows `shard`, `shard + num_shards`, ... of each split."""

    def __init__(self, data: DataConfig, task: Task, *, shard: int, num_shards: int) -> None:
        self._data, self._task, self._shard, self._num_shards = data, task, shard, num_shards
        self._rows: dict[str, list[Any]] = {}
        self._encoded: dict[str, Sequence[Encoded]] = {}

    def load(self) -> dict[str, SplitSummary]:
        """Read every split that the config names and keep this shard's rows.

        Raises:
            UserError: a split, or a set to replay, that cannot be read; see pipelines/data/read.py.
        """
        summaries = {}
        for split, source in sources(self._data).items():
            table = read_split(source, split=split, data=self._data, kind=self._task.kind)
            if split == "train":
                table = with_replayed(table, self._data, self._task.kind)
            self._rows[split] = table.rows[self._shard :: self._num_shards]
            summaries[split] = SplitSummary(
                len(table.rows), table.num_repaired, table.labels, self._task.facts(table.rows)
            )
        return summaries

    def encode(self, source: str, labels: Sequence[str], max_length: int) -> dict[str, Lengths]:
        """Encode this shard's rows for the model of `source`; the returned numbers are all that the driver learns."""
        processor, self._max_length = self._task.load_processor(source), max_length
        for split, rows in self._rows.items():
            examples = self._task.encode(rows, processor, labels, max_length)
            taught = split == "train"
            self._encoded[split] = self._task.taught(rows, examples, labels, max_length) if taught else examples
        return {
            split: Lengths(
                [row.length for row in rows],
                [row.num_targets for row in rows],
                sum(row.num_cut for row in rows),
                sum(row.num_unseen for row in rows),
                pieces_of(rows),
            )
            for split, rows in self._encoded.items()
        }

    def class_counts(self, split: str) -> Counter[int]:
        """How many targets of this shard's rows are of each class."""
        return Counter(label for row in self._encoded[split] for label in row.classes.tolist())

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

        def example(at: int) -> Encoded:
            if written is None:
                return examples[at]
            assert isinstance(self._task, WritingTask)
            return self._task.resumed(examples[at], written[at])

        return [pack([example(at) for _, at in mine], [place for place, _ in mine]) for mine in wanted]

    def asked(self, split: str) -> list[Asked | None]:
        """For each example what is to be written."""
        assert isinstance(self._task, WritingTask)
        examples = self._encoded[split]
        rows = self._rows_of(split)
        return [self._task.asked(row, one, self._max_length) for row, one in zip(rows, examples, strict=True)]

    def gold(self, split: str) -> list[Any]:
        """For each example what its answer is compared with."""
        pairs = zip(self._rows_of(split), self._encoded[split], strict=True)
        return [self._task.gold(row, encoded) for row, encoded in pairs]

    def _rows_of(self, split: str) -> list[Any]:
        """For each example the row that it is of."""
        counted = zip(self._rows[split], pieces_of(self._encoded[split]), strict=True)
        return [row for row, n in counted for _ in range(n)]


def pieces_of(examples: Sequence[Encoded]) -> list[int]:
    """How many examples each row makes."""
    firsts = [at for at, example in enumerate(examples) if not example.continues]
    return [after - first for first, after in pairwise([*firsts, len(examples)])]


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

    def deal(self, micro_batches: Sequence[Sequence[int]]) -> list[list[list[Where]]]:
        """For each shard what it holds of each micro-batch (numbers of examples)."""
        dealt: list[list[list[Where]]] = [[[] for _ in micro_batches] for _ in range(self._num_shards)]
        for i, numbers in enumerate(micro_batches):
            for place, n in enumerate(numbers):
                s, at = self._at[n]
                dealt[s][i].append((place, at))
        return dealt


def same_everywhere(summaries: Sequence[Mapping[str, SplitSummary]]) -> Mapping[str, SplitSummary]:
    """The one summary that all shards agree on.

    Raises:
        ValueError: the shards read different data, as when a file differs from node to node.
    """
    first = summaries[0]
    if any(other != first for other in summaries):
        raise ValueError("the data shards read different rows: the files differ between the nodes")
    return first
