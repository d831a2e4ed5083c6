"""A row as a reader found it, before a kind of example makes sense of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class Record:
    """The cells that a kind of example asked for, and where they stood."""

    values: Mapping[str, object]
    """By role; a role that may be left out is missing where its column is."""
    file: str
    number: int
    """The record's first line, or its place among the rows; counted from 1."""
    counted: Literal["line", "row"]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By role: what the class numbers of its column stand for, where the file says so."""
    word_a_line: bool = False
    """CoNLL: entry `i` of a list stands on line `number + i`."""
    written: bool = False
    """Every value is text as it was written (CSV): lists and numbers are still to be read from it."""

    @property
    def place(self) -> str:
        return f"{self.file}, {self.counted} {self.number}"

    def place_of(self, i: int) -> str:
        return f"{self.file}, line {self.number + i}" if self.word_a_line else f"{self.place}, word {i + 1}"


Found = Record | UserError
"""What a reader yields: a row, or why one cannot be read where those behind it can."""


def quote(value: object, limit: int = 40) -> str:
    """A short quotation: errors reach logs, and logs carry no long user text."""
    if isinstance(value, str):
        text = value[: limit + 1]
    else:
        try:
            text = str(value)[: limit + 1]
        except (RecursionError, ValueError):  # nested too deep, or too large a number
            text = f"<{type(value).__name__}>"
    return repr(text) if len(text) <= limit else repr(text[:limit]) + "..."


def kind_of(value: object) -> str:
    """The kind of a value in a word, for an error."""
    return "nothing" if value is None else type(value).__name__
