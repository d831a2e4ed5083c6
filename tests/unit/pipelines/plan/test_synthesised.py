from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pipelines.errors import UserError
from pipelines.plan.lower_bound import least_seconds
from pipelines.plan.pipeline import Costs, Memory, Pipeline
from pipelines.plan.schedules import SCHEDULES, make_schedule
from pipelines.plan.simulate import fits, simulate


def unequal(chance: random.Random, stage_of: tuple[int, ...], num_micro_batches: int) -> Pipeline:
    """Every stage, chunk and micro-batch up to a fifth more or less than another."""

    def around(value: float, number: int) -> tuple[float, ...]:
        return tuple(value * chance.uniform(0.9, 1.1) for _ in range(number))

    n = len(stage_of)
    costs = Costs(
        around(1.0, n), around(1.3, n), around(0.9, n), around(0.2, max(stage_of) + 1),
        latency=around(0.01, n - 1), activations=around(0.05, n - 1), gradients=around(0.05, n - 1),
        sizes=around(1.0, num_micro_batches),
    )  # fmt: skip
    kept, noted = (tuple(int(bytes) for bytes in around(size, n)) for size in (1000, 600))
    return Pipeline(stage_of, costs, Memory(kept, noted))


@pytest.mark.parametrize("stage_of", [(0, 1, 2, 3), (0, 1, 0, 1), (1, 0, 2)], ids=str)
@pytest.mark.parametrize("limited", [False, True])
def test_synthesised_is_never_slower_than_another_schedule_under_the_same_limit(
    stage_of: tuple[int, ...], limited: bool
) -> None:
    chance = random.Random(4)
    for m in (1, 4, 8):
        pipeline = unequal(chance, stage_of, m)
        assert pipeline.memory is not None
        if limited:
            most = simulate(make_schedule("1f1b", pipeline, m), pipeline).peak_bytes
            pipeline = replace(pipeline, memory=replace(pipeline.memory, limit=most))
        results = {name: simulate(make_schedule(name, pipeline, m), pipeline) for name in SCHEDULES}
        mine = results["synthesised"]
        assert fits(mine, pipeline)
        assert mine.seconds <= min(r.seconds for r in results.values() if fits(r, pipeline)) * (1 + 1e-6)
        assert mine.seconds >= least_seconds(pipeline, m) * (1 - 1e-9)


def test_with_memory_to_spare_it_comes_to_within_five_per_cent_of_what_nothing_can_beat() -> None:
    chance = random.Random(5)
    for _ in range(4):
        pipeline = unequal(chance, (0, 1, 2, 3), 8)
        seconds = simulate(make_schedule("synthesised", pipeline, 8), pipeline).seconds
        assert seconds <= 1.05 * least_seconds(pipeline, 8)


def test_it_is_the_same_every_time() -> None:
    first, second = (make_schedule("synthesised", unequal(random.Random(6), (0, 1, 2), m), m) for m in (6, 6))
    assert first == second


def test_it_keeps_a_limit_that_no_other_schedule_keeps() -> None:
    pipeline = Pipeline(
        (0, 1), Costs((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.0, 0.0)), Memory((10, 10), (6, 6), (22, 16))
    )
    results = {name: simulate(make_schedule(name, pipeline, 8), pipeline) for name in SCHEDULES}
    assert [name for name, result in results.items() if fits(result, pipeline)] == ["synthesised"]


def test_a_limit_below_one_micro_batch_is_refused_with_what_is_needed() -> None:
    pipeline = Pipeline((0, 1), memory=Memory((10, 10), (6, 6), (16, 12)))
    with pytest.raises(
        UserError, match=r"Stage 1 has 12 bytes for activations, but needs 16 with one micro-batch at a"
    ):
        make_schedule("synthesised", pipeline, 4)


def test_nothing_beats_the_way_to_a_stage_and_its_work() -> None:
    # Stage 1 waits 1 + 0.5 second for the first micro-batch, then works 3 x (2 + 2 + 1); the update takes 0.25.
    costs = Costs((1.0, 2.0), (1.0, 2.0), (1.0, 1.0), (0.25, 0.1), latency=(0.5,), activations=(0.0,), gradients=(0.0,))
    assert least_seconds(Pipeline((0, 1), costs), 3) == 16.75
