"""Which group of workers takes the next pass: literals, on a clock that stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inference.former import Former, Waiting
from pipelines.inference.groups import Computed, Group, Groups
from pipelines.inference.pass_cost import PassCost

pytestmark = pytest.mark.timeout(60)

FAST = PassCost(fixed=10, per_token=1, per_square=0, best_tokens=100)
SLOW = replace(FAST, fixed=30, per_token=3)


async def never(_inputs: list[Any], _traceparents: tuple[str, ...]) -> Computed:
    raise AssertionError


def group(cost: PassCost = FAST, workers: int = 1, ahead: float | None = None) -> Group:
    return Group(never, cost, workers=lambda: workers, ahead=ahead)


def waiting(number: int, length: int = 100) -> Former:
    former = Former(most=1)
    for n in range(number):
        former.add(Waiting(length, n))
    return former


def simulated(groups: list[Group], former: Former) -> tuple[float, list[int]]:
    """When all that waits is done, and the passes of each group, where each is done when it ought to be."""
    all_of, now, counts = Groups(groups, wait=0), 0.0, [0] * len(groups)
    out: list[tuple[float, int]] = []
    while len(former) or out:
        while (chosen := all_of.next(former, now)) is not None:
            due = chosen.begin(former.next_seconds(chosen.cost), now)
            out.append((due, groups.index(chosen)))
            counts[groups.index(chosen)] += len(former.take(chosen.cost))
        now, done = min(out)
        groups[done].end(now)
        out.remove((now, done))
    return now, counts


def test_nobody_is_asked_for_nothing() -> None:
    assert Groups([group()], wait=0).next(waiting(0), 0) is None
    assert Groups([group()], wait=0).seconds(waiting(0)) == 0


def test_the_fastest_that_is_free_is_asked() -> None:
    slow, fast = group(SLOW), group(FAST)
    assert Groups([slow, fast], wait=0).next(waiting(1), 0) is fast


def test_a_slow_one_is_left_idle_where_a_fast_one_is_sooner_done_with_all() -> None:
    slow, fast = group(SLOW), group(FAST)
    groups = Groups([slow, fast], wait=0)
    fast.begin(110, 0)
    fast.begin(110, 0)
    # In 220 the fast one is free, and done with this in 110 more; the slow one needs as long, and less than 331.
    assert groups.next(waiting(1, length=101), 0) is None
    assert groups.next(waiting(1), 0) is slow
    # What is under way is nearly done.
    assert groups.next(waiting(1), 1) is None
    assert groups.next(waiting(3), 100) is slow


def test_each_group_gets_as_many_passes_as_it_is_fast() -> None:
    assert simulated([group(FAST), group(SLOW)], waiting(80)) == (60 * 110, [60, 20])
    _, (fast, slow) = simulated([group(FAST), group(SLOW, workers=3)], waiting(80))
    assert abs(fast - slow) <= 2


def test_a_group_without_workers_is_passed_over_and_the_first_is_asked_where_there_is_none() -> None:
    gone, there = group(FAST, workers=0), group(SLOW)
    assert Groups([gone, there], wait=0).next(waiting(1), 0) is there
    asleep, other = group(SLOW, workers=0), group(FAST, workers=0)
    assert Groups([asleep, other], wait=0).next(waiting(1), 0) is asleep


def test_what_waits_takes_all_of_them_together() -> None:
    groups = Groups([group(FAST), group(SLOW)], wait=0)
    # Four passes of 110: by one and by a third of one.
    assert groups.seconds(waiting(4)) == pytest.approx(440 / (1 + 1 / 3))


def test_where_passes_are_counted_a_second_one_is_sent_when_more_waits_than_may() -> None:
    counted = group(FAST, ahead=200)
    groups = Groups([counted], wait=0)
    counted.begin(110, 0)
    assert groups.next(waiting(1), 0) is None
    assert groups.next(waiting(2), 0) is counted


@given(st.lists(st.tuples(st.floats(0.1, 50), st.integers(1, 4)), min_size=1, max_size=4), st.integers(0, 40))
def test_all_that_waits_is_computed_and_no_later_than_by_the_fastest_alone(
    kinds: list[tuple[float, int]], number: int
) -> None:
    def made(some: list[tuple[float, int]]) -> list[Group]:
        return [group(replace(FAST, fixed=10 * slow, per_token=slow), workers) for slow, workers in some]

    together, counts = simulated(made(kinds), waiting(number))
    assert sum(counts) == number
    alone, _ = simulated(made([min(kinds)]), waiting(number))
    assert together <= alone * (1 + 1e-9)
