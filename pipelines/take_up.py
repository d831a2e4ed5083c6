"""Where a run goes, and what it goes on from: a folder of its own, or that of an unfinished run of the same config.

run.output ──▶ free? ──▶ new          runs/NAME-*, newest first ──▶ unfinished, same, not held? ──▶ taken up
               unfinished, same? ──▶ taken up                       none ──▶ new
               held by a run that goes on, finished, or another's ──▶ refused
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from pipelines.config import Config, load_config
from pipelines.errors import UserError
from pipelines.run_folder import CONFIG, Busy, RunFolder, is_begun, is_finished, is_free
from pipelines.train.checkpoint import saved
from pipelines.train.checkpoint_choose import choose
from pipelines.train.checkpoint_copy import fetch, is_address
from pipelines.train.resume import difference

AUTO, NEVER = "auto", "never"
RUNS = Path("runs")
_AFRESH = "checkpoint.resume=never and another run.output begin afresh."


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is held for a run."""

    folder: RunFolder
    resume: str
    """`never`, or the folder of the checkpoint or run to go on from; an address until `fetched`."""
    notes: tuple[str, ...] = ()
    """What whoever started the run should know."""

    @property
    def path(self) -> Path:
        return self.folder.path

    def settle(self, config: Config) -> Config:
        """The config with what it goes on from."""
        checkpoint = config.checkpoint.model_copy(update={"resume": self.resume})
        return config.model_copy(update={"checkpoint": checkpoint})

    def fetched(self) -> Place:
        """With the checkpoint here, if it is to come from an address.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        if not is_address(self.resume):
            return self
        place, notes = fetch(self.resume, self.path)
        return replace(self, resume=str(place), notes=(*self.notes, *notes, f"{self.resume} was copied to {place}."))


def take_place(config: Config) -> Place:
    """Find the run's folder, make it if need be, and hold it.

    Raises:
        UserError: `run.output` cannot be used, or there is no checkpoint where `checkpoint.resume` says.
    """
    resume = config.checkpoint.resume
    if resume not in (AUTO, NEVER) and not is_address(resume):
        choose(resume, digests=False)
    if config.run.output is not None:
        return _in(Path(config.run.output).absolute(), config)
    notes: list[str] = []
    if resume == AUTO:
        for folder in _unfinished(config):
            try:
                return _taken_up(RunFolder(folder), AUTO, "Without run.output, checkpoint.resume=never begins afresh.")
            except Busy as busy:
                notes.append(f"A run of the same config is still going on in {folder} ({busy}); this is another one.")
    return Place(_new(config.run.name), NEVER if resume == AUTO else resume, tuple(notes))


def _in(path: Path, config: Config) -> Place:
    resume = config.checkpoint.resume
    own = resume not in (AUTO, NEVER) and not is_address(resume) and Path(resume).absolute().is_relative_to(path)
    if not own and not is_free(path):
        _check_same(path, config)
    try:
        folder = RunFolder(path)
    except Busy as busy:
        raise UserError(
            f"A run is still going on in {path} ({busy}). Wait for its end, stop it, or choose another run.output."
        ) from None
    if own or is_free(path):
        return Place(folder, NEVER if resume == AUTO else resume)
    try:
        # It may have come to its end before it was held.
        _check_same(path, config)
    except UserError:
        folder.release()
        raise
    return _taken_up(folder, resume, _AFRESH)


def _check_same(path: Path, config: Config) -> None:
    """Check that what is in the folder is this run, unfinished.

    Raises:
        UserError: says what it is.
    """
    what = f"The output folder {path} exists and is not empty"
    mend = "Choose another run.output"
    if saved(path):
        mend += f", or go on with the run in it: checkpoint.resume={path}"
    if not path.is_dir() or not is_begun(path):
        raise UserError(f"{what}. {mend}.")
    if is_finished(path):
        raise UserError(f"{what}: it holds a finished run. {mend}.")
    before = _config_of(path)
    differs = "a config that cannot be read" if before is None else difference(config, before)
    if differs is not None:
        raise UserError(f"{what}: it holds an unfinished run of another config ({differs}). {mend}.")
    assert before is not None
    # What goes on from elsewhere goes on with its own checkpoints when the same command comes again.
    if config.checkpoint.resume not in (AUTO, before.checkpoint.resume) or config.checkpoint.resume == NEVER:
        raise UserError(
            f"{what}: it holds an unfinished run, and checkpoint.resume={config.checkpoint.resume}. {mend}."
        )


def _config_of(folder: Path) -> Config | None:
    try:
        return load_config(str(folder / CONFIG))
    except UserError:
        return None


def _unfinished(config: Config) -> Iterator[Path]:
    """The folders of unfinished runs of the same config, the one that began last first."""
    begun = [folder.absolute() for folder in RUNS.glob(f"{config.run.name}-*") if is_begun(folder)]
    for folder in sorted(begun, key=lambda folder: (folder / CONFIG).stat().st_mtime_ns, reverse=True):
        before = None if is_finished(folder) else _config_of(folder)
        if before is not None and difference(config, before) is None:
            yield folder


def _taken_up(folder: RunFolder, resume: str, afresh: str) -> Place:
    found = saved(folder.path)
    if found:
        note = f"Going on with the unfinished run {folder.path}, whose newest checkpoint is {found[-1].name}. {afresh}"
        return Place(folder, str(folder.path), (note,))
    note = f"The run in {folder.path} ended before its first checkpoint; it begins anew there. {afresh}"
    return Place(folder, NEVER if resume == AUTO else resume, (note,))


def _new(name: str) -> RunFolder:
    """A folder that nobody has."""
    base = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for ending in chain([""], (f"-{number}" for number in count(2))):
        path = (RUNS / f"{base}{ending}").absolute()
        if path.exists():
            continue
        try:
            return RunFolder(path)
        except Busy:
            continue
    raise AssertionError("there is always another number")
