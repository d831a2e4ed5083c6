"""Replicas that the planner makes on nodes of unlike speed: shares by speed, and the weights of one replica."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from safetensors.torch import load_file

from pipelines.config import Config
from pipelines.plan.choose import Choice
from tests.cluster.test_training import Watcher, run
from tests.tiny import write_data, write_model

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def unlike_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A node with one CPU and a slowed one."""
    settings = {
        "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1",
        "MOTLEY_CACHE": str(tmp_path_factory.mktemp("cache")),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1, labels={"motley.device": "old", "motley.slowdown": "5"})
        ray.init(address=cluster.address, log_to_driver=False)
        yield
        ray.shutdown()
        cluster.shutdown()


class Planned(Watcher):
    """Keeps the plan as well."""

    choice: Choice | None = None

    def planned(self, choice: Choice) -> None:
        self.choice = choice


@pytest.mark.usefixtures("unlike_nodes")
def test_two_planned_replicas_share_by_speed_and_learn_what_one_learns(tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "model"), write_data(tmp_path / "data", train=64)

    def config(**plan: Any) -> Config:
        return Config.model_validate(
            {
                "model": {"source": str(model), "dtype": "float64"},
                "data": {"path": str(data), "shards": 1},
                "train": {"batch_size": 64, "micro_batches": 8, "epochs": 4, "learning_rate": 3e-3},
                # One device a node, and room for a server beside it.
                "plan": {"cpus_per_stage": 0.75, "cpus_per_server": 0.25, "timeout": 120} | plan,
            }
        )

    watcher = Planned()
    run(config(replicas=2, servers=1), tmp_path / "two", watcher)
    assert watcher.choice is not None
    plan = watcher.choice.plan
    (fast,), (slow,) = sorted((cut.stages for cut in plan.replicas), key=lambda stages: stages[0].device == "old")
    assert (fast.device == "old", slow.device) == (False, "old")
    assert fast.node != slow.node
    assert plan.shares is not None
    share = {cut.stages[0].device: share for cut, share in zip(plan.replicas, plan.shares, strict=True)}
    assert share[fast.device] > share["old"]
    assert sum(plan.shares) == 8
    assert plan.why is not None
    assert watcher.beginning is not None
    assert watcher.beginning.plan["shares"] == list(plan.shares)
    assert [stage["node"] for stage in watcher.beginning.plan["stages"]] == [stage.node for stage in plan.stages]
    assert [numbers.waves for numbers in watcher.steps] == [(1, 1)] * 4
    assert all(numbers.predicted_seconds is not None for numbers in watcher.steps)

    one = run(config(stages=1), tmp_path / "one")
    assert [n.loss for n in watcher.steps] == pytest.approx([n.loss for n in one.steps], rel=1e-10)
    first, second = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("two", "one"))
    assert max((first[name] - second[name]).abs().max().item() for name in second) < 1e-10
