import random
from itertools import combinations, pairwise

import pytest

from pipelines.plan.partition import cut_at, solve


def test_the_largest_chunk_is_as_small_as_can_be() -> None:
    assert solve([1, 2, 3, 4, 5, 6], 2) == [4]
    assert solve([1, 1, 1, 1], 4) == [1, 2, 3]
    assert solve([9, 1, 1, 1], 2) == [1]
    assert solve([5], 1) == []


def test_it_is_never_worse_than_any_other_cut() -> None:
    chance = random.Random(0)
    for _ in range(100):
        costs = [chance.randint(0, 20) for _ in range(chance.randint(1, 8))]
        chunks = chance.randint(1, len(costs))

        def largest(cut: tuple[int, ...], costs: list[int] = costs) -> int:
            return max(sum(costs[a:b]) for a, b in pairwise([0, *cut, len(costs)]))

        best = min(largest(cut) for cut in combinations(range(1, len(costs)), chunks - 1))
        assert largest(tuple(solve(costs, chunks))) == best


def test_more_chunks_than_units_are_refused() -> None:
    with pytest.raises(ValueError, match="2 units do not make 3 chunks"):
        solve([1, 1], 3)


def test_chunks_begin_nowhere_but_at_the_given_places() -> None:
    assert cut_at([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5], 2) == solve([1, 2, 3, 4, 5, 6], 2) == [4]
    assert cut_at([1, 2, 3, 4, 5, 6], [1, 3], 2) == [3]
    assert cut_at([1, 2, 3, 4, 5, 6], [1, 3], 3) == [1, 3]
    with pytest.raises(ValueError, match="2 units do not make 3 chunks"):
        cut_at([1, 2, 3], [1], 3)
