"""Waves of a step: literals."""

from __future__ import annotations

import pytest

from pipelines.plan.waves import Wave, split_in_waves, wave_sizes


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
    assert split_in_waves(8, [3, 1]) == [Wave(0, 6), Wave(6, 8)]
    assert split_in_waves(1, [1, 3]) == [Wave(0, 1)]


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        wave_sizes(4, [1, 0])
