"""A text with its personal data replaced, and the way back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.inference.masking.finding import Finding, merge
from pipelines.inference.masking.tokens import SEALED, label, seal, unseal

LITERAL = "text"
"""The kind of what looked like a token before anything was masked."""


@dataclass(frozen=True, slots=True)
class Replaced:
    kind: str
    start: int
    end: int
    """In the raw text, in code points."""
    masked_start: int
    masked_end: int
    """In the masked text."""


@dataclass(frozen=True, slots=True)
class Masked:
    text: str
    replaced: tuple[Replaced, ...]
    """In the order of the text."""

    def masked_span(self, start: int, end: int) -> tuple[int, int]:
        """Where `raw[start:end]` is in the masked text; a token that it has a part in belongs to it whole."""
        pairs = [(one.start, one.end, one.masked_start, one.masked_end) for one in self.replaced]
        return _translated(start, end, pairs)

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` is in the raw text; what a token stands for belongs to it whole."""
        pairs = [(one.masked_start, one.masked_end, one.start, one.end) for one in self.replaced]
        return _translated(start, end, pairs)


def mask(text: str, found: Iterable[Finding], key: bytes | None = None) -> Masked:
    """Tokens in place of what was found: `[EMAIL]`, or with a key `[EMAIL:...]`, which `unmask` reads.

    With a key, what looks like such a token in the raw text is sealed as well, so that every text comes back.
    """
    found = list(found)
    if key is not None:
        found += [Finding(LITERAL, *literal.span()) for literal in SEALED.finditer(text)]
    pieces: list[str] = []
    replaced: list[Replaced] = []
    done = length = 0
    for one in merge(found, {}):
        value = text[one.start : one.end]
        token = label(one.kind) if key is None else seal(one.kind, value, key)
        begin = length + one.start - done
        pieces += [text[done : one.start], token]
        done, length = one.end, begin + len(token)
        replaced.append(Replaced(one.kind, one.start, one.end, begin, length))
    return Masked("".join([*pieces, text[done:]]), tuple(replaced))


def unmask(text: str, key: bytes) -> str:
    """The raw text of a text that was masked with this key; a text without tokens is its own.

    Raises:
        UserError: a token that another key made, or that was changed.
    """
    return SEALED.sub(lambda token: unseal(token[1], token[2], key), text)


def _translated(start: int, end: int, pairs: list[tuple[int, int, int, int]]) -> tuple[int, int]:
    begins = [pair[0] for pair in pairs]
    return _place(start, begins, pairs, to_end=False), _place(end, begins, pairs, to_end=True)


def _place(place: int, begins: list[int], pairs: list[tuple[int, int, int, int]], *, to_end: bool) -> int:
    # The end of a span is behind its last code point: a token that begins there has no part in the span.
    i = bisect_right(begins, place - 1 if to_end else place) - 1
    if i < 0:
        return place
    _, end, other_start, other_end = pairs[i]
    if place < end:
        return other_end if to_end else other_start
    return place - end + other_end
