"""Lines of a file or of standard input, with their ends, so that a text that is put together again is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.data.textfile import opened
from pipelines.errors import UserError

STANDARD_INPUT = "-"


def lines_in(file: str) -> Iterator[str]:
    """One line at a time; `-` is standard input.

    Raises:
        UserError: no such file, one that may not be read, or what is not UTF-8.
    """
    if file != STANDARD_INPUT:
        with opened(Path(file), "r") as lines:
            yield from lines
        return
    with open(0, encoding="utf-8", newline="", closefd=False) as lines:
        try:
            yield from lines
        except UnicodeDecodeError:
            raise UserError("Standard input is not UTF-8: convert it, with `iconv -t UTF-8` for example.") from None
