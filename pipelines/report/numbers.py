"""How near predicted numbers come to the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.examples import Array


@dataclass(frozen=True, slots=True)
class NumberReport:
    pearson: float
    """Correlation, -1 to 1; 0 where one side does not vary."""
    spearman: float
    """The same of the ranks."""
    mean_absolute_error: float
    root_mean_squared_error: float
    """Both in the unit of the numbers."""
    rows: int

    @property
    def score(self) -> float:
        return self.pearson

    @property
    def score_name(self) -> str:
        return "Pearson correlation"

    def metrics(self, prefix: str) -> dict[str, float]:
        return {f"{prefix}/{name}": value for name, value in asdict(self).items() if name != "rows"}

    def table(self) -> str:
        return (
            f"Pearson {self.pearson:.4f}, Spearman {self.spearman:.4f}, mean absolute error "
            f"{self.mean_absolute_error:.4f}, root mean squared error {self.root_mean_squared_error:.4f}, "
            f"{self.rows} rows"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def draw(self, folder: Path) -> None:
        """Nothing: the figures say it."""


def number_report(gold: Sequence[float], answers: Array) -> NumberReport:
    """Compare numbers.

    Args:
        gold: of each row.
        answers: [rows].
    """
    from scipy.stats import rankdata

    true, said = np.asarray(gold, float), np.asarray(answers, float)
    return NumberReport(
        pearson=_correlation(true, said),
        spearman=_correlation(rankdata(true), rankdata(said)),
        mean_absolute_error=float(np.abs(true - said).mean()),
        root_mean_squared_error=float(np.sqrt(((true - said) ** 2).mean())),
        rows=len(true),
    )


def _correlation(a: Array, b: Array) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
