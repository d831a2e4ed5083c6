"""Cells separated by commas (CSV, in double quotes where needed) or by tabs (TSV, never in quotes)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.data.fields import Columns
from pipelines.data.rows import Found, Record
from pipelines.data.textfile import opened
from pipelines.errors import UserError


def read_csv(path: Path, columns: Columns) -> Iterator[Found]:
    """Yield a record for every line, or lines in quotes, that is not blank, or why it makes none: the number of cells.

    The first line names the columns, unless `data.columns` gives numbers: they count from 1, in a file without names.

    Raises:
        UserError: a file that is missing or not UTF-8, a broken record, or a column that is missing.
    """
    with opened(path, "r") as file:
        _allow_long_cells(path)
        reader = csv.reader(file, strict=True)
        yield from _records(reader, path, columns, "Put cells that hold commas or quotes in double quotes.")


def read_tsv(path: Path, columns: Columns) -> Iterator[Found]:
    """As `read_csv`, of lines. Columns are named as there.

    Raises:
        UserError: a file that is missing or not UTF-8, or a column that is missing.
    """
    with opened(path, "r") as file:
        _allow_long_cells(path)
        # As lines_of: only \n and \r\n end a line.
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
        yield from _records(reader, path, columns, "A cell of a TSV file holds no tab.")


def _allow_long_cells(path: Path) -> None:
    """A cell may be as long as the file; csv would refuse one of 128 KiB."""
    csv.field_size_limit(max(csv.field_size_limit(), path.stat().st_size + 1))


def _records(reader: Any, path: Path, columns: Columns, hint: str) -> Iterator[Found]:
    names: Sequence[str] | None = None
    places: dict[str, int] = {}
    while True:
        number = reader.line_num + 1
        place = f"{path}, line {number}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{place}: this record is not valid CSV ({error}). Correct it.") from None
        if cells is None:
            return
        if not cells:
            continue
        if names is None:
            nameless = bool(columns.named) and all(name.isdecimal() for name in columns.named.values())
            names = [str(n + 1) for n in range(len(cells))] if nameless else cells
            places = {role: names.index(name) for role, name in columns.choose(names, place=place).items()}
            if not nameless:
                continue
        if len(cells) != len(names):
            yield UserError(
                f"{place}: this record has {len(cells)} cells, but the first line has {len(names)} columns. {hint}"
            )
            continue
        yield Record({role: cells[at] for role, at in places.items()}, str(path), number, "line", written=True)
