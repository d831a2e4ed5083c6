"""What becomes of a given plan when nodes are lost."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.plan.fewer import Room, fewer
from pipelines.plan_settings import PlanConfig


def sizes(nodes: list[Room], **plan: Any) -> tuple[Any, Any] | None:
    """Stages and replicas of what is left."""
    found = fewer(PlanConfig(**plan), nodes)
    return None if found is None else (found.stages, found.replicas)


@pytest.mark.parametrize(
    ("nodes", "plan", "left"),
    [
        ([(2, 0), (1, 0)], {"stages": 3}, (3, 1)),
        ([(2, 0)], {"stages": 3}, (2, 1)),
        ([(0.5, 0), (0.5, 0)], {"stages": 2}, None),
        ([(1, 0)], {"stages": 2, "cpus_per_stage": 0.5}, (2, 1)),
        # Stages go before replicas, whose number changes the order of a sum.
        ([(3, 0)], {"stages": 2, "replicas": 2, "servers": 1}, (1, 2)),
        ([(2, 0)], {"stages": 2, "replicas": 2, "servers": 1}, (1, 1)),
        ([(1, 1), (1, 0)], {"stages": 2, "devices": ("gpu", "cpu")}, (2, 1)),
        ([(1, 0), (1, 0)], {"stages": 2, "devices": ("gpu", "cpu")}, None),
        ([(1, 0), (1, 0)], {"stages": 2, "devices": ("cpu", "gpu")}, (1, 1)),
    ],
)
def test_as_many_stages_and_replicas_stay_as_there_is_room_for(
    nodes: list[Room], plan: dict[str, Any], left: tuple[int, int] | None
) -> None:
    assert sizes(nodes, **plan) == left


def test_a_plan_that_still_fits_stays_as_it_is_and_a_smaller_one_is_cut_anew() -> None:
    given = PlanConfig(stages=3, cut=(2, 4), servers=1, shares=(1.0,))
    assert fewer(given, [(9, 0)]) == given
    smaller = fewer(given, [(3, 0)])
    assert smaller is not None
    assert (smaller.stages, smaller.cut, smaller.shares) == (2, None, (1.0,))
