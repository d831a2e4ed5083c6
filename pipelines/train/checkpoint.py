"""Checkpoints: weights and optimizer state by fully qualified parameter name, in safetensors.

    checkpoints/step-00000400/
        checkpoint.json              what this is: step, facts, score, size and SHA-256 of every file
        weights-0.safetensors        NAME -> value           one file for each piece of a stage's state;
        optimizer-7.safetensors      NAME/KEY -> value       who reads need not be cut the same way

Here they are found and read; checkpoint_write.py writes them, checkpoint_choose.py says which is used and which stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipelines.data.rows import quote
from pipelines.errors import UserError
from pipelines.train.checkpoint_index import INDEX, Damaged, Index, check_files, read_index
from pipelines.train.loss_scale import NAME as LOSS_SCALE

CHECKPOINTS = "checkpoints"
"""The folder in a run's folder."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk, opened but not read."""

    folder: Path
    index: Index

    @property
    def step(self) -> int:
        """Updates of the weights that were done."""
        return self.index.step

    @property
    def facts(self) -> Mapping[str, Any]:
        """What must be the same in the run that goes on from here."""
        return self.index.facts

    def check(self, *, digests: bool) -> None:
        """Compare the files with the index, byte for byte or by their lengths alone.

        Raises:
            Damaged: a file is not what was written.
        """
        check_files(self.folder, self.index, digests=digests)

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

    def _read(self, prefix: str, keep: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
        for name in self.index.files:
            if not name.startswith(prefix):
                continue
            path = self.folder / name
            try:
                with safe_open(path, framework="pt") as file:
                    for key in file.keys():  # noqa: SIM118
                        if keep(key):
                            yield key, file.get_tensor(key)
            except SafetensorError as error:
                raise UserError(
                    f"The checkpoint file {path} is damaged ({error}). Resume from another checkpoint."
                ) from None


def place_of(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies in a run's folder."""
    return run / CHECKPOINTS / f"step-{step:08d}"


def aside(place: Path, why: str) -> Path:
    """The name beside a checkpoint's for what is being written, replaced or removed."""
    return place.with_name(f".{place.name}.{why}")


def saved(run: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    return in_folder(run / CHECKPOINTS)


def in_folder(place: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; whether they are damaged is not known yet.

    Where a checkpoint was to be replaced and its writer was killed between two renames, it is the old one.
    """
    found: dict[int, Path] = {}
    # `step-N` comes before `.step-N.replaced`.
    for folder in sorted(place.glob("*step-*"), reverse=True):
        if step_of(folder) >= 0 and folder.is_dir():
            found.setdefault(step_of(folder), folder)
    return [found[step] for step in sorted(found)]


def step_of(folder: Path) -> int:
    """The step in the name of a checkpoint's folder, -1 where there is none."""
    match = re.fullmatch(r"step-(\d+)|\.step-(\d+)\.replaced", folder.name)
    return -1 if match is None else int(match[1] or match[2])


def candidates(path: str | Path) -> list[Path]:
    """The checkpoint folder `path`, or those of the run's folder `path`, oldest first.

    Raises:
        UserError: there is none, or it is something else (a pickle, for example).
    """
    place = Path(path)
    try:
        return _candidates(place)
    except OSError as error:
        raise UserError(f"There is no checkpoint at {quote(str(path))}: {error.strerror}.") from None


def _candidates(place: Path) -> list[Path]:
    if place.is_file():
        raise UserError(
            f"{place} is a file; a checkpoint is a folder with a {INDEX} and safetensors files. "
            "Pickled checkpoints (.pt, .pth, .bin, .ckpt, .pkl) could run code and are never read."
        )
    if not place.is_dir():
        raise UserError(
            f"There is no checkpoint at {place}. Give a folder such as runs/NAME/checkpoints/step-00000100."
        )
    if (place / INDEX).is_file():
        return [place]
    found = saved(place) or in_folder(place)
    if not found and step_of(place) < 0:
        raise UserError(f"The folder {place} holds no checkpoint: neither a {INDEX} nor {CHECKPOINTS}/step-*.")
    return found or [place]


def read_checkpoint(folder: Path) -> Checkpoint:
    """Open the checkpoint `folder`, with all its files there and as long as they were.

    Raises:
        Damaged: says in which way.
    """
    checkpoint = Checkpoint(folder, read_index(folder))
    checkpoint.check(digests=False)
    return checkpoint


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint folder, or the newest checkpoint of a run's folder.

    Raises:
        UserError: there is none, it is not one of ours (a pickle, for example), or it is damaged.
    """
    folder = candidates(path)[-1]
    try:
        return read_checkpoint(folder)
    except Damaged as error:
        raise UserError(f"The checkpoint {folder} is damaged: {error}. Resume from another one.") from None
