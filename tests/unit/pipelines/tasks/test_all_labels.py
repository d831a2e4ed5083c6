"""Labels that a model has beside those of its training data."""

from __future__ import annotations

import pytest

from pipelines.errors import UserError
from pipelines.tasks import make_task
from pipelines.tasks.all_labels import all_labels

TEXTS, TAGS = make_task("sequence-classification"), make_task("token-classification")


def test_they_are_in_one_order_wherever_they_come_from() -> None:
    assert all_labels(TEXTS, {"train": {"b"}, "test": {"b"}}, ["c", "a"]) == ["a", "b", "c"]
    assert all_labels(TAGS, {"train": {"O", "B-PER"}}, ["B-LOC"]) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert all_labels(TEXTS, {"train": {"b", "a"}}, ["a", "b"]) == all_labels(TEXTS, {"train": {"b"}}, ["a"])


def test_without_any_the_task_finds_its_own() -> None:
    assert all_labels(TEXTS, {"train": {"b", "a"}}, []) == ["a", "b"]


def test_what_no_example_can_have_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.labels names 'PER'.*tags in full, such as B-PER"):
        all_labels(TAGS, {"train": {"O"}}, ["O", "PER"])
    with pytest.raises(UserError, match=r"data\.labels names labels, and examples of this task have none"):
        all_labels(make_task("regression"), {"train": set()}, ["a"])
