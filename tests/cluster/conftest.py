"""One local Ray for the tests of each file in this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import ray

NUM_CPUS = 2


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    """A Ray of two CPUs and a GPU that is not there, without dashboard or token; a process has but one at a time."""
    settings = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Workers are new processes: for them too, no hub and no pickle.
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    ray.init(address="local", num_cpus=NUM_CPUS, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
