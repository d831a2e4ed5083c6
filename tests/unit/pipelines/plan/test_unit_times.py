"""What a unit takes of what it took alone."""

from __future__ import annotations

import pytest

from pipelines.plan.unit_times import apart, between, groups, scaled, spread


def test_what_all_share_is_what_alone_is_more_than_together() -> None:
    # Each pass costs 1, and the units 2, 4 and 3: alone 3, 5 and 4, together 10.
    assert apart([3.0, 5.0, 4.0], [10.0], [(0, 3)]) == (1.0, [2.0, 4.0, 3.0])


def test_units_are_scaled_where_they_are_slower_together() -> None:
    stage, units = apart([2.0, 4.0], [9.0], [(0, 2)])
    assert (stage, units) == (0.0, [3.0, 6.0])


def test_groups_add_up_each_to_its_own_whole() -> None:
    stage, units = apart([3.0, 5.0, 3.0, 5.0], [7.0, 7.0], [(0, 2), (2, 4)])
    assert stage == 1.0
    assert units == pytest.approx([2.0, 4.0, 2.0, 4.0])


def test_one_unit_shares_with_nobody() -> None:
    assert apart([3.0], [3.0], [(0, 1)]) == (0.0, [3.0])


def test_small_helpers() -> None:
    assert groups([1, 2, 2, 2], 5) == [(0, 1), (1, 3), (3, 4)]
    assert groups([1, 9, 9], 5) == [(0, 1), (1, 2), (2, 3)]
    assert groups([1], 5) == [(0, 1)]
    assert spread([1, 2, 3, 4, 5], 3) == {1, 3, 5}
    assert spread([7, 8], 3) == {7, 8}
    assert scaled([1.0, 3.0], 2.0) == [0.5, 1.5]
    assert scaled([0.0, 0.0], 2.0) == [0.0, 0.0]
    assert between({1: 1.0, 2: 1.0, 4: 0.5}, 3) == 0.75
