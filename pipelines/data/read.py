"""Read one split, whatever it comes from, into checked rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pipelines.config import DataConfig
from pipelines.data.examples import SPLITS, Table
from pipelines.data.formats import format_of
from pipelines.data.hub import PREFIX, read_hub
from pipelines.data.kind import ExampleKind
from pipelines.data.read_datasets import is_saved, read_saved
from pipelines.data.rows import Found, Record
from pipelines.data.sources import listing, sources, split_files
from pipelines.data.textfile import existing
from pipelines.errors import UserError

__all__ = ["find_records", "read_split", "readable", "sources"]


def read_split(source: str, *, split: str, data: DataConfig, kind: ExampleKind) -> Table[Any]:
    """Read one split of a source: a file, a folder of files, a folder saved by `datasets`, or `hub:ID`.

    No row is left out: an unreadable one is an error.

    Raises:
        UserError: what was found, where, what is needed, and what to change: a missing file, column or
            split, an unknown format, text that is not UTF-8, a row that is not what the kind of example
            needs, a set without rows, or a hub that cannot be reached.
        ValueError: `split` is not train, dev or test.
    """
    found, named = find_records(source, split=split, data=data, kind=kind)
    return kind.table(readable(found), source=named, data=data)


def readable(found: Iterable[Found]) -> Iterator[Record]:
    """The records of a reader.

    Raises:
        UserError: the first that cannot be read.
    """
    for one in found:
        if isinstance(one, UserError):
            raise one
        yield one


def find_records(source: str, *, split: str, data: DataConfig, kind: ExampleKind) -> tuple[Iterator[Found], str]:
    """What a reader finds in one split of a source, not checked yet, and what it is read from, to begin a sentence.

    Raises:
        UserError, ValueError: as `read_split`, some of them while it is read.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; the splits are {', '.join(SPLITS)}")
    columns = kind.columns(data)
    if source.startswith(PREFIX):
        return read_hub(source, split, columns), f"The {split} split of {source}"
    path = existing(source)
    if path.is_dir() and is_saved(path):
        return read_saved(path, split, columns), f"The {split} split of {path}"
    if path.is_dir():
        files = split_files(path, data)
        if split not in files:
            raise UserError(
                f"The folder {path} has no {split} file; it holds: {listing(path)}. Set data.{split} to the "
                "file that is meant."
            )
        path = files[split]
    return format_of(path, data, kind).read(path, columns), f"The {split} file {path}"
