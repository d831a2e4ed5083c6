"""Whether a run may go on from a checkpoint: only the same run may, on whatever plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan.left_open import decided
from pipelines.train.checkpoint import Checkpoint


def lasting(config: Config) -> dict[str, Any]:
    """What a resumed run may not change: it would not be the same run. Plan and length may change."""
    return {
        "seed": config.run.seed,
        "adapter": None if config.adapter is None else config.adapter.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude={"epochs", "max_steps"}),
        # Threads are the plan's.
        "devices": {name: part.model_dump(mode="json", exclude={"threads"}) for name, part in config.devices.items()}
        or None,
    }


def as_before(config: Config, start: Checkpoint) -> Config:
    """The config of a resumed run, with what it leaves open to a planner as it was in the checkpoint's run."""
    before = start.facts.get("train") or {}
    return decided(config, **{name: before[name] for name in ("micro_batches", "recompute") if name in before})


def check_same(start: Checkpoint, facts: Mapping[str, Any]) -> None:
    """Compare what the checkpoint was made with to what this run has.

    Raises:
        UserError: names the first fact that differs.
    """
    for name, value in facts.items():
        if start.facts.get(name) != value:
            raise UserError(
                f"The checkpoint {start.folder} comes from another run: its {name} is {start.facts.get(name)!r}, "
                f"this run's is {value!r}. Use the config it was made with, or start afresh without checkpoint.resume."
            )


def check_unfinished(start: Checkpoint, num_steps: int) -> None:
    """Check that there is something left to do.

    Raises:
        UserError: the checkpoint is at or behind the run's end.
    """
    if start.step >= num_steps:
        raise UserError(
            f"The checkpoint {start.folder} has done {start.step} steps, and this run ends after {num_steps}: "
            "there is nothing to do. Raise train.epochs or train.max_steps."
        )
