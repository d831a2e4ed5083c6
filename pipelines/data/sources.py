"""Where each split comes from."""

from __future__ import annotations

from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.examples import SPLITS
from pipelines.data.formats import ENDINGS
from pipelines.data.hub import PREFIX, hub_splits
from pipelines.data.read_datasets import is_saved, saved_splits
from pipelines.data.splits import NAMES
from pipelines.data.textfile import existing
from pipelines.errors import UserError


def sources(data: DataConfig, *, needed: str = "train") -> dict[str, str]:
    """The source of each split that there is: an absolute path, or `hub:ID`; the `needed` one is always there.

    `data.train`, `data.dev` and `data.test` win over `data.path`. Paths become absolute because the
    processes that read them may run in another folder.

    Raises:
        UserError: a path that does not exist, or no source of the needed split.
    """
    found: dict[str, str] = {}
    if data.path is not None:
        found = _splits_in(data.path, data)
    for split, source in (("train", data.train), ("dev", data.dev), ("test", data.test)):
        if source is not None:
            found[split] = source if source.startswith(PREFIX) else str(existing(source).absolute())
    if needed not in found and data.path is None:
        what = "training data" if needed == "train" else f"{needed} split"
        raise UserError(
            f"There is no {what}: neither data.path nor data.{needed} is set. Set data.path to a folder or to hub:ID, "
            f"or data.{needed} to a file; `python -m jobs.addresses .data/addresses` fetches a small set to try."
        )
    if needed not in found:
        raise UserError(_not_there(data.path or "", needed))
    return {split: found[split] for split in SPLITS if split in found}


def train_source(path: str) -> str:
    """A file of training rows, or the training split of a folder or of `hub:ID`.

    Raises:
        UserError: there is none.
    """
    return sources(DataConfig(train=path) if Path(path).is_file() else DataConfig(path=path))["train"]


def split_files(folder: Path, data: DataConfig) -> dict[str, Path]:
    """The train, dev and test files in a folder, by their names without the ending.

    Raises:
        UserError: a split has more than one file.
    """
    found: dict[str, Path] = {}
    for split, names in NAMES.items():
        files = sorted(
            path
            for path in folder.iterdir()
            if path.stem in names and path.is_file() and (data.format != "auto" or path.suffix.lower() in ENDINGS)
        )
        if len(files) > 1:
            raise UserError(
                f"{folder} holds more than one {split} file: {', '.join(path.name for path in files)}. Keep one, or "
                f"name the one that is meant with data.{split}."
            )
        if files:
            found[split] = files[0]
    return found


def listing(folder: Path) -> str:
    """What a folder holds, in a few words."""
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) or "nothing") + more


def _splits_in(path: str, data: DataConfig) -> dict[str, str]:
    if path.startswith(PREFIX):
        return dict.fromkeys(hub_splits(path), path)
    folder = existing(path).absolute()
    if not folder.is_dir():
        raise UserError(
            f"data.path is the file {path}: it must be a folder or hub:ID. Set data.train to a file instead."
        )
    if is_saved(folder):
        return dict.fromkeys(saved_splits(folder), str(folder))
    return {split: str(file) for split, file in split_files(folder, data).items()}


def _not_there(path: str, split: str) -> str:
    if path.startswith(PREFIX):
        return f"{path} has no {split} split. Set data.{split} to another source."
    return (
        f"The folder {path} has no {split} file; it holds: {listing(Path(path).expanduser())}. Name the file {split} "
        f"with one of the endings {', '.join(ENDINGS)}, or set data.{split} to it."
    )
