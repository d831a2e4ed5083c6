"""Ask the stages for their answers to a whole split."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cluster.data_crew import DataCrew, Refs
from cluster.fleet import Fleet
from pipelines.data.batches import MicroBatch, evaluation_batches

GROUP = 16
"""Micro-batches evaluated by one call."""

AHEAD = 2
"""Calls on their way while the answers to an earlier one are read."""


class Evaluation:
    """Forward passes over a split, without training."""

    def __init__(self, data: DataCrew, fleet: Fleet, *, token_budget: int) -> None:
        self._data, self._fleet, self._token_budget = data, fleet, token_budget
        self._calls = 0

    def answers(self, split: str, lengths: Sequence[int]) -> dict[int, Any]:
        """To each row of a split what the head answers.

        Args:
            lengths: of the split's rows, in sub-words.
        """
        batches = evaluation_batches(lengths, token_budget=self._token_budget)
        return self.run(batches, partial(self._data.hand_out, split))

    def run(self, batches: Sequence[MicroBatch], hand_out: Callable[[Sequence[MicroBatch]], Refs]) -> dict[int, Any]:
        """To each row of micro-batches what the head answers.

        Args:
            hand_out: lets the data shards send what they hold of some micro-batches.
        """
        answers: dict[int, Any] = {}
        waiting: deque[tuple[Sequence[MicroBatch], Any]] = deque()

        def land() -> None:
            group, refs = waiting.popleft()
            for batch, rows in zip(group, self._fleet.finish_evaluation(refs), strict=True):
                answers.update(zip(batch.rows, rows, strict=True))

        for at in range(0, len(batches), GROUP):
            group = batches[at : at + GROUP]
            # Negative, so that no message of an evaluation is taken for one of a step.
            self._calls -= 1
            waiting.append((group, self._fleet.start_evaluation(self._calls, hand_out(group))))
            if len(waiting) > AHEAD:
                land()
        while waiting:
            land()
        return answers
