"""The Ray of the tests of this folder: as few as can be, since each takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.nursery import nursery
from tests.cluster.rays import Rays


@pytest.fixture(scope="session")
def rays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rays]:
    """One Ray after the other, whose workers come from a nursery."""
    with Rays.environment(), nursery(tmp_path_factory.mktemp("nursery")) as python:
        made = Rays(python)
        yield made
        made.end()


@pytest.fixture(scope="module")
def ray_session(rays: Rays) -> None:
    """A Ray of two CPUs and a GPU that is not there, without dashboard or token; the tests of many files share it."""
    rays.one_node()
