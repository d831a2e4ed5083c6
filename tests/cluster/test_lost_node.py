"""A node is killed with what sits on it, another one joins, and the run ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from pipelines.config import Config
from tests.cluster.rays import Rays
from tests.cluster.test_training import assert_bitwise_equal, run
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = pytest.mark.timeout(300)

ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    # Ray's own take half a minute to declare a node dead.
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.fixture
def nodes(rays: Rays) -> Iterator[Cluster]:
    """One Ray node of one CPU on this machine; others may be added, and are as different to Ray as two machines."""
    # One with settings of its own: the shared one makes room.
    rays.end()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def settings(folder: Path, *, stages: int) -> Config:
    return Config.model_validate(
        {
            "model": str(folder / "model"),
            "data": {"path": str(folder / "data"), "shards": 1},
            "train": {"batch_size": 8, "max_steps": 20, "epochs": 9, "learning_rate": 3e-3},
            # Each stage takes the whole CPU of a node.
            "plan": {"stages": stages, "cpus_per_stage": 1, "timeout": 60},
            "checkpoint": {"every_steps": 8, "resume": "never"},
            "recovery": {"copy_every": 3, "silence": 3, "spares": 0},
        }
    )


def test_a_run_goes_on_with_fewer_stages_when_a_node_is_lost_and_with_all_when_one_joins_to_the_same_bits(
    nodes: Cluster, tmp_path: Path
) -> None:
    write_model(tmp_path / "model")
    write_data(tmp_path / "data")
    run(settings(tmp_path, stages=1), tmp_path / "untouched")
    added: list[Any] = [nodes.add_node(num_cpus=1)]
    nodes.wait_for_nodes()

    def kill() -> None:
        nodes.remove_node(added.pop(), allow_graceful=False)

    def join() -> None:
        added.append(nodes.add_node(num_cpus=1))
        nodes.wait_for_nodes()

    watcher = run(settings(tmp_path, stages=2), tmp_path / "moved", Watcher(after={7: kill, 11: join}))
    lost, joined = watcher.moves
    assert [len(move.plan["stages"]) for move in (lost, joined)] == [1, 2]
    assert (len(lost.lost), len(lost.joined), len(joined.lost), len(joined.joined)) == (1, 0, 0, 1)
    # The copies of the lost stage were on the other node, too.
    assert lost.replayed <= 3 + 1
    # At the next checkpoint: the epoch ends there.
    assert (joined.step, joined.replayed) == (12, 0)
    assert [numbers.step for numbers in watcher.steps] == list(range(1, 21))
    assert_bitwise_equal(tmp_path / "untouched", tmp_path / "moved")
