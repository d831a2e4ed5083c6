"""When a run has got no better for so long that it ends, with the best weights that it had (`train.patience`)."""

from __future__ import annotations

from pathlib import Path

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.train.checkpoint import saved, step_of
from pipelines.train.checkpoint_choose import score_of
from pipelines.train.checkpoint_write import remove


def check_patience(config: Config) -> None:
    """Refuse what cannot go together with it.

    Raises:
        UserError: says which setting, and why.
    """
    if config.train.patience is None:
        return
    if config.plan.strategy == "data":
        raise UserError("train.patience needs the strategy `pipeline`: remove one of it and plan.strategy=data.")
    if not config.checkpoint.keep_best:
        raise UserError("train.patience ends a run with its best checkpoint: checkpoint.keep_best must be 1 or more.")


def best_step(run: Path) -> int | None:
    """The step of the checkpoint with the highest score, of equal ones the first; None where none was scored."""
    scores = [(score, -step_of(path)) for path in saved(run) if (score := score_of(path)) is not None]
    return -max(scores)[1] if scores else None


def is_tired(run: Path, *, done: int, steps_per_epoch: int, patience: int) -> bool:
    """Whether so many epochs have gone by since the best checkpoint."""
    best = best_step(run)
    return best is not None and done - best >= patience * steps_per_epoch


def forget_after(run: Path, step: int) -> None:
    """Remove the checkpoints behind a step: who goes on from here goes on from that one."""
    for path in saved(run):
        if step_of(path) > step:
            remove(path)
