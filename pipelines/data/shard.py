"""A data shard: every `num_shards`-th row of each split, read, checked and tokenised."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipelines.config import DataConfig
from pipelines.data.examples import Encoded, TaggedSentence
from pipelines.data.pack import IGNORE, Packed, pack
from pipelines.data.read import read_split, sources
from pipelines.model.load import load_tokenizer
from pipelines.tasks.task import Task

T = TypeVar("T")
MARKS = frozenset(",;:!?")


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What the whole split (not only this shard's part) looks like."""

    num_rows: int
    num_repaired: int
    labels: frozenset[str]
    punctuation: str
    """`attached` to its word or `separate`, as most of the rows have it."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the driver must know of a shard's examples to plan an epoch; row `r` is number `r * num_shards + shard`."""

    lengths: list[int]
    """Sub-words of each row."""
    num_targets: list[int]
    num_words_cut: int
    num_words_unseen: int


class DataShard:
    """Holds rows `shard`, `shard + num_shards`, ... of each split."""

    def __init__(self, data: DataConfig, *, shard: int, num_shards: int) -> None:
        self._data, self._shard, self._num_shards = data, shard, num_shards
        self._rows: dict[str, list[TaggedSentence]] = {}
        self._encoded: dict[str, list[Encoded]] = {}

    def load(self) -> dict[str, SplitSummary]:
        """Read every split that the config names and keep this shard's rows.

        Raises:
            UserError: a split that cannot be read; see pipelines/data/read.py.
        """
        summaries = {}
        for split, source in sources(self._data).items():
            table = read_split(source, split=split, data=self._data)
            self._rows[split] = table.rows[self._shard :: self._num_shards]
            summaries[split] = SplitSummary(len(table.rows), table.num_repaired, table.labels, _punctuation(table.rows))
        return summaries

    def encode(self, task: Task, tokenizer_source: str, labels: Sequence[str], max_length: int) -> dict[str, Lengths]:
        """Tokenise this shard's rows; the returned numbers are all that the driver learns of them."""
        tokenizer = load_tokenizer(tokenizer_source)
        for split, rows in self._rows.items():
            self._encoded[split] = task.encode(rows, tokenizer, labels, max_length)
        return {
            split: Lengths(
                [row.length for row in rows],
                [row.num_targets for row in rows],
                sum(row.num_words_cut for row in rows),
                sum(row.num_words_unseen for row in rows),
            )
            for split, rows in self._encoded.items()
        }

    def class_counts(self, split: str) -> Counter[int]:
        """How many targets of this shard's rows are of each class."""
        return Counter(label for row in self._encoded[split] for label in row.labels if label != IGNORE)

    def target_weights(self, split: str, weights: Sequence[float]) -> list[float]:
        """What the targets of each of this shard's rows weigh together, with `weights` by class."""
        # Rounded once for a row and never for a shard: the step's sum does not depend on who holds a row.
        rows = self._encoded[split]
        return [math.fsum(weights[label] for label in row.labels if label != IGNORE) for row in rows]

    def micro_batches(self, split: str, wanted: Sequence[Sequence[int]]) -> list[Packed]:
        """For each micro-batch (row numbers of the whole split), this shard's rows with their places in it."""
        rows = self._encoded[split]
        packed = []
        for numbers in wanted:
            mine = [(place, n // self._num_shards) for place, n in enumerate(numbers) if self._is_mine(n)]
            packed.append(pack([rows[at] for _, at in mine], [place for place, _ in mine]))
        return packed

    def gold(self, split: str) -> list[tuple[tuple[str, ...], list[int]]]:
        """For each row its true tags, and which words the model gives an answer for."""
        pairs = zip(self._rows[split], self._encoded[split], strict=True)
        return [(row.tags, encoded.words) for row, encoded in pairs]

    def _is_mine(self, number: int) -> bool:
        return number % self._num_shards == self._shard


def _punctuation(rows: Sequence[TaggedSentence]) -> str:
    words = [word for row in rows for word in row.words]
    alone = sum(word in MARKS for word in words)
    attached = sum(len(word) > 1 and word[-1] in MARKS for word in words)
    return "attached" if attached > alone else "separate"


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
