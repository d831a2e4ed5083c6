"""Folders that `datasets` saved (`save_to_disk`), and the rows of a data set in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.fields import Columns, names_of
from pipelines.data.rows import Record, quote
from pipelines.data.splits import NAMES, find_split
from pipelines.errors import UserError

if TYPE_CHECKING:
    import datasets


_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
)
"""Whatever `datasets` and Arrow meet where they take damaged text and bytes for features, files and rows."""


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved this folder, as one data set or as one for each split."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def saved_splits(folder: Path) -> list[str]:
    """Which of our splits a saved folder holds; a folder without splits is all train.

    Raises:
        UserError: its list of splits cannot be read.
    """
    listing = folder / "dataset_dict.json"
    if not listing.is_file():
        return ["train"]
    try:
        there = json.loads(listing.read_text(encoding="utf-8"))["splits"]
        return [split for split in NAMES if find_split(there, split, place=str(folder)) is not None]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{listing} does not list the splits. Save the data set anew with save_to_disk.") from None


def read_saved(folder: Path, split: str, columns: Columns) -> Iterator[Record]:
    """Yield the rows of one split; a folder that was saved without splits is any split that it is named for.

    Raises:
        UserError: a folder that `datasets` cannot load or that names files outside itself, a split that it lacks, or a
            missing column.
    """
    import datasets

    try:
        _stay_inside(folder)
        loaded = datasets.load_from_disk(str(folder))
        place = str(folder)
        if not isinstance(loaded, datasets.Dataset):
            loaded, place = pick_split(loaded, split, place=place), f"{folder}, {split}"
        # What flipped bits made of offsets would be followed, out of the file.
        loaded.data.validate(full=True)
        yield from dataset_rows(loaded, place=place, columns=columns)
    except UserError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or "it is damaged"
        raise UserError(f"`datasets` cannot load {folder}: {reason}. Save it anew with save_to_disk.") from None


def _stay_inside(folder: Path) -> None:
    """Refuse splits and files that are named by anything but their own name.

    Raises:
        UserError: names the file that says so.
    """
    listing, parts = folder / "dataset_dict.json", [folder]
    if listing.is_file() and not (folder / "state.json").is_file():
        names = json.loads(listing.read_bytes())["splits"]
        _refuse_ways(names, listing)
        parts = [folder / name for name in names]
    for part in parts:
        state = part / "state.json"
        _refuse_ways([entry["filename"] for entry in json.loads(state.read_bytes())["_data_files"]], state)


def _refuse_ways(names: list[str], said: Path) -> None:
    for name in names:
        if Path(name).name != name:
            raise UserError(
                f"{said} names {quote(name)}, which is no name of something in its own folder. Nothing else is read: "
                "save the data set anew with save_to_disk."
            )


def pick_split(splits: Mapping[str, datasets.Dataset], split: str, *, place: str) -> datasets.Dataset:
    """One split, also by its other names (`validation` for dev).

    Raises:
        UserError: there is no such split.
    """
    name = find_split(splits, split, place=place)
    if name is None:
        raise UserError(
            f"{place} has no {split} split; there are: {', '.join(splits) or 'none'}. "
            f"Name it {' or '.join(NAMES[split])}, or set data.{split} to another source."
        )
    return splits[name]


def dataset_rows(dataset: datasets.Dataset, *, place: str, columns: Columns) -> Iterator[Record]:
    """Yield every row.

    Raises:
        UserError: a column that is missing.
    """
    chosen = columns.choose(dataset.column_names, place=place)
    names = names_of(dataset.features.to_dict(), chosen)
    number = 0
    needed = dataset.select_columns(list(dict.fromkeys(chosen.values())))
    # A data set keeps the format it was saved with, and decoding would open the files that a cell names.
    for table in needed.with_format("arrow").iter(batch_size=1000):
        cells = table.to_pydict()
        for row in zip(*(cells[name] for name in chosen.values()), strict=True):
            number += 1
            yield Record(dict(zip(chosen, row, strict=True)), place, number, "row", names)
