"""CSV with a header: the words' and the tags' cell hold JSON lists, or both are separated by spaces."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.columns import choose_columns, column_row
from pipelines.data.rows import Row
from pipelines.data.textfile import read_text
from pipelines.errors import UserError

LONGEST = 18
"""Digits of what may be the number of a class; nothing has more classes than fit into 64 bits."""


def read_csv(path: Path, data: DataConfig) -> Iterator[Row]:
    """Yield a row for every record that is not blank.

    Raises:
        UserError: a file that is missing or not UTF-8, a broken record, or a column that is missing or
            holds neither a JSON list nor entries separated by spaces.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header: list[str] | None = None
    places = (0, 0)
    while True:
        number = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{path}, line {number}: this record is not valid CSV ({error}). Correct it.") from None
        if record is None:
            return
        if not record:
            continue
        if header is None:
            header = record
            words, tags = choose_columns(header, data, place=f"{path}, line {number}")
            places = (header.index(words), header.index(tags))
            continue
        place = f"{path}, line {number}"
        if len(record) != len(header):
            raise UserError(
                f"{place}: this record has {len(record)} cells, but the header names {len(header)} columns. "
                "Put cells that hold commas or quotes in double quotes."
            )
        word_list, tag_list = _lists(record[places[0]], record[places[1]], place)
        yield column_row(word_list, tag_list, None, file=str(path), number=number, counted="line")


def _lists(words: str, tags: str, place: str) -> tuple[object, object]:
    # The tags decide: no tag opens with a bracket, while a sentence may.
    if not tags.lstrip().startswith("["):
        return _split(words), [int(tag) if tag.isdecimal() and len(tag) <= LONGEST else tag for tag in _split(tags)]
    try:
        return json.loads(words), json.loads(tags)
    except (ValueError, RecursionError):
        raise UserError(
            f"{place}: the tags open like a list, but the words or the tags are not valid JSON. Write both as JSON "
            'lists (["B-PER", "O"], in double quotes), or both as entries separated by spaces.'
        ) from None


def _split(cell: str) -> list[str]:
    return [part for part in cell.split(" ") if part]
