"""What the driver asks data shards of their targets."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipelines.config import DataConfig
from pipelines.data.batches import MicroBatch
from pipelines.data.order import Order, Where
from pipelines.data.shard import DataShard
from pipelines.tasks import make_task
from tests.tiny import write_model

LABELS = ["O", "B-PER", "I-PER"]
TRAIN = "Ann\tB-PER\nleft\tO\n\nBob\tB-PER\nLee\tI-PER\n.\tO\n\nit\tO\nrains\tO\n"
WEIGHTS = (0.1, 2.0, 0.7)


@pytest.fixture(params=[1, 2, 3])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> list[DataShard]:
    (tmp_path / "train.conll").write_text(TRAIN, encoding="utf-8")
    source = str(write_model(tmp_path / "model", layers=1))
    made, task = [], make_task("token-classification")
    for shard in range(request.param):
        made.append(DataShard(DataConfig(path=str(tmp_path)), task, shard=shard, num_shards=request.param))
        made[-1].load()
        made[-1].encode(source, LABELS, 64)
    return made


def test_every_target_of_every_shard_is_counted_by_its_class(shards: list[DataShard]) -> None:
    counts = [shard.class_counts("train") for shard in shards]
    assert [sum(count[label] for count in counts) for label in range(3)] == [4, 2, 1]


def test_a_row_weighs_what_its_targets_weigh_whichever_shard_holds_it(shards: list[DataShard]) -> None:
    order = Order([[1] * (3 // len(shards) + (s < 3 % len(shards))) for s in range(len(shards))])
    weights = order.join([shard.target_weights("train", WEIGHTS) for shard in shards])
    assert weights == [math.fsum([2.0, 0.1]), math.fsum([2.0, 0.7, 0.1]), 0.2]


def test_examples_are_numbered_in_the_order_of_the_rows_whichever_shard_holds_them() -> None:
    # Rows a (one example), b (three), c (one), d (two).
    whole = ["a", "b1", "b2", "b3", "c", "d1", "d2"]
    assert Order([[1, 3, 1, 2]]).join([whole]) == whole
    order = Order([[1, 1], [3, 2]])
    assert order.join([["a", "c"], ["b1", "b2", "b3", "d1", "d2"]]) == whole
    dealt = order.deal([MicroBatch((6, 0), 9), MicroBatch((2, 3), 9, epoch=4)])
    assert dealt == [[[Where(1, 0)], []], [[Where(0, 4)], [Where(0, 1, None, 4), Where(1, 2, None, 4)]]]
