from __future__ import annotations

from pipelines.plan.deal import deal


def test_the_costliest_go_first_to_whoever_has_least() -> None:
    assert deal([5, 1, 4, 2], 2) == [[0, 1], [2, 3]]
    assert deal([1, 1, 1], 2) == [[0, 2], [1]]
    assert deal([9, 3, 3, 3], 2) == [[0], [1, 2, 3]]


def test_with_more_workers_than_micro_batches_some_have_none() -> None:
    assert deal([2, 3], 3) == [[1], [0], []]
