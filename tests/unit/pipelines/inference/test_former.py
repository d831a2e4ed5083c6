"""Which inputs share a pass: literals, by length, in the order in which they came."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inference.former import Former, Waiting
from pipelines.inference.pass_cost import PassCost

pytestmark = pytest.mark.timeout(60)

COST = PassCost(fixed=10, per_token=1, per_square=0, best_tokens=200)
"""Starting a pass costs as much as ten sub-words."""


def passes(lengths: list[int], *, most: int = 99, best_tokens: int = 200) -> list[list[int]]:
    """The lengths in each pass, until nothing waits."""
    cost, former = replace(COST, best_tokens=best_tokens), Former(most=most)
    for number, length in enumerate(lengths):
        former.add(Waiting(length, number))
    found = []
    while taken := former.take(cost):
        found.append(sorted(lengths[number] for number in taken))
    return found


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([5], [[5]]),
        # Ten of padding cost as much as a pass; eleven cost more.
        ([20, 10], [[10, 20]]),
        ([20, 9], [[20], [9]]),
        # A longer one pads all that are there already.
        ([10, 10, 15], [[10, 10, 15]]),
        ([10, 10, 16], [[10, 10], [16]]),
        # The oldest goes first, whatever its length, and takes its neighbours along.
        ([50, 3, 4, 48, 5], [[48, 50], [3, 4, 5]]),
        # The nearer neighbour first: 200 are room for two of these three.
        ([90, 89, 95], [[89, 90], [95]]),
        # Longer than any pass ought to be: alone.
        ([500, 3], [[500], [3]]),
    ],
)
def test_the_oldest_goes_with_those_of_about_its_length(lengths: list[int], expected: list[list[int]]) -> None:
    assert passes(lengths) == expected


def test_no_pass_has_more_than_it_may() -> None:
    assert passes([8] * 5, most=2) == [[8, 8], [8, 8], [8]]
    assert passes([8] * 5, best_tokens=31) == [[8, 8, 8], [8, 8]]
    # By itself it has more than there may be: it goes alone, and is not refused.
    assert passes([40, 8], best_tokens=31) == [[40], [8]]


def test_rows_count_not_inputs() -> None:
    cost, former = replace(COST, best_tokens=64), Former(most=99)
    former.add(Waiting(16, 0, pieces=3))
    former.add(Waiting(16, 1, pieces=2))
    former.add(Waiting(16, 2))
    assert [former.take(cost), former.take(cost)] == [[0], [1, 2]]


def test_what_waits_is_known_in_seconds() -> None:
    former = Former(most=9)
    assert former.seconds(COST) == 0
    for number in range(4):
        former.add(Waiting(100, number))
    # 400 sub-words, and a start for every 200.
    assert former.seconds(COST) == 400 + 2 * 10


def test_what_no_longer_waits_is_in_no_pass_and_takes_no_time() -> None:
    former = Former(most=9)
    for number, length in enumerate((100, 7, 100)):
        former.add(Waiting(length, number))
    former.drop(Waiting(100, 0))
    former.drop(Waiting(7, 1))
    assert (former.seconds(COST), former.take(COST), former.take(COST)) == (110, [2], [])


@given(st.lists(st.integers(1, 400), max_size=60), st.integers(1, 8))
def test_each_is_taken_once_and_the_oldest_is_always_in_the_next_pass(lengths: list[int], most: int) -> None:
    cost, former = replace(COST, best_tokens=2000), Former(most=most)
    for number, length in enumerate(lengths):
        former.add(Waiting(length, number))
    left = set(range(len(lengths)))
    while left:
        taken = former.take(cost)
        assert min(left) in taken
        assert len(taken) <= most
        assert set(taken) <= left
        left -= set(taken)
    assert former.take(cost) == []
