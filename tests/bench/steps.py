"""What a run noted of each of its steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from pipelines.report.recorder import WARM_UP


@dataclass(frozen=True, slots=True)
class Step:
    begin: float
    """A time of the clock; so is `end`."""
    end: float
    predicted: float
    """Seconds."""
    busy: tuple[float, ...]
    """The part of the step that each stage worked."""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def steps_of(folder: Path, tracking_uri: str | None) -> tuple[dict[str, Any], list[Step]]:
    """The summary of the run in `folder`, and its steps but the first ones, which warm up."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    client, run_id = MlflowClient(tracking_uri), summary["mlflow"]["run_id"]
    took, thought = (client.get_metric_history(run_id, name) for name in ("step_seconds", "predicted_seconds"))
    stages = range(len(summary["plan"]["stages"]))
    busy = zip(*(client.get_metric_history(run_id, f"busy/stage_{j}") for j in stages), strict=True)
    steps = [
        Step(one.timestamp / 1e3 - one.value, one.timestamp / 1e3, other.value, tuple(share.value for share in shares))
        for one, other, shares in zip(took, thought, busy, strict=True)
    ]
    return summary, steps[WARM_UP:]


def seconds(steps: Sequence[Step]) -> float:
    """Of a step in the mean. Steps differ in size: only runs of the same steps are to be compared."""
    return sum(step.seconds for step in steps) / len(steps)


def predicted(steps: Sequence[Step]) -> float:
    """The same, as it was predicted."""
    return sum(step.predicted for step in steps) / len(steps)
