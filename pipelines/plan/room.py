"""What a stage may still take on, so that what it has taken on can always be ended."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDING = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Room:
    """In whatever is counted: bytes, or activations."""

    kept: Sequence[float]
    """By a micro-batch from its forward to its backward, by chunk."""
    noted: Sequence[float]
    """By a micro-batch until its weight gradients are computed, by chunk."""
    limit: Sequence[float]
    """Of each stage."""


class Holding:
    """How far a stage's chunks are, and what it holds for that."""

    def __init__(self, chunks: Sequence[int], part_ends: Sequence[int], room: Room | None, limit: float) -> None:
        """
        Args:
            part_ends: behind which micro-batches the parts of the weight gradients end, counted from 1.
        """
        self.chunks = chunks
        self.forwards = dict.fromkeys(chunks, 0)
        self.backwards = dict.fromkeys(chunks, 0)
        self.weighed = dict.fromkeys(chunks, 0)
        """How many micro-batches have their weight gradients."""
        self._ends, self._room, self._limit = part_ends, room, limit * ROUNDING
        self._notes = room is not None and any(room.noted[c] for c in chunks) and bool(part_ends)
        self._gives_back = room is None or all(room.noted[c] <= room.kept[c] for c in chunks)
        self._largest = 0.0 if room is None else sum(max(room.kept[c], room.noted[c]) for c in chunks)
        self._held = 0.0

    def forward(self, c: int) -> None:
        self.forwards[c] += 1
        if self._room is not None:
            self._held += self._room.kept[c]

    def backward(self, c: int) -> None:
        self.backwards[c] += 1
        if self._room is not None:
            self._held += self._room.noted[c] - self._room.kept[c]

    def weights(self, c: int, end: int) -> None:
        if self._room is not None:
            self._held -= self._room.noted[c] * (end - self.weighed[c])
        self.weighed[c] = end

    def may_forward(self, c: int) -> bool:
        """Whether it may take on the next micro-batch.

        Only if all that is under way could then be ended, the oldest micro-batch first and every part of the weight
        gradients as soon as it is complete, within the limit. So there is always a way on (Dijkstra's banker, 1965):
        of the oldest micro-batch that is under way anywhere, the next action is allowed, wherever it is due.
        """
        if self._room is None:
            return True
        self.forwards[c] += 1
        fits = self._can_end(self._held + self._room.kept[c])
        self.forwards[c] -= 1
        return fits

    def may_backward(self, c: int) -> bool:
        """As `may_forward`: what is noted may be more than what was kept."""
        if self._room is None or not self._notes:
            return True
        self.backwards[c] += 1
        fits = self._can_end(self._held + self._room.noted[c] - self._room.kept[c])
        self.backwards[c] -= 1
        return fits

    def _can_end(self, held: float) -> bool:
        room, chunks, limit, ends = self._room, self.chunks, self._limit, self._ends
        assert room is not None
        if held > limit:
            return False
        first, last = min(self.backwards.values()), max(self.forwards.values())
        last = ends[bisect_left(ends, last)] if self._notes else last
        if self._largest * (last - min(self.weighed.values() if self._notes else self.backwards.values())) <= limit:
            # All of it together.
            return True
        if self._gives_back:
            # Until a forward is lacking there is only less and less.
            first = max(first, min(self.forwards.values()))
        backwards = {c: max(first, done) for c, done in self.backwards.items()}
        weighed = dict(self.weighed)
        for c in chunks:
            held += (room.noted[c] - room.kept[c]) * (backwards[c] - self.backwards[c])
            end = ends[bisect_right(ends, backwards[c]) - 1] if self._notes and backwards[c] >= ends[0] else 0
            if end > weighed[c]:
                held -= room.noted[c] * (end - weighed[c])
                weighed[c] = end
        for i in range(first, last):
            for c in chunks:
                if self.forwards[c] <= i:
                    held += room.kept[c]
            if held > limit:
                return False
            for c in reversed(chunks):
                if backwards[c] <= i:
                    held += room.noted[c] - room.kept[c]
                    if held > limit:
                        return False
            if self._notes and ends[bisect_left(ends, i + 1)] == i + 1:
                for c in chunks:
                    if weighed[c] <= i:
                        held -= room.noted[c] * (i + 1 - weighed[c])
                        weighed[c] = i + 1
        return True
