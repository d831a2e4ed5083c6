from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pipelines.plan.closest import explain, memory_factor
from pipelines.plan.solve import Solution, best_pipeline, best_pipelines, evaluate
from tests.bench.instances import by_trying, large_problem, random_problem, seconds, uniform

NINE = [1.0] * 9


def test_a_device_twice_as_slow_gets_half_as_much() -> None:
    found = best_pipeline(uniform(NINE, [1, 2], [1, 1], micro_batches=100))
    assert found is not None
    # 6 units at 1 s and 3 at 2 s: 12 s there and back for each, 99 + 1 rounds of it, 100 times 6 s of weight gradients.
    assert sorted(b - a for _, a, b in found.stages) == [3, 6]
    assert found.seconds == 12 + 12 + 99 * 12 + 100 * 6


def test_of_one_micro_batch_only_the_weight_gradients_run_side_by_side() -> None:
    assert best_pipeline(uniform(NINE, [1], [3], micro_batches=1)) == Solution(
        ((0, 0, 3), (0, 3, 6), (0, 6, 9)), 18 + 3
    )


def test_early_stages_hold_more_micro_batches_and_so_fewer_units() -> None:
    # One byte a unit and micro-batch under way: 3 on stage 0, 2 on stage 1, 1 on stage 2.
    problem = uniform([1.0] * 11, [1], [3], micro_batches=8, memory=[6], kept=[1] * 11)
    found = best_pipeline(problem)
    assert found is not None
    assert found.stages == ((0, 0, 2), (0, 2, 5), (0, 5, 11))


def test_a_slow_link_leaves_a_device_out() -> None:
    near = uniform(NINE, [1], [2], micro_batches=4, crossing=(10, 10), per_byte=0.01)
    far = uniform(NINE, [1], [2], micro_batches=4, crossing=(10, 10), per_byte=10)
    assert [len(best_pipeline(problem).stages) for problem in (near, far)] == [2, 1]  # type: ignore[union-attr]


def test_stages_end_only_where_they_may() -> None:
    problem = replace(uniform([1.0] * 4, [1], [2], micro_batches=50), may_cut=(True, False, False))
    assert best_pipeline(problem).stages == ((0, 0, 1), (0, 1, 4))  # type: ignore[union-attr]


def test_units_sit_only_where_they_may() -> None:
    problem = replace(
        uniform([1.0] * 4, [1, 9], [1, 1], micro_batches=50),
        allowed=((True, True, True, True), (True, False, False, False)),
    )
    assert best_pipeline(problem).stages == ((0, 0, 4),)  # type: ignore[union-attr]
    only = replace(problem, allowed=((False, True, True, True), (True, False, False, False)))
    assert best_pipeline(only).stages == ((1, 0, 1), (0, 1, 4))  # type: ignore[union-attr]


def test_a_device_that_no_earliest_tail_can_use_is_used_where_it_may() -> None:
    # The fast device has room for unit 0 or unit 1 alone. Tails that begin as early as they can end before neither.
    problem = replace(
        uniform([1.0] * 6, [2, 1], [2, 1], micro_batches=2, memory=[6, 1], held=[1] * 6),
        allowed=((True,) * 6, (True, True, False, False, False, False)),
    )
    found = best_pipeline(problem)
    assert found is not None
    assert found.seconds == 46 == by_trying(problem)
    assert sorted(k for k, _, _ in found.stages) == [0, 0, 1]


def test_a_useless_device_is_left_out_and_what_it_would_cost_can_be_asked() -> None:
    problem = uniform([1.0] * 4, [1, 50], [1, 1], micro_batches=4)
    free, forced = best_pipeline(problem), best_pipeline(problem, at_least={1: 1})
    assert free is not None
    assert forced is not None
    assert [k for k, _, _ in free.stages] == [0]
    assert sorted(k for k, _, _ in forced.stages) == [0, 1]
    assert forced.seconds > free.seconds
    assert best_pipeline(problem, at_least={1: 2}) is None


def test_the_best_of_several_numbers_of_devices_come_best_first() -> None:
    found = best_pipelines(uniform(NINE, [1, 2], [2, 2], micro_batches=8), 3)
    assert found[0] == best_pipeline(uniform(NINE, [1, 2], [2, 2], micro_batches=8))
    assert [solution.seconds for solution in found] == sorted(solution.seconds for solution in found)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_that_is_tried_is_better(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(15):
        problem = random_problem(chance)
        found, expected = best_pipeline(problem), by_trying(problem)
        if found is None:
            assert expected is None
            continue
        assert found.seconds == pytest.approx(expected, rel=1e-12)
        assert seconds(problem, found.stages) == pytest.approx(found.seconds, rel=1e-12)
        assert evaluate(problem, found.stages) == found.seconds


def test_a_large_instance_is_solved_within_its_limits() -> None:
    problem = large_problem(random.Random(0), alike=True)
    found = best_pipeline(problem)
    assert found is not None
    assert seconds(problem, found.stages) == pytest.approx(found.seconds, rel=1e-12)


def test_how_much_memory_is_missing_is_said() -> None:
    problem = uniform([1.0] * 4, [1], [2], micro_batches=2, memory=[10], held=[9] * 4)
    assert best_pipeline(problem) is None
    assert memory_factor(problem) == pytest.approx(1.8, rel=0.01)
    assert "with 1.80 times the memory of each" in explain(problem, ["a", "b", "c", "d"])


def test_a_unit_that_fits_nowhere_is_named() -> None:
    problem = uniform([1.0] * 2, [1], [2], micro_batches=2, memory=[10], held=[9, 11 * 2**20])
    assert "Unit 'b' alone needs 11 MiB more than any device" in explain(problem, ["a", "b"])


def test_places_that_no_number_of_bytes_can_keep_are_said() -> None:
    problem = replace(
        uniform([1.0] * 3, [1, 1], [1, 1], micro_batches=2), allowed=((True, False, True), (False, True, False))
    )
    assert memory_factor(problem) is None
    assert "plan.place leaves no way" in explain(problem, ["a", "b", "c"])
