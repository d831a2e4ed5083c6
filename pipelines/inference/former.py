"""Which of the inputs that wait go through the model together.

Always the oldest; with it those whose lengths are so near that padding them costs less than a pass of their own.

    waiting, by length    3 4 4 |9 9 10 [11] 11 12| 40 41 300      [ ] the oldest, | | what shares its pass
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.inference.pass_cost import PassCost


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """An input by what it costs."""

    length: int
    """Sub-words of its longest piece."""
    number: int
    """Those that came before have smaller ones."""
    pieces: int = 1
    """Rows that it takes of a pass."""


class Former:
    """Holds what waits, and takes a pass's worth at a time."""

    def __init__(self, *, most: int) -> None:
        """`most`: inputs in one pass."""
        self._most = most
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        insort(self._waiting, waiting)

    def drop(self, waiting: Waiting) -> None:
        """Of what waits."""
        del self._waiting[bisect_left(self._waiting, waiting)]

    def seconds(self, cost: PassCost) -> float:
        """What it takes until all that waits has been through the model, if nothing is padded."""
        if not self._waiting:
            return 0.0
        rows = sum(one.pieces * cost.row(one.length) for one in self._waiting)
        tokens = sum(one.pieces * one.length for one in self._waiting)
        return rows + cost.fixed * max(1.0, tokens / cost.best_tokens)

    def next_seconds(self, cost: PassCost) -> float:
        """What the next pass takes; 0 if none waits."""
        first, stop = self._span(cost)
        return pass_seconds(self._waiting[first:stop], cost)

    def num_passes(self, cost: PassCost) -> float:
        """How many full passes what waits would make."""
        tokens = sum(one.pieces * one.length for one in self._waiting)
        return max(tokens / cost.best_tokens, len(self._waiting) / self._most)

    def is_full(self, cost: PassCost) -> bool:
        """Whether the next pass could take no more."""
        first, stop = self._span(cost)
        return stop - first < len(self._waiting) or stop - first == self._most

    def take(self, cost: PassCost) -> list[int]:
        """The numbers of those whose turn it is; none if none waits.

        Args:
            cost: of who computes the pass. It has no more padded sub-words than `best_tokens`, but for an input that
                alone has more.
        """
        first, stop = self._span(cost)
        taken = self._waiting[first:stop]
        del self._waiting[first:stop]
        return [one.number for one in taken]

    def _span(self, cost: PassCost) -> tuple[int, int]:
        """From the oldest on to both sides, the neighbour that costs less padding first."""
        waiting = self._waiting
        if not waiting:
            return 0, 0
        first = min(range(len(waiting)), key=lambda i: waiting[i].number)
        stop, rows = first + 1, waiting[first].pieces
        while stop - first < self._most:
            sides = []
            longest = waiting[stop - 1].length
            if first > 0:
                shorter = waiting[first - 1]
                pads = shorter.pieces * (cost.row(longest) - cost.row(shorter.length))
                sides.append((pads, rows + shorter.pieces, longest, (first - 1, stop)))
            if stop < len(waiting):
                longer = waiting[stop]
                pads = rows * (cost.row(longer.length) - cost.row(longest))
                sides.append((pads, rows + longer.pieces, longer.length, (first, stop + 1)))
            fits = [side for side in sides if _fits(cost, *side[:3])]
            if not fits:
                break
            _, rows, _, (first, stop) = min(fits)
        return first, stop


def pass_seconds(together: Sequence[Waiting], cost: PassCost) -> float:
    """What a pass of these takes, padded to the longest of them."""
    if not together:
        return 0.0
    return cost.fixed + cost.row(max(one.length for one in together)) * sum(one.pieces for one in together)


def _fits(cost: PassCost, padding: float, rows: int, longest: int) -> bool:
    return padding <= cost.fixed and rows * longest <= cost.best_tokens
