"""A thin shell round a data shard: what Ray places and calls."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
import torch

from pipelines.config import DataConfig
from pipelines.data.anonymous import MemoryUse
from pipelines.data.order import Where
from pipelines.data.pack import Packed
from pipelines.data.shard import DataShard, OwnLengths, SplitSummary
from pipelines.tasks.task import Task
from pipelines.tasks.teacher import Spread
from pipelines.tasks.writing import Asked

if TYPE_CHECKING:
    import pyarrow


class DataShell:
    """Holds one data shard."""

    def __init__(self, data: DataConfig, task: Task, *, shard: int, num_shards: int) -> None:
        torch.set_num_threads(1)
        if data.memory is not None:
            # Each of a tokenizer's threads, of which there are as many as cores, keeps memory of its own.
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
        self._shard = DataShard(data, task, shard=shard, num_shards=num_shards)
        self._spread: Spread | None = None
        if (distil := task.settings.distil) is not None and distil.plan is not None:
            # Imported here: few runs have a teacher on devices of its own.
            from cluster.cut_model import cut

            self._spread = partial(cut, plan=distil.plan)

    def ping(self) -> int:
        """Answers when all calls before are done, with the number of the process."""
        return os.getpid()

    def load(self) -> dict[str, SplitSummary]:
        return self._shard.load()

    def take(self, split: str, block: pyarrow.Table) -> None:
        self._shard.take(split, block)

    def taken(self) -> dict[str, SplitSummary]:
        return self._shard.taken()

    def use(self) -> MemoryUse:
        return self._shard.use

    def encode(self, source: str, labels: Sequence[str], max_length: int) -> dict[str, OwnLengths]:
        return self._shard.encode(source, labels, max_length, self._spread)

    def class_counts(self, split: str) -> Counter[int]:
        return self._shard.class_counts(split)

    def target_weights(self, split: str, weights: Sequence[float]) -> list[float]:
        return self._shard.target_weights(split, weights)

    def micro_batches(
        self, split: str, wanted: Sequence[Sequence[Where]], written: Mapping[int, Sequence[int]] | None = None
    ) -> list[Packed]:
        return self._shard.micro_batches(split, wanted, written)

    def asked(self, split: str, first: int, end: int) -> list[Asked | None]:
        return self._shard.asked(split, first, end)

    def gold(self, split: str, first: int, end: int) -> list[Any]:
        return self._shard.gold(split, first, end)


# Any: which options and methods a remote class has is known to Ray, not to the type checker.
DataShardActor: Any = ray.remote(DataShell)
