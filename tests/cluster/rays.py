"""The Rays that tests ask for; a process can be in but one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray
from ray.cluster_utils import Cluster

NUM_CPUS = 2


class Rays:
    """Starts what is asked for unless it is there already, in the place of another."""

    def __init__(self, python: str | None) -> None:
        """`python`: what workers are started with, instead of the interpreter."""
        self._runtime = {} if python is None else {"py_executable": python}
        self._nodes: tuple[dict[str, object], ...] = ()
        self._cluster: Cluster | None = None

    @staticmethod
    @contextmanager
    def environment() -> Iterator[None]:
        """What a Ray of this machine and its workers need: no token, no hub, and no pickle."""
        with pytest.MonkeyPatch.context() as environment:
            for name, value in {
                "RAY_AUTH_MODE": "disabled",
                "RAY_USAGE_STATS_ENABLED": "0",
                "HF_HUB_OFFLINE": "1",
                "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            }.items():
                environment.setenv(name, value)
            yield

    def one_node(self) -> None:
        """Two CPUs, and a GPU that is not there."""
        node: dict[str, object] = {"num_cpus": NUM_CPUS, "num_gpus": 1}
        if self._become((node,)):
            ray.init(address="local", include_dashboard=False, log_to_driver=False, runtime_env=self._runtime, **node)

    def several_nodes(self, *nodes: dict[str, object]) -> None:
        """Nodes on this machine; to Ray they are as different as machines."""
        if self._become(nodes):
            self._cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **nodes[0]})
            for node in nodes[1:]:
                self._cluster.add_node(**node)
            ray.init(address=self._cluster.address, log_to_driver=False, runtime_env=self._runtime)

    def end(self) -> None:
        ray.shutdown()
        if self._cluster is not None:
            self._cluster.shutdown()
        self._nodes, self._cluster = (), None

    def _become(self, nodes: tuple[dict[str, object], ...]) -> bool:
        """Whether these are to be started now."""
        if self._nodes == nodes:
            return False
        self.end()
        self._nodes = nodes
        return True
