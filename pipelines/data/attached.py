"""Images and sound that a row holds, or names the file of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.data.rows import Record, kind_of, quote
from pipelines.errors import UserError


def attached(record: Record, role: str, what: str) -> Path | bytes:
    """A file's content, or a file that there is.

    A cell is the name of a file, from the folder that the data file is in; bytes; or both as `datasets` writes them,
    {"bytes": ..., "path": ...}, where bytes go first. Nothing outside of that folder is read.

    Args:
        what: what it is, in an error.

    Raises:
        UserError: none of these, no such file, or one outside of the folder.
    """
    found = record.values[role]
    held = found.get("bytes") if isinstance(found, Mapping) else found
    if isinstance(held, bytes):
        return held
    name = found.get("path") if isinstance(found, Mapping) else found
    if not isinstance(name, str) or not name:
        raise UserError(
            f"{record.place}: found {quote(found)} ({kind_of(found)}) where {what} belongs. Write the name of its "
            f"file, from the folder of the data file, or hold its bytes; or name its column (data.columns.{role})."
        )
    return _file(record, name, what)


def _file(record: Record, name: str, what: str) -> Path:
    data = Path(record.file)
    if not data.is_file():
        raise UserError(
            f"{record.place} names the file {quote(name)} in place of {what}. Here a row has to hold the bytes: load "
            "the data set with `datasets` where the files are, and save it anew."
        )
    try:
        folder = data.parent.resolve()
        path = (folder / name).resolve()
        inside, there = path.is_relative_to(folder), path.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, NUL or half a character in it, a ring of links
        inside, there = True, False
    if not inside:
        raise UserError(
            f"{record.place} names the file {quote(name)}, which is outside of {folder}. Nothing else is read: put the "
            "file there, and name it from there."
        )
    if not there:
        raise UserError(
            f"{record.place}: there is no file {quote(name)} in the folder of the data file, {folder}. Correct the "
            "name, or put the file there."
        )
    return path
