"""Writing checkpoints: whole or not at all, whenever the writer is killed or the disk is full.

    .step-N.writing     files, each synced; then checkpoint.json; then the folder, synced
    step-N              by a rename, which is synced too
    .step-N.replaced    the one that was there before, until the new one has its place; read if it has none
    .step-N.removing    one that is to go: renamed first, so that half of it is never taken for a checkpoint

What killed writers left is removed at the next save.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from pipelines.errors import UserError
from pipelines.report.summary import sync
from pipelines.train.checkpoint import CHECKPOINTS, aside, place_of, saved, step_of
from pipelines.train.checkpoint_index import INDEX, Entry, Index, read_index, render

State = tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
"""Weights and optimizer state, either of which may be empty."""


def save_checkpoint(
    run: Path, *, step: int, facts: Mapping[str, Any], parts: Iterable[State], score: float | None = None
) -> Path:
    """Write `run/checkpoints/step-N` from pieces of the stages' state.

    Checkpoints of later steps are removed then: they belong to a course that was left.

    Args:
        parts: taken one by one, so that only one piece need be in memory (twice, while it is written).
        score: micro F1 on dev of these weights, if they were scored.

    Raises:
        UserError: the disk is full or the folder cannot be written; names the last checkpoint, which is still there.
    """
    place = place_of(run, step)
    beside = aside(place, "writing")
    files: dict[str, Entry] = {}
    try:
        with _explained(run, step, beside):
            _make(place.parent)
            sweep(place.parent)
            beside.mkdir()
        for number, (weights, moments) in enumerate(parts):
            for prefix, tensors in (("weights", weights), ("optimizer", moments)):
                if tensors:
                    path = beside / f"{prefix}-{number}.safetensors"
                    with _explained(run, step, path):
                        files[path.name] = _write(path, save(dict(tensors), metadata={"format": "pt"}))
        with _explained(run, step, beside / INDEX):
            _write(beside / INDEX, render(Index(step, facts, files, score)))
            sync(beside)
        with _explained(run, step, place):
            put(beside, place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    for other in saved(run):
        if step_of(other) > step:
            remove(other)
    return place


def set_score(checkpoint: Path, score: float) -> None:
    """Write down how good the weights of a checkpoint are, where that is known only later."""
    beside = checkpoint / f".{INDEX}.writing"
    try:
        _write(beside, render(replace(read_index(checkpoint), score=score)))
        os.replace(beside, checkpoint / INDEX)
        sync(checkpoint)
    finally:
        beside.unlink(missing_ok=True)


def put(beside: Path, place: Path) -> None:
    """Give a whole checkpoint its place; one that is there already gives way only then.

    Raises:
        OSError: it cannot be renamed.
    """
    replaced = aside(place, "replaced")
    if place.exists():
        os.replace(place, replaced)
    os.replace(beside, place)
    sync(place.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint; what cannot be removed now is tried again at the next save."""
    going = aside(checkpoint, "removing")
    try:
        os.replace(checkpoint, going)
    except OSError:
        return
    shutil.rmtree(going, ignore_errors=True)


def sweep(checkpoints: Path) -> None:
    """Remove what killed writers left."""
    for left in (*checkpoints.glob(".step-*.writing"), *checkpoints.glob(".*step-*.removing")):
        shutil.rmtree(left, ignore_errors=True)
    for replaced in checkpoints.glob(".step-*.replaced"):
        if (checkpoints / f"step-{step_of(replaced):08d}").is_dir():
            shutil.rmtree(replaced, ignore_errors=True)


def _write(path: Path, content: bytes) -> Entry:
    """Write a file, on the disk when this returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Entry(len(content), hashlib.sha256(content).hexdigest())


def _make(checkpoints: Path) -> None:
    """Make the folder, its name on the disk."""
    if not checkpoints.is_dir():
        checkpoints.mkdir(parents=True, exist_ok=True)
        sync(checkpoints.parent)
        sync(checkpoints.parent.parent)


@contextmanager
def _explained(run: Path, step: int, what: Path) -> Iterator[None]:
    """Say of a failure to write what it means for the run."""
    try:
        yield
    except OSError as error:
        last = saved(run)
        kept = f"The last good checkpoint is still there: {last[-1]}" if last else "There is no checkpoint before it"
        raise UserError(
            f"The checkpoint of step {step} could not be saved: {what} cannot be written "
            f"({error.strerror or error}). {kept}. Make room, or let {run / CHECKPOINTS} be written, and submit the "
            "same command again: the run goes on by itself."
        ) from None
