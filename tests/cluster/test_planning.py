"""A run whose config leaves to the planner how many micro-batches there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.driver import Stopped, StopRequest
from pipelines.config import Config
from pipelines.report.observer import StepNumbers
from pipelines.train.checkpoint import open_checkpoint
from tests.cluster.test_training import run
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]


def config(folder: Path, *, stages: int | str = "auto", resume: Path | None = None) -> Config:
    return Config.model_validate(
        {
            "model": str(folder / "model"),
            "data": {"path": str(folder / "data"), "shards": 1},
            "train": {"batch_size": 8, "max_steps": 8, "micro_batches": "auto", "recompute": "auto"},
            "plan": {"stages": stages, "devices": "cpu", "timeout": 120},
            "checkpoint": {"resume": "never" if resume is None else str(resume)},
        }
    )


def forwards(numbers: StepNumbers) -> set[int | None]:
    """The micro-batches of a step."""
    return {event.micro_batch for event in numbers.reports[0].events if event.kind == "forward"}


def test_a_run_has_the_number_of_micro_batches_that_was_planned_and_so_has_one_that_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTLEY_CACHE", str(tmp_path / "cache"))
    write_model(tmp_path / "model", layers=2)
    write_data(tmp_path / "data")
    stop = StopRequest()
    first = Watcher(after={2: lambda: setattr(stop, "signal", 15)})
    with pytest.raises(Stopped) as stopped:
        run(config(tmp_path), tmp_path / "first", first, stop)
    assert first.beginning is not None
    planned, train = first.beginning.plan, first.beginning.config.train
    number = planned["micro_batches"]
    assert number in {1, 2, 4, 8}
    assert planned["left_open"][0].startswith(f"{number} micro-batch")
    assert planned["recompute"] is False
    assert (train.micro_batches, train.recompute) == (number, False)
    assert all(len(forwards(numbers)) == number for numbers in first.steps)
    assert open_checkpoint(str(stopped.value.checkpoint)).facts["train"]["micro_batches"] == number
    second = run(config(tmp_path, stages=1, resume=stopped.value.checkpoint), tmp_path / "second")
    assert second.steps[-1].step == 8
    assert second.beginning is not None
    assert second.beginning.config.train == train
