"""Cut raw text into the words a model was trained on, and remember where each one stood."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from pipelines.errors import UserError
from pipelines.inference.facts import FILE, read_facts

Punctuation = Literal["attached", "separate"]
"""`attached`: a word keeps its comma (`Main St.,`); `separate`: the comma is a word (CoNLL)."""

# Scripts written without spaces; Hangul is not among them, Korean has spaces.
_IDEOGRAPH = re.compile(
    "[\u3005-\u3007\u3040-\u3098\u309b-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
# CoNLL leaves the full stop on these; U.S. and the J. of J. Smith are found by their shape.
_ABBREVIATIONS = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "gen", "sen", "rep", "gov", "st", "ave", "inc", "corp", "co", "ltd", "jr", "sr")
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")
_CLITIC = re.compile(r"(?:n['\u2019]t|['\u2019](?:s|re|ve|ll|d|m))$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it stands in its text: `text[start:end]`, counted in code points."""

    text: str
    start: int
    end: int


def split_words(text: str, *, punctuation: Punctuation = "separate") -> list[Word]:
    """The words of `text` in order; white space belongs to none of them, every other character to one."""
    words: list[Word] = []
    for start, end in _chunks(text):
        spans = [(start, end)] if punctuation == "attached" else _separate(text, start, end)
        words.extend(Word(text[start:end], start, end) for start, end in spans)
    return words


def read_punctuation(folder: Path) -> Punctuation:
    """How the model in `folder` wants its words; `separate` when it does not say.

    Raises:
        UserError: `task.json` is not a JSON object, or names neither of the two ways.
    """
    value = read_facts(folder).get("punctuation", "separate")
    if value not in get_args(Punctuation):
        raise UserError(f'{folder / FILE} must hold {{"punctuation": "attached"}} or {{"punctuation": "separate"}}.')
    return cast(Punctuation, value)


def _chunks(text: str) -> Iterator[tuple[int, int]]:
    """Spans between white space; a character of a script without spaces is a span by itself."""
    start = 0
    for i, character in enumerate(text):
        if character.isspace():
            if start < i:
                yield start, i
            start = i + 1
        elif _IDEOGRAPH.match(character):
            if start < i:
                yield start, i
            end = _after_marks(text, i + 1)
            yield i, end
            start = end
    if start < len(text):
        yield start, len(text)


def _separate(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Peel punctuation and symbols off both ends of one chunk, and a clitic (`'s`, `n't`) off what is left."""
    if _CLITIC.fullmatch(text, start, end):
        return [(start, end)]
    pieces = list(_pieces(text, start, end))
    first, last = 0, len(pieces)
    while first < last and _is_sign(text[pieces[first][0]]):
        first += 1
    core = pieces[first][0] if first < last else end
    while (
        first < last and _is_sign(text[pieces[last - 1][0]]) and not _keeps_full_stop(text, core, pieces[last - 1][1])
    ):
        last -= 1
    if first == last:
        return pieces
    stop = pieces[last - 1][1]
    middle = [(core, stop)]
    if (clitic := _CLITIC.search(text, core, stop)) and clitic.start() > core:
        middle = [(core, clitic.start()), (clitic.start(), stop)]
    return [*pieces[:first], *middle, *pieces[last:]]


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """One chunk's signs, each by itself, and what lies between them."""
    plain = start
    while start < end:
        if not _is_sign(text[start]):
            start += 1
            continue
        if plain < start:
            yield plain, start
        stop = _sign_end(text, start, end)
        yield start, stop
        plain = start = stop
    if plain < end:
        yield plain, end


def _sign_end(text: str, start: int, end: int) -> int:
    """Where the sign that begins at `start` ends: `...` and an emoji of several code points are one."""
    stop = _after_marks(text, start + 1)
    while stop < end and (text[stop] == text[start] or _joined(text, stop)):
        stop = _after_marks(text, stop + 1)
    return min(stop, end)


def _after_marks(text: str, i: int) -> int:
    """Skip what belongs to the character before: accents, variation selectors, skin tones, joiners."""
    while i < len(text) and (unicodedata.category(text[i]) in ("Mn", "Me") or text[i] == "\u200d" or _is_tone(text[i])):
        i += 1
    return i


def _joined(text: str, i: int) -> bool:
    return text[i - 1] == "\u200d" and _is_sign(text[i])


def _is_tone(character: str) -> bool:
    return "\U0001f3fb" <= character <= "\U0001f3ff"


def _is_sign(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def _keeps_full_stop(text: str, start: int, end: int) -> bool:
    if _INITIALS.fullmatch(text, start, end):
        return True
    return text[end - 1] == "." and end - start < 6 and text[start : end - 1].lower() in _ABBREVIATIONS
