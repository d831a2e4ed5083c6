"""Scores of answers that stand in texts, and of texts that find others."""

import numpy as np
import pytest

from pipelines.report.answers import answer_report, is_exact, overlap
from pipelines.report.retrieval import ranks, retrieval_report


def test_case_articles_and_punctuation_do_not_count() -> None:
    assert is_exact("The Eiffel Tower!", ["eiffel tower"])
    assert not is_exact("tower", ["Eiffel Tower"])


def test_the_nearest_of_the_right_answers_counts() -> None:
    assert overlap("in New York", ["York", "New York"]) == pytest.approx(2 * 2 / (3 + 2))


def test_scripts_without_spaces_are_compared_by_character() -> None:
    assert overlap("北京市", ["北京"]) == pytest.approx(2 * 2 / (3 + 2))


def test_no_answer_is_right_where_there_is_none() -> None:
    report = answer_report(["", "x", "a b"], [[], [], ["a b"]])
    assert (report.exact, report.f1) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (report.questions, report.answerable) == (3, 1)


def test_ranks_count_different_texts_and_of_equals_the_worst_place() -> None:
    a, b, c = np.array([1.0, 0]), np.array([0, 1.0]), np.array([0.6, 0.8])
    vectors = np.array([[a, a], [a, b], [a, a], [c, c]])
    # The first and the third have the same matching text: three candidates.
    assert ranks(["x", "y", "x", "z"], vectors).tolist() == [1, 3, 1, 1]
    assert ranks(["x", "y"], np.array([[a, b], [a, b]])).tolist() == [2, 2]


def test_what_is_found_first_is_worth_most() -> None:
    report = retrieval_report(np.array([1, 3, 11]), 20)
    assert report.ndcg == pytest.approx((1 + 0.5 + 0) / 3)
    assert report.reciprocal_rank == pytest.approx((1 + 1 / 3 + 1 / 11) / 3)
    assert report.recall == {1: pytest.approx(1 / 3), 5: pytest.approx(2 / 3), 10: pytest.approx(2 / 3)}
