"""The data shards of one run: made together, asked together, ended together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from cluster.data_actor import DataShardActor
from cluster.roll_call import Lost, lost_of
from cluster.waiting import wait_for
from pipelines.config import DataConfig
from pipelines.data.batches import MicroBatch
from pipelines.data.shard import Lengths, SplitSummary, interleave, same_everywhere

Refs = Sequence["ray.ObjectRef[Any]"]


class DataCrew:
    """The data shards. They take no CPU of the plan's: between steps they only hand out rows."""

    def __init__(self, data: DataConfig, task: str, *, timeout: float) -> None:
        self._config, self._task, self._timeout = data, task, timeout
        self._shards = [self._make(s) for s in range(data.shards)]
        self._encoding: tuple[Any, ...] | None = None
        """What `encode` was asked to do."""

    def _make(self, shard: int) -> Any:
        make = DataShardActor.options(num_cpus=0)
        return make.remote(self._config, self._task, shard=shard, num_shards=self._config.shards)

    def replace_lost(self, seconds: float) -> list[Lost]:
        """Put new ones in the place of those that are dead or do not answer in so many seconds; returns who they were.

        They read and tokenise their part of the data again, which takes them as long as it did.
        """
        lost = lost_of(self._shards, seconds)
        for s in lost:
            self._shards[s] = shard = self._make(s)
            shard.load.remote()
            if self._encoding is not None:
                shard.encode.remote(*self._encoding)
        return [Lost(f"data shard {s}") for s in lost]

    def load(self) -> Mapping[str, SplitSummary]:
        """Read all splits; the summaries are of whole splits."""
        return same_everywhere(self._all("load", to="read its data"))

    def encode(self, source: str, labels: Sequence[str], max_length: int) -> dict[str, Lengths]:
        """Encode for the model of `source`; lengths and targets come in the order of the split's rows."""
        self._encoding = source, labels, max_length
        answers = self._all("encode", *self._encoding, to="tokenise its data")
        return {
            split: Lengths(
                interleave([answer[split].lengths for answer in answers]),
                interleave([answer[split].num_targets for answer in answers]),
                sum(answer[split].num_cut for answer in answers),
                sum(answer[split].num_unseen for answer in answers),
            )
            for split in answers[0]
        }

    def class_counts(self, split: str, num_classes: int) -> list[int]:
        """How many targets of a split are of each class."""
        total = sum(self._all("class_counts", split, to=f"count the classes of {split}"), Counter[int]())
        return [total[number] for number in range(num_classes)]

    def target_weights(self, split: str, weights: Sequence[float]) -> list[float]:
        """What the targets of each row weigh together, in the order of the split's rows."""
        return interleave(self._all("target_weights", split, weights, to=f"weigh the targets of {split}"))

    def gold(self, split: str) -> list[Any]:
        """For each row of a split what its answer is compared with."""
        return interleave(self._all("gold", split, to=f"give the true answers of {split}"))

    def hand_out(self, split: str, micro_batches: Sequence[MicroBatch]) -> Refs:
        """What each shard holds of these micro-batches; goes to the stages without passing through here."""
        wanted = [micro_batch.rows for micro_batch in micro_batches]
        return [shard.micro_batches.remote(split, wanted) for shard in self._shards]

    def close(self) -> None:
        for shard in self._shards:
            ray.kill(shard)

    def _all(self, method: str, *args: Any, to: str) -> list[Any]:
        calls = {f"data shard {s}": getattr(shard, method).remote(*args) for s, shard in enumerate(self._shards)}
        return wait_for(calls, to=to, timeout=self._timeout)
