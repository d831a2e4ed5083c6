"""Plain data parallel by Ray Train: what it learns is what a pipeline learns, and what it loses is found again."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from cluster.data_parallel import DataParallel
from cluster.driver import Driver, Stopped, StopRequest
from pipelines.config import Config
from pipelines.train.checkpoint import saved
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


def config(given: dict[str, str], plan: dict[str, Any], **checkpoint: Any) -> Config:
    return Config.model_validate(
        {
            "model": {"source": given["model"], "dtype": "float64"},
            "data": {"path": given["data"], "shards": 1},
            # Seven rows a batch leave one of six rows at the end of an epoch; three pieces for two workers.
            "train": {"batch_size": 7, "micro_batches": 3, "epochs": 2, "learning_rate": 3e-3},
            "plan": {"cpus_per_stage": 0.5, "timeout": 100} | plan,
            "checkpoint": checkpoint,
        }
    )


def run(
    kind: type[Driver] | type[DataParallel], settings: Config, folder: Path, watcher: Watcher, stop: StopRequest
) -> Watcher:
    driver = kind(settings, folder, watcher, may_grow=False, stop=stop)
    try:
        driver.run()
        driver.save_model(folder / "model")
    finally:
        driver.close()
    return watcher


def test_stopped_resumed_and_with_a_lost_worker_two_workers_learn_what_one_stage_learns(
    given: dict[str, str], tmp_path: Path
) -> None:
    whole = run(Driver, config(given, {"stages": 1}), tmp_path / "one", Watcher(), StopRequest())
    data = {"strategy": "data", "workers": 2}

    stop, first = StopRequest(), tmp_path / "first"
    stopping = Watcher({3: lambda: setattr(stop, "signal", 15)})
    with pytest.raises(Stopped) as stopped:
        run(DataParallel, config(given, data), first, stopping, stop)
    at = stopping.steps[-1].step
    assert 3 <= at < whole.steps[-1].step
    assert stopped.value.checkpoint == first / "checkpoints" / f"step-{at:08d}"
    assert stopping.beginning is not None
    assert [stage["assigned"] for stage in stopping.beginning.plan["stages"]] == ["CPU, 1 thread"] * 2

    killed: list[int] = []

    def kill() -> None:
        if not killed:
            killed.append(_worker())
            os.kill(killed[0], signal.SIGKILL)

    then = tmp_path / "then"
    going_on = Watcher({at + 2: kill})
    run(DataParallel, config(given, data, resume=str(first), every_steps=2), then, going_on, StopRequest())
    assert len(killed) == 1
    goes_on, again = going_on.notes
    assert goes_on == f"Going on from step {at}: {stopped.value.checkpoint}"
    assert "started again (2 of them)" in again
    assert [numbers.step for numbers in going_on.steps] == list(range(at + 1, whole.steps[-1].step + 1))
    assert going_on.scores == [score for score in whole.scores if score[2] > at]
    assert sorted(path.name for path in (then / "checkpoints").iterdir()) == [path.name for path in saved(then)]

    losses = [numbers.loss for numbers in [*stopping.steps, *going_on.steps]]
    assert losses == pytest.approx([numbers.loss for numbers in whole.steps], rel=1e-10)
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (tmp_path / "one", then))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert value.dtype == torch.float64
        assert ((two[name] - value).abs().max() / value.abs().max().clamp(min=1e-3)).item() <= 1e-10, name


def _worker() -> int:
    """The process of some worker that trains, among those that this one started."""
    started = psutil.Process().children(recursive=True)
    return next(process.pid for process in started if "RayTrainWorker" in " ".join(process.cmdline()))
