"""Devices found and measured on a cluster of unlike nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from cluster.devices import discover
from cluster.profiling import profile
from pipelines.config import Config
from pipelines.plan.measured import Measured, Times
from pipelines.plan.problem import make_problem
from tests.tiny import write_data, write_model

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def unlike_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A node with one CPU, a slowed one, and one that is kept for something else."""
    settings = {
        "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1",
        "MOTLEY_CACHE": str(tmp_path_factory.mktemp("cache")),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1, labels={"motley.device": "old", "motley.slowdown": "3"})
        cluster.add_node(num_cpus=4, labels={"motley.device": "none"})
        ray.init(address=cluster.address, log_to_driver=False)
        yield
        ray.shutdown()
        cluster.shutdown()


def seconds(times: Times) -> float:
    """Of one micro-batch through the whole model."""
    parts = (*times.forward, *times.backward, *times.weights)
    return times.stage_forward + times.stage_backward + sum(parts)


@pytest.mark.usefixtures("unlike_nodes")
def test_a_slowed_device_is_found_measured_slower_and_known_the_next_time(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    write_data(tmp_path / "data")
    # Long micro-batches of all rows, so that work and not what surrounds it is compared.
    settings = Config.model_validate(
        {
            "model": str(tmp_path / "model"),
            "data": {"path": str(tmp_path / "data"), "shards": 1},
            "train": {"batch_size": 48, "micro_batches": 1},
            "plan": {"cpus_per_stage": 1, "timeout": 120},
        }
    )
    plain, old = sorted(discover(1, timeout=60), key=lambda device: device.slowdown)
    assert (old.type, old.slowdown, plain.slowdown) == ("old", 3.0, 1.0)
    told: list[str] = []

    def tell(what: str, done: int, total: int) -> None:  # noqa: ARG001
        told.append(what)

    measured = profile(settings, tell=tell)
    fast, slow = measured.type(plain.type), measured.type("old")
    for one, other in zip(fast.times, slow.times, strict=True):
        assert seconds(other) / seconds(one) > 1.5
    assert {"units on old", f"units on {plain.type}"} <= set(told)
    may_be_planned(measured, plain.type)
    told.clear()
    assert profile(settings, tell=tell) == measured
    assert not any(what.startswith("units") for what in told)


def may_be_planned(measured: Measured, name: str) -> None:
    """One device of each of two types is what a planner must be able to take."""
    shape = measured.types[0].times[0].shape
    problem = make_problem(measured, [name, "old"], [1, 1], shape, num_micro_batches=4)
    assert all(0 < seconds < 1 for row in problem.latency for seconds in row)
