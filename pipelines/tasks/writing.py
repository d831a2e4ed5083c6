"""Tasks whose models write texts: sub-word by sub-word, each the likeliest one, through the cut model.

Nothing is kept from one sub-word to the next: a text that is being written is read anew each time, as an example like
any other but without labels, and the head answers with the sub-word that comes next.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.data.batches import MicroBatch, evaluation_batches
from pipelines.data.examples import Encoded
from pipelines.tasks.token_task import TokenTask


@dataclass(frozen=True, slots=True)
class Asked:
    """A text that is to be written."""

    length: int
    """What the example costs before anything is written, in sub-words."""
    room: int
    """How many sub-words the model has positions for."""
    text: str
    """What ought to be written."""


class WritingTask(TokenTask):
    """A task that is also scored by what its model writes."""

    @abstractmethod
    def asked(self, row: Any, encoded: Encoded, max_length: int) -> Asked | None:
        """What is to be written for an example; None where nothing is."""

    @abstractmethod
    def resumed(self, encoded: Encoded, written: Sequence[int]) -> Encoded:
        """The example with what is written so far and without labels; the head answers it with the next sub-word."""

    @abstractmethod
    def text(self, processor: Any, written: Sequence[int]) -> str:
        """What sub-words say, without special ones."""


NextTokens = Callable[[Sequence[MicroBatch], Mapping[int, Sequence[int]]], Mapping[int, int]]
"""Of the examples of micro-batches, with what is written of each so far, the sub-words that come next."""


def write(
    asked: Mapping[int, Asked], next_tokens: NextTokens, *, most: int, ends: Sequence[int], token_budget: int
) -> dict[int, list[int]]:
    """Write all texts side by side; those that have come to their end are asked for no more.

    Args:
        asked: by the number of the example.
        most: sub-words of a text, at most.
        ends: sub-words that end a text; they are part of it.
        token_budget: most padded sub-words of a micro-batch.
    """
    written: dict[int, list[int]] = {row: [] for row in asked}
    unfinished = [row for row, one in asked.items() if one.room > 0]
    for length in range(most):
        if not unfinished:
            break
        lengths = [asked[row].length + length for row in unfinished]
        batches = [
            replace(batch, rows=tuple(unfinished[at] for at in batch.rows))
            for batch in evaluation_batches(lengths, token_budget=token_budget)
        ]
        found = next_tokens(batches, written)
        for row in unfinished:
            written[row].append(found[row])
        unfinished = [row for row in unfinished if found[row] not in ends and length + 1 < asked[row].room]
    return written
