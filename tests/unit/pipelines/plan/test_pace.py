"""Slow stages, and what a move would save."""

from __future__ import annotations

from pipelines.plan.pace import IN_A_ROW, Pace, gain_of
from pipelines.plan.plan import Plan


def told(pace: Pace, *steps: list[float]) -> list[tuple[int, int]]:
    """Stage and step of every straggler; one second was predicted of each stage."""
    found = [pace.stragglers(number, busy, [1.0] * len(busy)) for number, busy in enumerate(steps, 1)]
    return [(one.stage, one.step) for each in found for one in each]


def test_a_stage_that_is_slow_in_a_row_is_told_once() -> None:
    assert told(Pace(), *[[1.0, 1.6]] * (3 * IN_A_ROW)) == [(1, IN_A_ROW)]


def test_a_step_that_is_not_slow_begins_the_row_again() -> None:
    steps = [[1.6]] * (IN_A_ROW - 1) + [[1.5]] + [[1.6]] * IN_A_ROW
    assert told(Pace(), *steps) == [(0, 2 * IN_A_ROW)]


def test_a_straggler_says_how_slow_it_is() -> None:
    pace = Pace()
    *_, last = [pace.stragglers(step, [0.5], [0.25]) for step in range(1, IN_A_ROW + 1)]
    assert str(last[0]) == (
        "stage 0 is slow: it computed 0.50 s in step 5, 2.0 times what was predicted, "
        "and was as slow in the 4 steps before"
    )


def test_what_a_move_saves_goes_by_the_runs_own_pace() -> None:
    pace = Pace()
    for seconds in (2.0, 9.0, 2.2):
        pace.add(seconds, predicted=1.0)
    gain = gain_of(Plan((), seconds=1.0), Plan((), seconds=0.6), pace=pace.factor, steps=100)
    assert (gain.now, gain.then, round(gain.seconds)) == (2.2, 1.32, 88)
    assert str(gain) == (
        "a step would take 1.320 s instead of 2.200 s, which in the 100 steps that are left saves 88 s"
    )


def test_a_plan_that_is_slower_saves_less_than_nothing() -> None:
    assert gain_of(Plan((), seconds=1.0), Plan((), seconds=1.5), pace=1.0, steps=2).seconds == -1.0
