"""What tasks share whose targets are sub-words: no classes of their own, and scores that are sums over targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.examples import Array, Encoded
from pipelines.tasks.task import Task

if TYPE_CHECKING:
    from pipelines.report.tokens import TokenReport


class TokenTask(Task):
    """The head answers as pipelines/tasks/token_scores.py has it: -log p, how many are right, how many there are."""

    def gold(self, row: Any, encoded: Encoded) -> None:
        """Nothing: the answers say how near they come."""

    def tally(self, gold: Any, answer: Array, labels: Sequence[str]) -> tuple[float, ...]:  # noqa: ARG002
        """Targets that are right, and all."""
        return float(answer[1]), float(answer[2])

    def score_of(self, sums: Array) -> Array:
        """Token accuracy."""
        accuracy: Array = sums[..., 0] / np.maximum(sums[..., 1], 1)
        return accuracy

    def wrongness(self, gold: Any, answer: Array, labels: Sequence[str]) -> float:  # noqa: ARG002
        """The mean of -log p."""
        return float(answer[0]) / max(1.0, float(answer[2]))

    def told(self, gold: Any, answer: Array, labels: Sequence[str]) -> tuple[str, str]:  # noqa: ARG002
        """How many sub-words there were, and how many of them were foretold."""
        return f"{int(answer[2])} sub-words", f"{int(answer[1])} of them"

    def report(self, gold: Sequence[Any], answers: Sequence[Array], labels: Sequence[str]) -> TokenReport:  # noqa: ARG002
        from pipelines.report.tokens import token_report

        return token_report(answers)
