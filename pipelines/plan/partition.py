"""Which units sit together: cut a row of costs into pieces whose largest is as small as possible."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise


def solve(costs: Sequence[float], num_chunks: int) -> list[int]:
    """The index of the first unit of each chunk after the first; exact, O(chunks * units^2).

    The largest chunk is as cheap as can be; among such cuts the first ones found are the earliest.
    `solve([1, 2, 3, 4, 5, 6], 2) == [4]`: 1+2+3+4 against 5+6.

    Raises:
        ValueError: fewer units than chunks.
    """
    n = len(costs)
    if not 1 <= num_chunks <= n:
        raise ValueError(f"{n} units do not make {num_chunks} chunks")
    total = [0.0, *accumulate(costs)]
    # best[i]: the smallest possible largest chunk when the first i units make k chunks.
    best = [float("inf") if i == 0 else total[i] for i in range(n + 1)]
    choices: list[list[int]] = []
    for _ in range(num_chunks - 1):
        following, choice = [float("inf")] * (n + 1), [0] * (n + 1)
        for i in range(1, n + 1):
            for start in range(1, i):
                largest = max(best[start], total[i] - total[start])
                if largest < following[i]:
                    following[i], choice[i] = largest, start
        best = following
        choices.append(choice)
    cut: list[int] = []
    end = n
    for choice in reversed(choices):
        end = choice[end]
        cut.insert(0, end)
    return cut


def cut_at(costs: Sequence[float], places: Sequence[int], num_chunks: int) -> list[int]:
    """As `solve`, but a chunk may begin at no other units than `places`.

    `cut_at([1, 2, 3, 4, 5, 6], [1, 3], 2) == [3]`.

    Raises:
        ValueError: too few places.
    """
    starts = [0, *places]
    pieces = [sum(costs[first:end]) for first, end in pairwise([*starts, len(costs)])]
    return [starts[piece] for piece in solve(pieces, num_chunks)]
