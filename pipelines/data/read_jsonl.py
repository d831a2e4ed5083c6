"""JSON lines: one object a line, with a list of words and a list of tags."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.columns import choose_columns, column_row
from pipelines.data.rows import Row
from pipelines.data.textfile import lines_of, read_text
from pipelines.errors import UserError


def read_jsonl(path: Path, data: DataConfig) -> Iterator[Row]:
    """Yield a row for every line that is not blank.

    Raises:
        UserError: a file that is missing or not UTF-8, a line that is not a JSON object, or a column
            that is missing or does not hold a list.
    """
    for number, line in enumerate(lines_of(read_text(path)), 1):
        if line.strip() == "":
            continue
        place = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise UserError(
                f"{place}: this line is not a JSON object. JSON lines hold one object on each line, for example "
                '{"tokens": ["Ada"], "ner_tags": ["B-PER"]}: correct the line, or write the file anew in this form.'
            )
        words, tags = choose_columns(value, data, place=place)
        yield column_row(value[words], value[tags], None, file=str(path), number=number, counted="line")
