"""Whether a run may go on from a checkpoint: only the same run may, on whatever plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan.left_open import decided
from pipelines.run_folder import is_finished
from pipelines.train.checkpoint import Checkpoint

MAY_CHANGE = {"epochs", "max_steps", "patience", "max_new_tokens", "generate", "poisoned"}
"""Of `train`."""


def lasting(config: Config) -> dict[str, Any]:
    """What a resumed run may not change: it would not be the same run. Plan and length may change, what is written for
    an evaluation, and what becomes of a poisoned step: whoever was stopped by one may go on without it."""
    # Of what is not used, checkpoints say nothing: there are such from before it could be.
    others = ("ewc", "distil", "adversarial", "contrastive", "keep_zeros")
    nothing = {name for name in others if not getattr(config.train, name)}
    return {
        "seed": config.run.seed,
        "adapter": None if config.adapter is None else config.adapter.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude=MAY_CHANGE | nothing),
        # Threads are the plan's.
        "devices": {name: part.model_dump(mode="json", exclude={"threads"}) for name, part in config.devices.items()}
        or None,
    }


def difference(config: Config, before: Config) -> str | None:
    """In what a config and that of an earlier run would make two runs; None if one may go on where the other ended.

    Plan and length may change, and what is recorded, served or kept; what the new config leaves open is as it was.
    """
    train = before.train
    if train.micro_batches != "auto":
        config = decided(config, micro_batches=train.micro_batches, recompute=train.recompute is True)
    now, then = (
        _flat(
            {
                "run": {"name": one.run.name},
                "model": one.model.model_dump(mode="json"),
                "data": one.data.model_dump(mode="json", exclude={"shards", "memory", "scratch"}),
                **lasting(one),
            }
        )
        for one in (config, before)
    )
    for key in sorted(now.keys() | then.keys()):
        if now.get(key) != then.get(key):
            return f"{key} is {then.get(key)!r} there, and {now.get(key)!r} here"
    return None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return flat


def as_before(config: Config, start: Checkpoint) -> Config:
    """The config of a resumed run, with what it leaves open to a planner as it was in the checkpoint's run."""
    before = start.facts.get("train") or {}
    return decided(config, **{name: before[name] for name in ("micro_batches", "recompute") if name in before})


def check_changes(config: Config) -> None:
    """Refuse what `checkpoint.changes` and `checkpoint.stop_after` cannot do.

    Raises:
        UserError: says which setting, and what to do.
    """
    if config.checkpoint.changes and config.checkpoint.resume in ("auto", "never"):
        raise UserError(
            "checkpoint.changes says in what the run may differ from the one that it goes on from, and "
            f"checkpoint.resume={config.checkpoint.resume} names none. Give checkpoint.resume a checkpoint's folder, "
            "or leave checkpoint.changes out."
        )
    if config.checkpoint.stop_after is not None and config.plan.strategy == "data":
        raise UserError("checkpoint.stop_after needs the strategy `pipeline`: remove one of it and plan.strategy=data.")


def check_same(start: Checkpoint, facts: Mapping[str, Any], changes: Collection[str] = ()) -> None:
    """Compare what the checkpoint was made with to what this run has.

    Args:
        changes: keys of the config in which they may differ.

    Raises:
        UserError: names the first fact that differs.
    """
    before, now = (_without(changes, one) for one in (start.facts, facts))
    for name, value in now.items():
        if before.get(name) != value:
            raise UserError(
                f"The checkpoint {start.folder} comes from another run: its {name} is {before.get(name)!r}, "
                f"this run's is {value!r}. Use the config it was made with, or begin afresh with "
                "checkpoint.resume=never."
            )


def _without(keys: Collection[str], facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return {
        name: _without(keys, value, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in facts.items()
        if f"{prefix}{name}" not in keys
    }


def check_unfinished(start: Checkpoint, num_steps: int, folder: Path | None, *, stop_step: int | None = None) -> None:
    """Check that there is something left to do.

    A run that was killed between its last step and its end is finished in its own folder.

    Args:
        folder: where this run goes.
        stop_step: where it is to stop before its end.

    Raises:
        UserError: the checkpoint is at or behind the run's end, or where it is to stop.
    """
    if stop_step is not None and start.step >= stop_step:
        raise UserError(
            f"The checkpoint {start.folder} has done {start.step} steps, and checkpoint.stop_after stops the run after "
            f"{stop_step}: there is nothing to do. Raise checkpoint.stop_after or leave it out."
        )
    own = folder is not None and start.folder.absolute().is_relative_to(folder.absolute()) and not is_finished(folder)
    if start.step > num_steps or (start.step == num_steps and not own):
        raise UserError(
            f"The checkpoint {start.folder} has done {start.step} steps, and this run ends after {num_steps}: "
            "there is nothing to do. Raise train.epochs or train.max_steps, or begin afresh with "
            "checkpoint.resume=never and another run.output."
        )
