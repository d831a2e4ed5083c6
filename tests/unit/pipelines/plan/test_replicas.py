from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest

from pipelines.plan.divide import ways
from pipelines.plan.problem import Problem
from pipelines.plan.replicas import Exchange, best_replicas, lower_bound
from tests.bench.instances import by_trying, random_problem, seconds, uniform

FREE = Exchange(num_bytes=0, per_byte=0)


def test_ways_begin_with_equal_parts_then_with_whole_types() -> None:
    assert list(ways([2, 2], 2)) == [
        ((1, 1), (1, 1)),
        ((2, 0), (0, 2)),
        ((1, 2), (1, 0)),
        ((2, 1), (0, 1)),
    ]


def test_what_cannot_be_divided_evenly_goes_round() -> None:
    assert next(ways([3, 1], 2)) == ((2, 0), (1, 1))
    assert list(ways([1], 2)) == []


@pytest.mark.parametrize(("count", "number"), [((4,), 2), ((3, 2), 2), ((3, 2, 1), 3), ((2, 2, 2), 4)])
def test_no_way_is_left_out_and_none_comes_twice(count: tuple[int, ...], number: int) -> None:
    per_type = [[part for part in product(range(c + 1), repeat=number) if sum(part) == c] for c in count]
    expected = {tuple(sorted(zip(*given, strict=True), reverse=True)) for given in product(*per_type)}
    expected = {way for way in expected if all(sum(part) for part in way)}
    found = list(ways(count, number))
    assert len(found) == len(expected)
    assert set(found) == expected


def test_two_equal_devices_are_two_replicas_when_links_are_slow_and_the_exchange_is_not() -> None:
    problem = uniform([1.0] * 4, [1], [2], micro_batches=8, latency=5.0, crossing=(1, 1))
    found = best_replicas(problem, FREE)
    assert found is not None
    # 4 micro-batches each: 4 times 12 s.
    assert [replica.num_micro_batches for replica in found.replicas] == [4, 4]
    assert found.seconds == 48
    assert found.all_ways


def test_a_slow_exchange_leaves_one_replica() -> None:
    problem = uniform([1.0] * 4, [1], [2], micro_batches=8, latency=5.0, crossing=(1, 1))
    # 10 s there and back for two replicas and one server, of which each sends half a second's worth a byte.
    assert Exchange(num_bytes=10, per_byte=0.25).seconds(2) == 10
    assert Exchange(num_bytes=10, per_byte=0.25, num_servers=2).seconds(2) == 5
    found = best_replicas(problem, Exchange(num_bytes=1000, per_byte=1))
    assert found is not None
    assert len(found.replicas) == 1


def test_the_faster_replica_gets_more_micro_batches() -> None:
    problem = uniform([1.0], [1, 3], [1, 1], micro_batches=8)
    found = best_replicas(problem, FREE)
    assert found is not None
    assert [(r.pipeline.stages[0][0], r.num_micro_batches) for r in found.replicas] == [(0, 6), (1, 2)]
    assert found.seconds == 18


def test_a_model_that_fills_all_devices_has_one_replica() -> None:
    problem = uniform([1.0] * 4, [1], [2], micro_batches=8, memory=[2], held=[1] * 4, latency=5.0, crossing=(1, 1))
    found = best_replicas(problem, FREE)
    assert found is not None
    assert len(found.replicas) == 1
    assert best_replicas(problem, FREE, numbers=[2]) is None


def test_nothing_that_fits_is_said() -> None:
    assert best_replicas(uniform([1.0], [1], [2], micro_batches=2, memory=[1], held=[2]), FREE) is None


def test_ways_that_were_not_looked_at_are_owned_up_to() -> None:
    found = best_replicas(uniform([1.0] * 3, [1, 2], [2, 2], micro_batches=4), FREE, most_ways=1)
    assert found is not None
    assert not found.all_ways


def shares(total: int, number: int) -> list[tuple[int, ...]]:
    return [given for given in product(range(1, total + 1), repeat=number) if sum(given) == total]


def by_trying_replicas(problem: Problem, exchange: Exchange) -> float | None:
    best: float | None = None
    times: dict[tuple[tuple[int, ...], int], float | None] = {}
    for number in range(1, min(sum(problem.count), problem.num_micro_batches) + 1):
        for way in ways(problem.count, number):
            for given in shares(problem.num_micro_batches, number):
                for key in zip(way, given, strict=True):
                    if key not in times:
                        times[key] = by_trying(replace(problem, count=key[0], num_micro_batches=key[1]))
                slowest = [times[key] for key in zip(way, given, strict=True)]
                fine = [value for value in slowest if value is not None]
                if len(fine) == number and (best is None or max(fine) + exchange.seconds(number) < best):
                    best = max(fine) + exchange.seconds(number)
    return best


@pytest.mark.parametrize("seed", range(8))
def test_no_division_that_is_tried_is_better(seed: int) -> None:
    chance = random.Random(seed)
    problem = random_problem(chance)
    while len(problem.may_cut) > 4 or problem.num_micro_batches > 4:
        problem = random_problem(chance)
    problem = replace(problem, memory=tuple(4 * limit for limit in problem.memory), num_micro_batches=5)
    exchange = Exchange(num_bytes=10, per_byte=chance.choice([0, 0.05, 0.5]), num_servers=chance.choice([1, 2]))
    expected, found = by_trying_replicas(problem, exchange), best_replicas(problem, exchange)
    if found is None:
        assert expected is None
        return
    assert found.seconds == pytest.approx(expected, rel=1e-12)
    assert sum(replica.num_micro_batches for replica in found.replicas) == 5
    for replica in found.replicas:
        mine = replace(problem, num_micro_batches=replica.num_micro_batches)
        assert seconds(mine, replica.pipeline.stages) == pytest.approx(replica.pipeline.seconds, rel=1e-12)


def test_the_lower_bound_is_one() -> None:
    chance = random.Random(3)
    for _ in range(100):
        problem = random_problem(chance)
        best = by_trying(problem)
        if best is not None:
            assert lower_bound(problem, problem.count, problem.num_micro_batches) <= best * (1 + 1e-12)
