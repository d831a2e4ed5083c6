"""Waves of a step: literals."""

from __future__ import annotations

import pytest

from pipelines.plan.waves import Handing, Sharing, Wave, split_in_waves, wave_sizes


@pytest.mark.parametrize(
    ("count", "shares", "sizes"),
    [
        (8, [1, 1], [4, 4]),
        (8, [3, 1], [6, 2]),
        (7, [1, 1], [4, 3]),
        (4, [100, 1], [3, 1]),
        (4, [100, 1, 1], [2, 1, 1]),
        (10, [5, 3, 2], [5, 3, 2]),
        (3, [1, 1, 1, 2], [1, 1, 0, 1]),
        (1, [1, 3], [0, 1]),
        (5, [0.25], [5]),
    ],
)
def test_waves_are_in_proportion_to_their_shares_and_never_empty_while_there_is_enough(
    count: int, shares: list[float], sizes: list[int]
) -> None:
    assert wave_sizes(count, shares) == sizes


def test_waves_are_consecutive() -> None:
    assert split_in_waves(8, [3, 1]) == [Wave(0, 6, replica=0), Wave(6, 8, replica=1)]
    assert split_in_waves(1, [1, 3]) == [Wave(0, 1, replica=1)]


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        wave_sizes(4, [1, 0])


def handing(sharing: Sharing, staleness: int = 0) -> Handing:
    queue = Handing(sharing, staleness)
    for step in range(3):
        queue.add(step, split_in_waves(4, [1] if sharing == "async" else [1, 1]))
    return queue


def taken(queue: Handing, replica: int, version: int) -> tuple[int, int] | None:
    handed = queue.take(replica, version)
    return None if handed is None else (handed.step, handed.number)


def test_in_sync_each_replica_runs_its_own_wave_of_every_step() -> None:
    queue = handing("sync")
    assert [taken(queue, 1, 0) for _ in range(4)] == [(0, 1), (1, 1), (2, 1), None]
    assert [taken(queue, 0, 0) for _ in range(4)] == [(0, 0), (1, 0), (2, 0), None]


def test_within_a_bound_a_fast_replica_runs_ahead_by_so_many_updates() -> None:
    queue = handing("bounded", staleness=1)
    assert [taken(queue, 0, 0) for _ in range(5)] == [(0, 0), (0, 1), (1, 0), (1, 1), None]
    assert taken(queue, 1, 1) == (2, 0)
    queue = handing("bounded", staleness=0)
    assert [taken(queue, 0, 0) for _ in range(3)] == [(0, 0), (0, 1), None]


def test_without_a_bound_whole_steps_go_to_whoever_is_free() -> None:
    queue = handing("async")
    assert [taken(queue, r, 0) for r in (0, 0, 1, 0)] == [(0, 0), (1, 0), (2, 0), None]
