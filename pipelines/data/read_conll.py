"""CoNLL files: a word a line, its tag in the last column, a blank line after each sentence.

A line that holds a tab is split at tabs only, any other at ASCII spaces, so that a word may hold
no-break spaces and the like. Columns between the first and the last are not read. `-DOCSTART-` ends
a sentence and is not a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.data.fields import Columns
from pipelines.data.iob import is_tag
from pipelines.data.rows import Found, Record, quote
from pipelines.data.textfile import lines_of
from pipelines.errors import UserError

COLUMNS = ("tokens", "tags")


def read_conll(path: Path, columns: Columns) -> Iterator[Found]:
    """Yield a row for every sentence, and of a line without a word or a tag that it is one.

    Raises:
        UserError: a file that is missing or not UTF-8, or examples that are not words with tags.
    """
    chosen = columns.choose(COLUMNS, place=f"{path} (CoNLL, whose columns are {COLUMNS[0]!r} and {COLUMNS[1]!r})")
    width = _width(lines_of(path))
    words: list[str] = []
    tags: list[str] = []
    first = 0
    for number, line in enumerate(lines_of(path), 1):
        cells = _cells(line)
        if not cells or cells[0] == "-DOCSTART-":
            if words:
                yield _sentence(chosen, words, tags, path, first)
                words, tags = [], []
            continue
        if not words and _is_comment(line, cells, width):
            continue
        if cells[0].strip(" ") == "":
            yield UserError(f"{path}, line {number}: there is a tag but no word before it. Add the word.")
            continue
        if len(cells) == 1 or cells[-1] == "":
            yield UserError(
                f"{path}, line {number}: the word {quote(cells[0])} has no tag. Every line needs a word, a tab and a "
                "tag (O, B-TYPE or I-TYPE); a blank line ends a sentence."
            )
            continue
        if not words:
            first = number
        words.append(cells[0])
        tags.append(cells[-1])
    if words:
        yield _sentence(chosen, words, tags, path, first)


def _sentence(chosen: Mapping[str, str], words: list[str], tags: list[str], path: Path, first: int) -> Record:
    found = dict(zip(COLUMNS, (words, tags), strict=True))
    return Record({role: found[name] for role, name in chosen.items()}, str(path), first, "line", word_a_line=True)


def _cells(line: str) -> list[str]:
    if line.strip(" \t") == "":
        return []
    if "\t" in line:
        cells = line.split("\t")
        cells[-1] = cells[-1].strip(" ")
        return cells
    return re.split(" +", line.strip(" "))


def _width(lines: Iterator[str]) -> int:
    """How many columns the file's words have, by the first line that cannot be a comment; 0 when tabs part them."""
    for line in lines:
        cells = _cells(line)
        if cells and not line.startswith("#") and cells[0] != "-DOCSTART-":
            return 0 if "\t" in line else len(cells)
    return 2


def _is_comment(line: str, cells: list[str], width: int) -> bool:
    """Whether a line before a sentence is a comment (`# text = ...`) and not the word `#` with its tag."""
    if not line.startswith("# ") or "\t" in line:
        return False
    return len(cells) != width or not is_tag(cells[-1])
