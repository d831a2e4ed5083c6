"""Rows that are there more than once: in one split, or in two."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pipelines.data.examples import LabelledText, Picture, Question, Sound, TaggedSentence, Translated
from pipelines.data.row_bytes import to_bytes
from pipelines.data.rows import Record

SHOWN = 10
"""Places of each kind that are told."""

ANSWERS: dict[type, dict[str, Any]] = {
    TaggedSentence: {"tags": ()},
    LabelledText: {"labels": (), "value": 0.0},
    Question: {"answers": ()},
    Translated: {"target": ""},
    Picture: {"label": "", "place": ""},
    Sound: {"label": "", "place": ""},
}
"""What of a row the model does not read, with nothing in its place. Of other rows it reads all."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Rows of a split that the model would read again."""

    split: str
    first_in: str
    """The split that has them first: the same one, or another."""
    rows: int
    other_answer: int
    """How many of them have another answer than the first."""
    places: tuple[str, ...]
    """Some of them, each with the place of the first."""


class Duplicates:
    """Rows as they come. Of each different one it holds two digests of 16 bytes and a place, not the row itself."""

    def __init__(self) -> None:
        self._first: dict[bytes, tuple[str, int, bytes]] = {}
        self._rows: Counter[tuple[str, str]] = Counter()
        self._other: Counter[tuple[str, str]] = Counter()
        self._places: dict[tuple[str, str], list[str]] = {}

    def add(self, split: str, record: Record, row: Any) -> None:
        """One more row."""
        answers = ANSWERS.get(type(row), {})
        question = _digest(replace(row, **answers) if answers else row)
        whole = _digest(replace(row, place="") if "place" in answers else row)
        first = self._first.setdefault(question, (split, record.number, whole))
        if first == (split, record.number, whole):
            return
        at = split, first[0]
        self._rows[at] += 1
        self._other[at] += whole != first[2]
        places = self._places.setdefault(at, [])
        if len(places) < SHOWN:
            places.append(f"{record.place} is {record.counted} {first[1]} of {first[0]}")

    @property
    def found(self) -> list[Repeated]:
        return [Repeated(*at, rows, self._other[at], tuple(self._places[at])) for at, rows in self._rows.items()]


def _digest(row: Any) -> bytes:
    digest = blake2b(digest_size=16)
    source = getattr(row, "source", None)
    if isinstance(source, Path):
        # Two files of the same bytes are the same image.
        with source.open("rb") as file:
            while part := file.read(2**20):
                digest.update(part)
        row = replace(row, source=b"")
    digest.update(to_bytes(row))
    return digest.digest()
