"""The tests of this folder want a real GPU: `make gpu`, on a machine that has one."""

from __future__ import annotations

import pytest
import torch

from tests.cluster.conftest import ray_session as ray_session


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="torch sees no GPU here"))
