"""Checkpoints: weights and optimizer state by fully qualified parameter name, in safetensors.

    checkpoints/step-00000400/
        checkpoint.json              what this is: step, seed, labels, which file holds which part
        weights-0.safetensors        NAME -> value           one file for each piece of a stage's state;
        optimizer-7.safetensors      NAME/KEY -> value       who reads need not be cut the same way

A checkpoint appears whole or not at all: it is written beside its place, synced, and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipelines.errors import UserError
from pipelines.train.loss_scale import NAME as LOSS_SCALE

INDEX = "checkpoint.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk, opened but not read."""

    folder: Path
    step: int
    """Updates of the weights that were done."""
    facts: Mapping[str, Any]
    """What must be the same in the run that goes on from here."""

    def weights(self, names: Iterable[str] | None = None) -> Iterator[tuple[str, Tensor]]:
        """The named parameters (all when left out), each read when it is asked for."""
        wanted = None if names is None else set(names)
        return self._read("weights-", lambda key: wanted is None or key in wanted)

    def moments(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's state of the named parameters, and the loss scale, which belongs to none.

        Each tensor is read when it is asked for.
        """
        wanted = {*names, LOSS_SCALE}
        return self._read("optimizer-", lambda key: key.rpartition("/")[0] in wanted)

    def _read(self, prefix: str, keep: Any) -> Iterator[tuple[str, Tensor]]:
        for path in sorted(self.folder.glob(f"{prefix}*.safetensors")):
            try:
                with safe_open(path, framework="pt") as file:
                    for key in file.keys():  # noqa: SIM118
                        if keep(key):
                            yield key, file.get_tensor(key)
            except SafetensorError as error:
                raise UserError(
                    f"The checkpoint file {path} is damaged ({error}). Resume from another checkpoint."
                ) from None


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint folder, or the newest checkpoint of a run's folder.

    Raises:
        UserError: there is none, or it is not one of ours (a pickle, for example).
    """
    place = Path(path)
    if place.is_file():
        raise UserError(
            f"{place} is a file; a checkpoint is a folder with a {INDEX} and safetensors files. "
            "Pickled checkpoints (.pt, .pth, .bin, .ckpt, .pkl) could run code and are never read."
        )
    if not place.is_dir():
        raise UserError(
            f"There is no checkpoint at {place}. Give a folder such as runs/NAME/checkpoints/step-00000100."
        )
    if not (place / INDEX).is_file():
        newest = saved(place)
        if not newest:
            raise UserError(f"The folder {place} holds no checkpoint: neither a {INDEX} nor checkpoints/step-*.")
        place = newest[-1]
    try:
        index = json.loads((place / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise UserError(f"The checkpoint {place} has format {index['format']}; this version reads {FORMAT}.")
        checkpoint = Checkpoint(place, int(index["step"]), index["facts"])
        missing = [name for name in index["files"] if not (place / name).is_file()]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"The checkpoint {place} is damaged: its {INDEX} cannot be read ({error}).") from None
    if missing:
        raise UserError(f"The checkpoint {place} is damaged: {', '.join(missing)} is missing. Resume from another one.")
    return checkpoint


def save_checkpoint(
    run: Path,
    *,
    step: int,
    facts: Mapping[str, Any],
    parts: Iterable[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]],
    keep: int,
) -> Path:
    """Write `run/checkpoints/step-N` from pieces of the stages' state, and drop all but the newest `keep`.

    `parts` gives (weights, optimizer state), either of which may be empty. It is taken one by one, so that only one
    piece need be in memory.
    """
    place = run / "checkpoints" / f"step-{step:08d}"
    beside = place.with_name(f".{place.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    files = []
    for number, (weights, moments) in enumerate(parts):
        for prefix, tensors in (("weights", weights), ("optimizer", moments)):
            if not tensors:
                continue
            name = f"{prefix}-{number}.safetensors"
            save_file(dict(tensors), beside / name, metadata={"format": "pt"})
            _sync(beside / name)
            files.append(name)
    index = {"format": FORMAT, "step": step, "facts": dict(facts), "files": files}
    (beside / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
    _sync(beside / INDEX)
    shutil.rmtree(place, ignore_errors=True)
    os.replace(beside, place)
    _sync(place.parent)
    for old in saved(run)[:-keep]:
        shutil.rmtree(old)
    return place


def saved(run: Path) -> list[Path]:
    """The run's whole checkpoints, oldest first."""
    return sorted(p.parent for p in run.glob(f"checkpoints/step-*/{INDEX}"))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
