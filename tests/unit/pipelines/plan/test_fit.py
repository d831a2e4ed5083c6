"""Times of shapes that were not measured."""

from __future__ import annotations

import pytest

from pipelines.plan.fit import FILLED, bound, fit, terms
from pipelines.train.product import ROWS

SHAPES = [(4, 16), (8, 32), (8, 128), (16, 64)]


def test_the_three_numbers_are_found_where_the_times_are_made_of_them() -> None:
    values = [0.5 + 0.01 * rows * width + 0.0001 * rows * width**2 for rows, width in SHAPES]
    assert fit(SHAPES, values) == pytest.approx([0.5, 0.01, 0.0001])


def test_one_shape_says_that_time_goes_by_tokens() -> None:
    assert fit([(8, 32)], [512.0]) == pytest.approx([0.0, 2.0, 0.0])


def test_two_shapes_are_both_met() -> None:
    found = fit([(4, 16), (8, 32)], [1.0, 3.0])
    assert [found @ terms(4, 16), found @ terms(8, 32)] == pytest.approx([1.0, 3.0])


def test_no_number_is_negative_even_where_larger_shapes_took_less() -> None:
    assert fit([(4, 16), (8, 32)], [3.0, 1.0]).min() >= 0


def test_what_takes_nothing_takes_nothing_in_any_shape() -> None:
    assert fit(SHAPES, [0.0] * 4) == pytest.approx([0.0, 0.0, 0.0])


def test_sub_words_are_filled_up_as_the_products_fill_them() -> None:
    assert FILLED == ROWS
    assert terms(3, 7).tolist() == [1, 32, 147]


def test_a_bound_is_no_less_than_any_shape_took() -> None:
    # The second took a quarter more than goes by its sub-words.
    assert fit([(4, 16), (4, 16)], [64.0, 80.0]) @ terms(4, 16) < 80
    assert bound([(4, 16), (4, 16)], [64.0, 80.0]) @ terms(4, 16) == pytest.approx(80)
    assert bound(SHAPES, [0.0] * 4) == pytest.approx([0.0, 0.0, 0.0])
