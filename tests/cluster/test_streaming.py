"""A data set that is read as a stream by Ray Data trains to the bits of one that is held in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.data_crew import DataCrew
from pipelines.config import DataConfig
from pipelines.data.stream import MOST_ROWS
from pipelines.errors import UserError
from pipelines.tasks import make_task
from tests.cluster.faults import Faults, data_shard
from tests.cluster.test_training import assert_bitwise_equal, config, run
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]
LIMIT = "64MB"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


def test_a_stream_with_a_lost_data_shard_trains_to_the_bits_of_a_run_in_memory(
    given: dict[str, str], tmp_path: Path
) -> None:
    plain = run(config(given, data={"shards": 2}), tmp_path / "memory")
    bounded = config(given, data={"shards": 2, "memory": LIMIT, "scratch": str(tmp_path)})
    watcher = Faults().kill(data_shard(1), after=7).run(bounded, tmp_path / "stream")
    assert [recovery.lost for recovery in watcher.recoveries] == [["data shard 1"]]
    assert [numbers.loss for numbers in watcher.steps] == [numbers.loss for numbers in plain.steps]
    assert plain.beginning is not None
    assert watcher.beginning is not None
    assert watcher.beginning.data == plain.beginning.data
    for split in ("dev", "test"):
        scores = [[report.to_json() for _, _, report in some.reports[split]] for some in (watcher, plain)]
        assert scores[0] == scores[1]
    assert_bitwise_equal(tmp_path / "memory", tmp_path / "stream")


def test_a_shard_of_a_stream_says_what_memory_it_took_and_what_it_holds_on_disk(
    given: dict[str, str], tmp_path: Path
) -> None:
    settings = DataConfig.model_validate(
        {"path": given["data"], "shards": 2, "memory": LIMIT, "scratch": str(tmp_path)}
    )
    crew = DataCrew(settings, make_task("token-classification"), timeout=60)
    try:
        crew.load()
        crew.encode(given["model"], ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"], 64)
        for use in crew.use():
            assert use.limit == 64_000_000
            assert use.on_disk > 1000
            assert use.peak is not None
            assert use.peak < use.limit
    finally:
        crew.close()


def test_a_row_that_cannot_be_read_ends_a_stream_with_file_and_line(tmp_path: Path) -> None:
    lines = [f"word{n}\tO\n" for n in range(MOST_ROWS + 100)]
    lines[-5] = "word\n"
    (tmp_path / "train.conll").write_text("\n".join(lines), encoding="utf-8")
    settings = DataConfig.model_validate({"path": str(tmp_path), "memory": LIMIT, "scratch": str(tmp_path)})
    crew = DataCrew(settings, make_task("token-classification"), timeout=60)
    try:
        with pytest.raises(UserError, match=rf"train\.conll, line {2 * (MOST_ROWS + 95) + 1}: the word 'word' has no"):
            crew.load()
    finally:
        crew.close()
