"""Copies of checkpoints at an address that fsspec knows: a bucket, a server, another disk.

    ADDRESS/RUN-FOLDER/checkpoints/step-00000400/    the same files; checkpoint.json last, and first when it is removed

A store of objects has no rename: what has no index there is not a checkpoint yet, or no longer one.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from pipelines.errors import UserError
from pipelines.report.summary import sync
from pipelines.train.checkpoint import CHECKPOINTS, Checkpoint, aside, place_of, step_of
from pipelines.train.checkpoint_index import INDEX, Damaged, Index, parse, read_index
from pipelines.train.checkpoint_write import put, sweep

_PROBE = ".motley-probe"


def is_address(place: str) -> bool:
    """Whether a place is an address and not a folder's path."""
    return "://" in place


@dataclass(frozen=True, slots=True)
class Remote:
    """A folder somewhere else."""

    address: str
    """As it was given."""
    files: Any
    """fsspec's file system."""
    path: str
    """Inside it."""

    def check_writable(self, key: str) -> None:
        """Write a few bytes and take them away again.

        Raises:
            UserError: that failed; names `key`, the setting.
        """
        probe = f"{self.path}/{_PROBE}"
        try:
            self.files.makedirs(self.path, exist_ok=True)
            self.files.pipe_file(probe, b"x")
            self.files.rm_file(probe)
        except Exception as error:  # Every protocol has errors of its own.
            raise UserError(f"{key}={self.address} cannot be written ({_short(error)}). {_MEND}") from None

    def steps(self, folder: str) -> dict[int, str]:
        """The whole checkpoints in a folder, by step."""
        named = {step_of(Path(path)): path for path in self.names(folder)}
        return {step: path for step, path in named.items() if step >= 0 and self.files.exists(f"{path}/{INDEX}")}

    def names(self, folder: str) -> list[str]:
        """The full names of what is in a folder; nothing if there is no such folder."""
        try:
            return [str(name).rstrip("/") for name in self.files.ls(folder, detail=False)]
        except FileNotFoundError:
            return []


def remote(address: str, key: str) -> Remote:
    """Open an address; `key` is the setting that it comes from.

    Raises:
        UserError: the protocol is unknown, its package is not installed, or there is a password in the address.
    """
    if re.match(r"[^/]*://[^/]*:[^/]*@", address):
        raise UserError(
            f"There is a password in {key}, which is stored with the run. Leave it out, and give it where the protocol "
            "looks for it: its environment variables, or a file in ~/.config/fsspec."
        )
    try:
        files, path = fsspec.url_to_fs(address)
    except ImportError as error:
        package = getattr(error.__cause__, "name", None) or str(error)
        raise UserError(
            f"{key}={address} needs the Python package {package}, which is not installed here. Install it "
            f"(pip install {package}) wherever runs are started, or give another address."
        ) from None
    except ValueError as error:
        known = ", ".join(f"{name}://" for name in ("s3", "gs", "abfs", "file", "sftp"))
        raise UserError(f"{key}={address}: {error}. Give an address such as {known}, or leave it out.") from None
    return Remote(address, files, str(path).rstrip("/"))


def mirror(there: Remote, run: Path, checkpoints: Sequence[Path]) -> None:
    """Make the copies of a run those of `checkpoints`: what is new is copied, then what is gone here is removed.

    Raises:
        Exception: whatever the protocol raises; what was copied stays, and the next call goes on.
    """
    base = f"{there.path}/{run.name}/{CHECKPOINTS}"
    # What another process did there is not in a list that was kept.
    there.files.invalidate_cache()
    for checkpoint in checkpoints:
        place = f"{base}/step-{step_of(checkpoint):08d}"
        text = (checkpoint / INDEX).read_bytes()
        index, copied = read_index(checkpoint), _index_of(there, place)
        if copied == index:
            continue
        # A score may have come after the files.
        if copied is None or copied.files != index.files:
            _remove(there, place)
            there.files.makedirs(place, exist_ok=True)
            for name in index.files:
                there.files.put_file(str(checkpoint / name), f"{place}/{name}")
        there.files.pipe_file(f"{place}/{INDEX}", text)
    kept = {step_of(checkpoint) for checkpoint in checkpoints}
    for name in there.names(base):
        if (step := step_of(Path(name))) >= 0 and step not in kept:
            _remove(there, name)


