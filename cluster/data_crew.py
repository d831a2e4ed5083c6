"""The data shards of one run: made together, asked together, ended together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from cluster.data_actor import DataShardActor
from cluster.data_stream import stream
from cluster.roll_call import Lost, lost_of
from cluster.waiting import wait_for
from pipelines.config import DataConfig
from pipelines.data.anonymous import MemoryUse
from pipelines.data.batches import MicroBatch
from pipelines.data.order import Order
from pipelines.data.shard import Lengths, SplitSummary, all_together, same_everywhere
from pipelines.data.sources import sources
from pipelines.tasks.task import Task
from pipelines.tasks.writing import Asked

Refs = Sequence["ray.ObjectRef[Any]"]

PART = 1024
"""Examples of a shard of which things are asked at once."""


class DataCrew:
    """The data shards. They take no CPU of the plan's: between steps they only hand out rows."""

    def __init__(self, data: DataConfig, task: Task, *, timeout: float) -> None:
        self._config, self._task, self._timeout = data, task, timeout
        self._begin()

    def _begin(self) -> None:
        self._shards = [self._make(s) for s in range(self._config.shards)]
        self._encoding: tuple[Any, ...] | None = None
        """What `encode` was asked to do."""
        self._orders: dict[str, Order] = {}
        self._waiting: set[int] = set()
        """Shards that have not all of their rows of the stream yet."""

    def _make(self, shard: int) -> Any:
        make = DataShardActor.options(num_cpus=0)
        return make.remote(self._config, self._task, shard=shard, num_shards=self._config.shards)

    def renew(self) -> None:
        """Begin with new ones that know nothing yet."""
        self.close()
        self._begin()

    def replace_lost(self, seconds: float) -> list[Lost]:
        """Put new ones in the place of those that are dead or do not answer in so many seconds; returns who they were.

        They read and tokenise their part of the data again, which takes them as long as it did.

        Raises:
            ActorLost, TimeoutError: while a stream is read again; it begins anew with the next call.
        """
        lost = lost_of(self._shards, seconds)
        # One that was being given its rows when another was lost has some of them, and gets them all again.
        again = sorted(self._waiting.union(lost))
        for s in again:
            ray.kill(self._shards[s])
            self._shards[s] = self._make(s)
            if self._config.memory is None:
                self._shards[s].load.remote()
        if again and self._config.memory is not None:
            self._deal(again)
        if self._encoding is not None:
            for s in again:
                self._shards[s].encode.remote(*self._encoding)
        return [Lost(f"data shard {s}") for s in lost]

    def load(self) -> Mapping[str, SplitSummary]:
        """Read all splits; the summaries are of whole splits."""
        if self._config.memory is None:
            return same_everywhere(self._all("load", to="read its data"))
        self._deal(range(len(self._shards)))
        return all_together(self._all("taken", to="say what it took"))

    def _deal(self, shards: Sequence[int]) -> None:
        """Read all splits as a stream, and let these shards take their rows of it."""
        self._waiting = set(shards)
        for split, source in sources(self._config).items():
            taking: dict[str, Any] = {}
            for block in stream(source, split, self._config, self._task.kind, timeout=self._timeout):
                # One block is read while the one before it is taken.
                wait_for(taking, to=f"take its rows of {split}", timeout=self._timeout)
                taking = {f"data shard {s}": self._shards[s].take.remote(split, block) for s in shards}
            wait_for(taking, to=f"take its rows of {split}", timeout=self._timeout)
        self._waiting = set()

    def use(self) -> list[MemoryUse]:
        """The memory that each shard took so far."""
        return self._all("use", to="say what memory it took")

    def encode(self, source: str, labels: Sequence[str], max_length: int) -> dict[str, Lengths]:
        """Encode for the model of `source`; lengths and targets come in the order of the split's examples."""
        self._encoding = source, labels, max_length
        answers = self._all("encode", *self._encoding, to="tokenise its data")
        found = {}
        for split in answers[0]:
            parts = [answer[split] for answer in answers]
            self._orders[split] = order = Order([part.pieces.tolist() for part in parts])
            found[split] = Lengths(
                order.join([part.lengths.tolist() for part in parts]),
                order.join([part.num_targets.tolist() for part in parts]),
                sum(part.num_cut for part in parts),
                sum(part.num_unseen for part in parts),
                sum(int((part.pieces > 1).sum()) for part in parts),
            )
        return found

    def class_counts(self, split: str, num_classes: int) -> list[int]:
        """How many targets of a split are of each class."""
        total = sum(self._all("class_counts", split, to=f"count the classes of {split}"), Counter[int]())
        return [total[number] for number in range(num_classes)]

    def target_weights(self, split: str, weights: Sequence[float]) -> list[float]:
        """What the targets of each example weigh together, in the order of the split's examples."""
        return self._orders[split].join(self._all("target_weights", split, weights, to=f"weigh the targets of {split}"))

    def gold(self, split: str) -> list[Any]:
        """For each example of a split what its answer is compared with."""
        return self._orders[split].join(self._in_parts("gold", split, to=f"give the true answers of {split}"))

    def asked(self, split: str) -> dict[int, Asked]:
        """What is to be written, by the number of the example."""
        found = self._orders[split].join(self._in_parts("asked", split, to=f"say what is to be written for {split}"))
        return {row: one for row, one in enumerate(found) if one is not None}

    def hand_out(
        self,
        split: str,
        micro_batches: Sequence[MicroBatch],
        written: Mapping[int, Sequence[int]] | None = None,
    ) -> Refs:
        """What each shard holds of these micro-batches; goes to the stages without passing through here.

        Args:
            written: of texts that are being written, what there is so far, by the number of the example.
        """
        order = self._orders[split]
        calls = zip(self._shards, order.deal(micro_batches), strict=True)
        if written is None:
            return [shard.micro_batches.remote(split, own) for shard, own in calls]
        parts = order.own({row: written[row] for one in micro_batches for row in one.rows})
        return [shard.micro_batches.remote(split, own, part) for (shard, own), part in zip(calls, parts, strict=True)]

    def close(self) -> None:
        for shard in self._shards:
            ray.kill(shard)

    def _in_parts(self, method: str, split: str, *, to: str) -> list[list[Any]]:
        """What each shard has of each of its examples, of which none has to have all at once."""
        found: list[list[Any]] = [[] for _ in self._shards]
        for first in range(0, max(self._orders[split].sizes), PART):
            for own, more in zip(found, self._all(method, split, first, first + PART, to=to), strict=True):
                own += more
        return found

    def _all(self, method: str, *args: Any, to: str) -> list[Any]:
        calls = {f"data shard {s}": getattr(shard, method).remote(*args) for s, shard in enumerate(self._shards)}
        return wait_for(calls, to=to, timeout=self._timeout)
