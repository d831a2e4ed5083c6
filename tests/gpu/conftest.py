"""The tests of this folder want a real GPU: `make gpu`, on a machine that has one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.cluster.conftest import ray_session as ray_session
from tests.cluster.rays import Rays


@pytest.fixture(scope="session")
def rays() -> Iterator[Rays]:
    """Its workers start as any others: what has seen a GPU cannot be forked."""
    with Rays.environment():
        made = Rays(None)
        yield made
        made.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="torch sees no GPU here"))
