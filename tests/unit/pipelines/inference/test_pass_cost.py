"""What a pass costs, from times that are known."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.pass_cost import (
    LONG,
    ROWS,
    TRIES,
    Measured,
    PassCost,
    best_tokens,
    fit,
    measure,
    shapes,
    timed,
)
from pipelines.inference.predictor import Reading

pytestmark = pytest.mark.timeout(60)


def test_the_cost_is_found_again() -> None:
    true = PassCost(fixed=3e-3, per_token=4e-5, per_square=1e-8, best_tokens=0)
    shapes = [(n, length) for n in (1, 4, 16) for length in (8, 32, 128, 256)]
    found = fit([Measured(n, length, true.fixed + n * true.row(length)) for n, length in shapes])
    assert found.fixed == pytest.approx(true.fixed, rel=1e-6)
    assert found.per_token == pytest.approx(true.per_token, rel=1e-6)
    assert found.per_square == pytest.approx(true.per_square, rel=1e-3)


def test_a_pass_is_as_large_as_it_pays() -> None:
    # Of 10 sub-words each: 4 rows are nearly as good as 8, and 16 are worse again.
    took = {1: 30.0, 2: 50.0, 4: 82.0, 8: 160.0, 16: 400.0}
    assert best_tokens([Measured(rows, 10, seconds) for rows, seconds in took.items()]) == 40
    # One row of 500 says nothing of sizes beside others that do.
    assert best_tokens([Measured(500, 1, 1.0), *(Measured(rows, 10, s) for rows, s in took.items())]) == 40
    assert best_tokens([Measured(1, 300, 1.0)]) == 300


def test_nothing_costs_less_than_nothing() -> None:
    # The more there is the less it takes, as on a machine that was busy at first.
    found = fit([Measured(1, 8, 0.5), Measured(1, 64, 0.2), Measured(8, 64, 0.1)])
    assert min(found.fixed, found.per_token, found.per_square) >= 0


def test_passes_are_timed_as_long_as_the_model_reads(tiny_model_folder: Path) -> None:
    asked: list[tuple[int, int]] = []

    class Watched(EntityPredictor):
        def answer(self, readings):  # type: ignore[no-untyped-def]
            asked.append((len(readings), readings[0].length))
            return super().answer(readings)

    predictor = Watched.load(tiny_model_folder, threads=1)
    passes = [partial(predictor.answer, [reading] * rows) for reading, rows in shapes(predictor)]
    assert min(map(timed, passes)) > 0
    # It reads 32 sub-words in one piece.
    assert {length for _, length in asked} == {8, 32}
    assert {rows for rows, _ in asked} == set(ROWS)


def test_long_passes_are_tried_once_and_larger_ones_left_out() -> None:
    asked: list[tuple[int, int]] = []

    async def took(reading: Reading, rows: int) -> float:
        asked.append((reading.length, rows))
        return 1e-3 * rows * reading.length

    short, long = Reading("", ("",), 8), Reading("", ("",), 512)
    cost = asyncio.run(measure([(short, 1), (short, 2), (long, 1), (long, 2), (long, 4)], took))
    # 512 sub-words take longer than LONG.
    assert LONG < 0.512
    assert asked == [(8, 1)] * TRIES + [(8, 2)] * TRIES + [(512, 1)]
    assert cost.per_token == pytest.approx(1e-3)
