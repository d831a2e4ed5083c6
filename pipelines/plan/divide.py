"""Ways to divide devices among replicas, the most even first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

Way = tuple[tuple[int, ...], ...]
"""Of every replica, how many devices of each type it gets; most first, since replicas are interchangeable."""


def ways(count: Sequence[int], num_replicas: int) -> Iterator[Way]:
    """Every way to hand out all devices so that each replica gets at least one.

    First as even as can be, then whole types of device to each replica, then what differs from these by one device and
    so on, the most even first: `next(ways([4, 2], 2)) == ((2, 1), (2, 1))`.

    Args:
        count: devices of each type.
    """
    if sum(count) < num_replicas:
        return
    first = [_even(count, num_replicas), *_by_type(count, num_replicas)]
    seen = set(first)
    heap = [(rank, way) for rank, way in enumerate(dict.fromkeys(first), start=-len(first))]
    heapq.heapify(heap)
    while heap:
        _, way = heapq.heappop(heap)
        yield way
        for other in _next_to(way):
            if other not in seen:
                seen.add(other)
                heapq.heappush(heap, (_unevenness(other), other))


def _even(count: Sequence[int], num_replicas: int) -> Way:
    """Equal parts, and what is left over of all types in turn."""
    parts = [[number // num_replicas for number in count] for _ in range(num_replicas)]
    turn = 0
    for k, number in enumerate(count):
        for _ in range(number % num_replicas):
            parts[turn % num_replicas][k] += 1
            turn += 1
    return _sorted(parts)


def _by_type(count: Sequence[int], num_replicas: int) -> Iterator[Way]:
    """All devices of a type to one replica, in every way that leaves none without."""
    types = [k for k, number in enumerate(count) if number]

    def groups(at: int, parts: list[list[int]]) -> Iterator[Way]:
        if len(types) - at < num_replicas - len(parts):
            return
        if at == len(types):
            yield _sorted([[count[k] if k in part else 0 for k in range(len(count))] for part in parts])
            return
        for part in parts:
            part.append(types[at])
            yield from groups(at + 1, parts)
            part.pop()
        if len(parts) < num_replicas:
            yield from groups(at + 1, [*parts, [types[at]]])

    yield from groups(0, [])


def _next_to(way: Way) -> Iterator[Way]:
    """One device moved from one replica to another."""
    for i, giver in enumerate(way):
        if sum(giver) < 2:
            continue
        for j in range(len(way)):
            for k, number in enumerate(giver):
                if j != i and number:
                    parts = [list(part) for part in way]
                    parts[i][k] -= 1
                    parts[j][k] += 1
                    yield _sorted(parts)


def _sorted(parts: Sequence[Sequence[int]]) -> Way:
    return tuple(sorted(map(tuple, parts), reverse=True))


def _unevenness(way: Way) -> int:
    """How far the replicas' numbers of each type are from their mean, squared, times the number of replicas."""
    squares = sum(number * number for part in way for number in part)
    totals: list[int] = [sum(numbers) for numbers in zip(*way, strict=True)]
    return len(way) * squares - sum(total * total for total in totals)
