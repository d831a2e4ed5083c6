"""Which learning rate is suggested, from losses written down here."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pipelines.errors import UserError
from pipelines.search.rates import draw, range_test

RATES = [10 ** (n / 10 - 5) for n in range(50)]


def losses(falls: int, rises: int) -> list[float]:
    """Flat, then down by 0.1 a step from step `falls` on, then up by 1 a step from step `rises` on."""
    found = [3.0]
    for n in range(1, 50):
        found.append(found[-1] + (0.0 if n < falls else -0.1 if n < rises else 1.0))
    return found


def test_a_tenth_of_the_rate_with_the_lowest_loss_is_suggested() -> None:
    found = range_test(RATES, losses(20, 35))
    assert RATES[34] <= found.lowest <= RATES[37]
    assert found.suggested == found.lowest / 10
    assert RATES[20] < found.steepest < found.lowest
    assert len(found.rates) == len(found.losses) == len(found.smoothed)


def test_what_comes_behind_the_divergence_does_not_count() -> None:
    given = losses(10, 30)
    given[40] = float("nan")
    given[45] = -100.0
    found = range_test(RATES, given)
    assert len(found.rates) <= 40
    assert RATES[29] <= found.lowest <= RATES[32]


def test_a_run_that_diverges_at_once_and_one_that_never_learns_are_errors() -> None:
    with pytest.raises(UserError, match=r"diverged after 3 of 50 steps, and 10 are needed"):
        range_test(RATES, [1.0] * 3 + [float("inf")] * 47)
    with pytest.raises(UserError, match=r"never fell while the learning rate rose"):
        range_test(RATES, [1.0 + n / 1000 for n in range(50)])


def test_it_can_be_looked_at(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "rates.png", range_test(RATES, losses(20, 35)))
    with Image.open(tmp_path / "a" / "rates.png") as image:
        assert min(image.size) > 300
