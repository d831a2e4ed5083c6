"""Which checkpoint a run goes on from, and which ones stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UserError
from pipelines.train.checkpoint import Checkpoint, candidates, in_folder, read_checkpoint, step_of
from pipelines.train.checkpoint_index import Damaged, read_index


@dataclass(frozen=True, slots=True)
class Chosen:
    checkpoint: Checkpoint
    passed_over: tuple[str, ...]
    """A sentence for each damaged one that would have been used before it."""


def choose(path: str | Path, *, digests: bool = True) -> Chosen:
    """The checkpoint that `path` means (its own folder, or the newest of a run's), or the newest good one before it.

    Args:
        digests: read every byte; else damage shows only in an index, or in a file's length.

    Raises:
        UserError: there is no checkpoint, it is not one of ours, or it is damaged and so are all before it.
    """
    found = candidates(path)
    wanted = found[-1]
    before = [one for one in in_folder(wanted.parent) if 0 <= step_of(one) < step_of(wanted)]
    known = [*before, *(one for one in found if one not in before)]
    damaged: list[str] = []
    for folder in reversed(known):
        try:
            checkpoint = read_checkpoint(folder)
            if digests:
                checkpoint.check(digests=True)
        except Damaged as error:
            damaged.append(f"{folder} is damaged: {error}.")
            continue
        return Chosen(
            checkpoint, tuple(f"The checkpoint {what} {checkpoint.folder} is used instead." for what in damaged)
        )
    raise UserError(
        f"No good checkpoint is left: {' '.join(damaged)} Give another one as checkpoint.resume, or begin afresh with "
        "checkpoint.resume=never and another run.output."
    )


def staying(scores: Sequence[tuple[int, float | None]], *, keep: int, keep_best: int) -> set[int]:
    """The steps whose checkpoints stay: the newest `keep`, and the `keep_best` with the highest scores.

    Of equal scores the earlier one: a later one has to be better to take its place.

    Args:
        scores: (step, micro F1 on dev, or None if it was not scored).
    """
    newest = sorted(step for step, _ in scores)[-keep:]
    ranked = sorted((-score, step) for step, score in scores if score is not None)
    return {*newest, *(step for _, step in ranked[:keep_best])}


def score_of(folder: Path) -> float | None:
    """What a checkpoint scored on dev; None if it was not scored or its index is damaged."""
    try:
        return read_index(folder).score
    except Damaged:
        return None
