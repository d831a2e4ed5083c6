"""What of replicas and parameter servers does not go together is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan.plan import Cut, Plan
from pipelines.plan.sharing import check_sharing, settled
from pipelines.plan_settings import PlanConfig


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"plan": {"replicas": 2}}, "plan.replicas=2 needs parameter servers"),
        ({"plan": {"sharing": "async"}}, "plan.sharing=async is about parameter servers"),
        ({"plan": {"stages": 1, "replicas": "auto", "servers": 1}}, "plan.replicas=auto is found together with the"),
        ({"plan": {"replicas": 2, "servers": 1, "minimise": "energy"}}, "plan.minimise=energy is made least for one"),
        ({"plan": {"replicas": "auto", "servers": 1, "shares": [1]}}, "does not go together with plan.replicas=auto"),
        ({"plan": {"servers": 1, "staleness": 2}}, "plan.staleness=2 has no effect with plan.sharing=sync"),
        ({"plan": {"stages": 1, "servers": 1, "replicas": 2, "shares": [1]}}, "names 1 shares for 2 replicas"),
        ({"plan": {"servers": 1, "sharing": "async", "shares": [1]}}, "plan.shares has no effect"),
        ({"plan": {"servers": 1}, "adapter": {"method": "adalora"}}, "does not go together with plan.servers"),
        ({"plan": {"servers": 1}, "train": {"precision": "float16"}}, "does not go together with plan.servers"),
    ],
)
def test_a_contradiction_is_refused_with_what_to_change(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_sharing(Config.model_validate(sections))


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"servers": 1},
        {"replicas": "auto"},
        {"replicas": "auto", "servers": 1, "sharing": "async"},
        {"replicas": 2, "servers": 1, "shares": [3, 1]},
        {"stages": 1, "replicas": 2, "servers": 1, "shares": [3, 1]},
        {"stages": 1, "replicas": 2, "servers": 2, "sharing": "bounded", "staleness": 2},
        {"stages": 1, "replicas": 2, "servers": 2, "sharing": "async"},
    ],
    ids=str,
)
def test_what_goes_together_passes(plan: dict[str, Any]) -> None:
    check_sharing(Config.model_validate({"plan": plan}))


def test_what_was_found_takes_the_place_of_auto() -> None:
    asked = PlanConfig(replicas="auto", servers=2, sharing="sync")
    cut = Cut((), "1f1b")
    found = settled(asked, Plan((cut, cut), shares=(3.0, 1.0), server_nodes=("a", "b")))
    assert (found.replicas, found.shares, found.servers) == (2, (3.0, 1.0), 2)


def test_one_replica_that_was_found_best_does_without_servers() -> None:
    asked = PlanConfig(replicas="auto", servers=2, sharing="bounded", staleness=1)
    found = settled(asked, Plan((Cut((), "1f1b"),)))
    assert (found.replicas, found.servers, found.sharing, found.staleness) == (1, 0, "sync", 0)
