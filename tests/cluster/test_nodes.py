"""Stages on several nodes: other connections, the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cluster.driver import Driver, StopRequest
from cluster.ways import Addresses
from pipelines.config import Config
from tests.cluster.rays import Rays
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def two_nodes(rays: Rays) -> None:
    """Two Ray nodes of one CPU each on this machine."""
    rays.several_nodes({"num_cpus": 1}, {"num_cpus": 1})


def run(given: Path, folder: Path, *, stages: int, resume: Path | None = None) -> list[Addresses]:
    """Train for some steps; returns the addresses where the stages listen."""
    settings = Config.model_validate(
        {
            "model": str(given / "model"),
            "data": {"path": str(given / "data"), "shards": 2},
            "train": {"batch_size": 8, "max_steps": 8, "learning_rate": 3e-3},
            # Each stage takes the whole CPU of a node.
            "plan": {"stages": stages, "cpus_per_stage": 1, "timeout": 60},
            "checkpoint": {"every_steps": 4, "resume": "never" if resume is None else str(resume), "keep": 9},
        }
    )
    driver = Driver(settings, folder, Watcher(), may_grow=False, stop=StopRequest())
    try:
        driver.run()
        driver.save_model(folder / "model")
        assert driver._fleet is not None
        return list(driver._fleet._crew._addresses.values())
    finally:
        driver.close()


@pytest.mark.usefixtures("two_nodes")
def test_two_stages_on_two_nodes_train_and_resume_to_the_bits_of_one_stage(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    write_data(tmp_path / "data")
    first, second = run(tmp_path, tmp_path / "two", stages=2)
    assert first.seen_from(second.node).startswith("tcp://")
    assert [address.far for address in run(tmp_path, tmp_path / "one", stages=1)] == [None]
    start = tmp_path / "two" / "checkpoints" / "step-00000004"
    run(tmp_path, tmp_path / "then", stages=2, resume=start)
    one, two, then = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two", "then"))
    assert [name for name, value in one.items() if not torch.equal(two[name], value)] == []
    assert [name for name, value in one.items() if not torch.equal(then[name], value)] == []
