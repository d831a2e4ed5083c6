"""JSON lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.data.fields import Columns
from pipelines.data.rows import Found, Record
from pipelines.data.textfile import lines_of
from pipelines.errors import UserError


def read_jsonl(path: Path, columns: Columns) -> Iterator[Found]:
    """Yield a row for every line that is not blank, or why it makes none: it is no JSON object, or lacks a column.

    Raises:
        UserError: a file that is missing or not UTF-8.
    """
    for number, line in enumerate(lines_of(path), 1):
        if line.strip() == "":
            continue
        place = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            yield UserError(
                f"{place}: this line is not a JSON object. JSON lines hold one object on each line, for example "
                '{"tokens": ["Ada"], "ner_tags": ["B-PER"]}: correct the line, or write the file anew in this form.'
            )
            continue
        try:
            chosen = columns.choose(value, place=place)
        except UserError as error:
            yield error
            continue
        yield Record({role: value[name] for role, name in chosen.items()}, str(path), number, "line")
