"""Plain text: a document a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.data.fields import Columns
from pipelines.data.rows import Record
from pipelines.data.textfile import lines_of


def read_lines(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield a record with the one column `text` for every line that is not blank.

    Raises:
        UserError: a file that is missing or not UTF-8, or examples that need more than a text.
    """
    chosen = columns.choose(["text"], place=f"{path} (plain text, whose lines are the column 'text')")
    for number, line in enumerate(lines_of(path), 1):
        if line.strip():
            yield Record(dict.fromkeys(chosen, line), str(path), number, "line", written=True)