def _index_of(there: Remote, place: str) -> Index | None:
    try:
        return parse(there.files.cat_file(f"{place}/{INDEX}"))
    except (FileNotFoundError, Damaged):
        return None


def _remove(there: Remote, place: str) -> None:
    if there.files.exists(f"{place}/{INDEX}"):
        there.files.rm_file(f"{place}/{INDEX}")
    if there.files.exists(place):
        there.files.rm(place, recursive=True)


def fetch(address: str, run: Path) -> tuple[Path, tuple[str, ...]]:
    """Copy the checkpoint at an address (its own, or the newest of a run's) into a run's folder, byte for byte.

    Returns:
        Where it lies, and a sentence for each damaged one that would have been taken before it.

    Raises:
        UserError: there is none, none that is not damaged, or the address cannot be read.
    """
    there = remote(address, "checkpoint.resume")
    there.files.invalidate_cache()
    try:
        found = _candidates(there)
    except Exception as error:  # Every protocol has errors of its own.
        raise UserError(f"checkpoint.resume={address} cannot be read ({_short(error)}). {_MEND}") from None
    if not found:
        raise UserError(
            f"There is no checkpoint at checkpoint.resume={address}: neither a {INDEX} nor {CHECKPOINTS}/step-*. Give "
            "the address of a checkpoint, or of a run's copies: checkpoint.copy_to and the name of the run's folder."
        )
    damaged: list[str] = []
    for name in found:
        try:
            place = _take(there, name, run)
        except Damaged as error:
            damaged.append(f"{there.files.unstrip_protocol(name)} is damaged: {error}.")
            continue
        used = there.files.unstrip_protocol(name)
        return place, tuple(f"The checkpoint {what} {used} is used instead." for what in damaged)
    raise UserError(f"No good checkpoint is left at {address}: {' '.join(damaged)} Give another checkpoint.resume.")


def _candidates(there: Remote) -> list[str]:
    """What the address means, then those before it, newest first."""
    step = step_of(Path(there.path))
    if step < 0:
        found = there.steps(f"{there.path}/{CHECKPOINTS}") or there.steps(there.path)
        return [found[one] for one in sorted(found, reverse=True)]
    if not there.files.exists(there.path):
        return []
    found = there.steps(there.path.rpartition("/")[0])
    return [there.path, *(found[one] for one in sorted(found, reverse=True) if one < step)]


def _take(there: Remote, name: str, run: Path) -> Path:
    place = place_of(run, step_of(Path(name)))
    beside = aside(place, "writing")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        sweep(place.parent)
        beside.mkdir()
        try:
            text: bytes = there.files.cat_file(f"{name}/{INDEX}")
        except FileNotFoundError:
            raise Damaged(f"{INDEX} is missing") from None
        for file in (index := parse(text)).files:
            try:
                there.files.get_file(f"{name}/{file}", str(beside / file))
            except FileNotFoundError:
                raise Damaged(f"{file} is missing") from None
            sync(beside / file)
        (beside / INDEX).write_bytes(text)
        Checkpoint(beside, index).check(digests=True)
        sync(beside / INDEX)
        sync(beside)
        put(beside, place)
    except Damaged:
        raise
    except Exception as error:  # Of the disk here, or whatever the protocol raises.
        what = there.files.unstrip_protocol(name)
        raise UserError(f"The checkpoint {what} cannot be copied to {place} ({_short(error)}). {_MEND}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


_MEND = "Check the address, the network and the credentials."
