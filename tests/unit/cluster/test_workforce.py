"""Which group of workers is asked for what is no pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.crowd import Crowd, Present
from cluster.workforce import Workforce
from pipelines.inference.class_predictor import LabelPredictor
from pipelines.inference.holder import Facts
from pipelines.inference.pass_cost import UNMEASURED

pytestmark = pytest.mark.timeout(60)

CAN = Facts(LabelPredictor, UNMEASURED, explains=True, writes=False, baseline=None)
CANNOT = replace(CAN, explains=False)


def test_the_group_with_the_fewest_under_way_for_each_worker_is_asked() -> None:
    crowd = Crowd()
    for name, group in (("a", 0), ("b", 1), ("c", 1)):
        crowd.hear(Present(name, (), group=group))
    workforce, facts = Workforce(["first", "second"], crowd), [CAN, CAN]
    assert (crowd.number(0), crowd.number(1)) == (1, 2)
    with workforce.one(facts, lambda one: one.explains) as first:
        assert first == "first"
        with workforce.one(facts, lambda one: one.explains) as second:
            assert second == "second"
            with workforce.one(facts, lambda one: one.explains) as third:
                assert third == "second"
        with workforce.one(facts, lambda one: one.explains) as again:
            assert again == "second"


def test_a_group_that_cannot_or_that_has_no_worker_is_not_asked() -> None:
    crowd = Crowd()
    crowd.hear(Present("a", (), group=1))
    workforce = Workforce(["none there", "cannot", "none there either"], crowd)
    with workforce.one([CAN, CANNOT, CAN], lambda one: one.explains) as asked:
        assert asked == "none there"
    with workforce.one([CAN, CAN, CAN], lambda one: one.explains) as asked:
        assert asked == "cannot"
