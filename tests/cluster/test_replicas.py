"""Two replicas with parameter servers on real actors: what one replica learns, to the same bits from run to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from cluster.driver import Driver, StopRequest
from cluster.waiting import ActorLost
from pipelines.config import Config
from pipelines.recovery_settings import RecoveryConfig
from pipelines.train.checkpoint import open_checkpoint
from tests.cluster.test_training import assert_bitwise_equal, config, run, weights
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_session")]

SERVED = {"replicas": 2, "servers": 2, "cpus_per_server": 0.2, "cpus_per_stage": 0.2}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


def replicated(given: dict[str, str], *, resume: Path | None = None, steps: int = 8, **plan: Any) -> Config:
    train = {"micro_batches": 4, "max_steps": steps}
    return config(given, resume=resume, train=train, plan=SERVED | plan, checkpoint={"every_steps": 4, "keep": 9})


@pytest.fixture(scope="module")
def sync(given: dict[str, str], tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> tuple[Path, Watcher]:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("sync")
    return folder, run(replicated(given), folder)


def test_two_replicas_learn_what_one_replica_learns(
    given: dict[str, str], sync: tuple[Path, Watcher], tmp_path: Path
) -> None:
    one = run(config(given, train={"micro_batches": 4, "max_steps": 8}, plan={"stages": 1}), tmp_path)
    assert [n.loss for n in sync[1].steps] == pytest.approx([n.loss for n in one.steps], rel=1e-5)
    assert [n.grad_norm for n in sync[1].steps] == pytest.approx([n.grad_norm for n in one.steps], rel=1e-4)
    first, second = weights(sync[0]), weights(tmp_path)
    assert max((first[name] - second[name]).abs().max().item() for name in second) < 1e-5
    # The scores are those of the newest weights.
    assert [r[2].micro.f1 for r in sync[1].reports["dev"]] == [r[2].micro.f1 for r in one.reports["dev"]]
    assert [n.waves for n in sync[1].steps] == [(1, 1)] * 8
    assert {stale for n in sync[1].steps for stale in n.staleness} == {0}


def test_within_a_bound_of_0_and_from_a_checkpoint_on_another_plan_the_bits_are_the_same(
    given: dict[str, str], sync: tuple[Path, Watcher], tmp_path: Path
) -> None:
    (first, *_) = sync[1].checkpoints
    assert open_checkpoint(first).step == 4
    watcher = run(replicated(given, resume=first, sharing="bounded", servers=1, stages=1), tmp_path)
    assert [n.step for n in watcher.steps] == [5, 6, 7, 8]
    assert_bitwise_equal(tmp_path, sync[0])


def test_without_waiting_for_each_other_they_still_learn_every_step(given: dict[str, str], tmp_path: Path) -> None:
    watcher = run(replicated(given, steps=20, sharing="async", stages=1), tmp_path)
    assert [n.step for n in watcher.steps] == list(range(1, 21))
    assert sum(sum(n.waves) for n in watcher.steps) == 20
    assert watcher.steps[-1].loss < watcher.steps[0].loss
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_a_parameter_server_that_dies_ends_the_run_with_its_name(given: dict[str, str], tmp_path: Path) -> None:
    watcher = Watcher()
    settings = replicated(given, stages=1).model_copy(update={"recovery": RecoveryConfig(tries=0)})
    driver = Driver(settings, tmp_path, watcher, may_grow=False, stop=StopRequest())
    assert driver._fleet is not None
    victim = driver._fleet._servers._servers[1]
    watcher.after = {2: lambda: ray.kill(victim)}
    try:
        with pytest.raises(ActorLost, match="parameter server 1 died while it was to run its part of a step"):
            driver.run()
    finally:
        driver.close()
