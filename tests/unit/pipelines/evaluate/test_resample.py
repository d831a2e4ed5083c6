"""How sure a score is, and whether one model beats another."""

import numpy as np
import pytest

from pipelines.data.examples import Array
from pipelines.evaluate.resample import compare, interval


def accuracy(sums: Array) -> Array:
    share: Array = sums[..., 0] / sums[..., 1]
    return share


def tallies(right: int, rows: int) -> Array:
    return np.array([[float(i < right), 1.0] for i in range(rows)])


def test_an_interval_of_an_accuracy_is_that_of_the_binomial() -> None:
    found = interval(tallies(80, 100), accuracy)
    assert found.score == 0.8
    # 0.8 +- 1.96 sqrt(0.8 * 0.2 / 100), to what 2000 draws of whole rows can tell.
    assert (found.low, found.high) == pytest.approx((0.722, 0.878), abs=0.02)
    assert interval(tallies(80, 100), accuracy) == found


def test_more_rows_make_it_surer() -> None:
    few, many = interval(tallies(40, 50), accuracy), interval(tallies(1600, 2000), accuracy)
    assert many.high - many.low < (few.high - few.low) / 4


def test_what_is_always_right_is_so_in_every_draw() -> None:
    found = interval(tallies(30, 30), accuracy)
    assert (found.low, found.score, found.high) == (1, 1, 1)


def test_the_same_answers_differ_by_nothing() -> None:
    found = compare(tallies(7, 10), tallies(7, 10), accuracy)
    assert (found.difference.score, found.difference.low, found.difference.high, found.p) == (0, 0, 0, 1)


def test_a_clear_difference_is_hardly_chance_and_a_small_one_may_be() -> None:
    clear = compare(tallies(90, 100), tallies(60, 100), accuracy)
    assert clear.difference.score == pytest.approx(0.3)
    assert clear.difference.low > 0
    assert clear.p < 0.001
    # One row more of a hundred: swapped, it is one row less.
    assert compare(tallies(61, 100), tallies(60, 100), accuracy).p == 1


def test_models_are_compared_on_the_same_rows() -> None:
    with pytest.raises(ValueError, match="on the same rows, not on 10 and 9"):
        compare(tallies(1, 10), tallies(1, 9), accuracy)
