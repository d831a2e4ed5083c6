"""The scores of a split, whatever the task."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Report(Protocol):
    """What a run tells, tracks and draws of a split's answers."""

    @property
    def score(self) -> float:
        """The one figure by which checkpoints and runs are compared; the higher the better."""

    @property
    def score_name(self) -> str:
        """What it is, in a picture or a table: `F1`."""

    def metrics(self, prefix: str) -> dict[str, float]:
        """`PREFIX/NAME`, named as MLflow allows."""

    def table(self) -> str:
        """What a person reads on a terminal."""

    def to_json(self) -> dict[str, Any]:
        """A tree of dicts, lists and numbers that `json.dumps` takes."""

    def draw(self, folder: Path) -> None:
        """Its pictures, into a folder that there is; none where there is nothing to see."""
