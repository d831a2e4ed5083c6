"""Rows of earlier sets among those of train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.config import DataConfig
from pipelines.continual_settings import ReplayConfig
from pipelines.data.examples import Table
from pipelines.data.labelled import ONE_LABEL
from pipelines.data.read import read_split
from pipelines.data.replay import sample, with_replayed
from pipelines.data.shard import DataShard
from pipelines.errors import UserError
from pipelines.tasks import make_task


def write_set(folder: Path, label: str, count: int) -> Path:
    folder.mkdir()
    rows = [json.dumps({"text": f"{label} {n}", "label": label}) for n in range(count)]
    (folder / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    first, second = write_set(tmp_path / "first", "a", 10), write_set(tmp_path / "second", "b", 2)
    third = write_set(tmp_path / "third", "c", 4)
    return DataConfig(path=str(third), replay=ReplayConfig(sets=(str(first), str(second / "train.jsonl")), kept=3))


def train_of(data: DataConfig) -> Table:
    table = read_split(str(Path(data.path or "") / "train.jsonl"), split="train", data=data, kind=ONE_LABEL)
    return with_replayed(table, data, ONE_LABEL)


def test_so_many_rows_are_kept_of_each_set_and_all_where_there_are_no_more(data: DataConfig) -> None:
    table = train_of(data)
    assert [row.labels[0] for row in table.rows] == [*"cccc", *"aaa", *"bb"]
    assert len(set(table.rows)) == 9
    assert table.labels == {"a", "b", "c"}


def test_the_same_rows_are_drawn_again_with_the_same_seed_and_others_with_another(data: DataConfig) -> None:
    assert sample(100, 5, seed=0, k=0) == sample(100, 5, seed=0, k=0) == sorted(sample(100, 5, seed=0, k=0))
    drawn = {tuple(sample(100, 5, seed=seed, k=k)) for seed in (0, 1) for k in (0, 1)}
    assert len(drawn) == 4
    assert sample(3, 5, seed=0, k=0) == [0, 1, 2]
    assert train_of(data).rows == train_of(data).rows


def test_without_replay_train_is_as_it_was(data: DataConfig) -> None:
    alone = data.model_copy(update={"replay": None})
    assert [row.labels[0] for row in train_of(alone).rows] == [*"cccc"]


@pytest.mark.parametrize("num_shards", [1, 2, 3])
def test_shards_hold_every_row_once_whatever_their_number(data: DataConfig, num_shards: int) -> None:
    task = make_task("sequence-classification")
    shards = [DataShard(data, task, shard=s, num_shards=num_shards) for s in range(num_shards)]
    summaries = [shard.load()["train"] for shard in shards]
    assert {summary.num_rows for summary in summaries} == {9}
    held = [row for shard in shards for row in shard._rows["train"]]
    assert sorted(row.text for row in held) == sorted(row.text for row in train_of(data).rows)


def test_a_set_that_is_not_there_is_told(data: DataConfig, tmp_path: Path) -> None:
    gone = ReplayConfig(sets=(str(tmp_path / "gone"),))
    with pytest.raises(UserError, match="gone"):
        train_of(data.model_copy(update={"replay": gone}))
