"""How well sub-words were foretold, each from what stands around it or before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.examples import Array

LARGEST = 700.0
"""e to the power of more is no number."""


@dataclass(frozen=True, slots=True)
class TokenReport:
    accuracy: float
    """Share of the targets whose likeliest sub-word is the true one."""
    loss: float
    """Mean of -log p of the true sub-word, over all targets; the natural logarithm, without label smoothing."""
    perplexity: float
    """e to the power of that."""
    targets: int

    @property
    def score(self) -> float:
        return self.accuracy

    @property
    def score_name(self) -> str:
        return "token accuracy"

    def metrics(self, prefix: str) -> dict[str, float]:
        return {f"{prefix}/{name}": value for name, value in asdict(self).items() if name != "targets"}

    def table(self) -> str:
        return f"perplexity {self.perplexity:.4f}, token accuracy {self.accuracy:.4f}, {self.targets} targets"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def draw(self, folder: Path) -> None:
        """Nothing: the figures say it."""


def token_report(answers: Sequence[Array]) -> TokenReport:
    """Add up examples.

    Args:
        answers: of each the sum of -log p, how many were right, and how many targets there were: [3].
    """
    sums = [math.fsum(column) for column in np.asarray(answers, float).reshape(-1, 3).T.tolist()]
    count = max(1.0, sums[2])
    loss = sums[0] / count
    return TokenReport(
        accuracy=sums[1] / count, loss=loss, perplexity=math.exp(min(loss, LARGEST)), targets=int(sums[2])
    )
