"""International numbers of bank accounts (IBAN)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum import iban

from pipelines.inference.masking.reading import Reading

_SHORTEST, _LONGEST = 15, 34
_BEGIN = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}[ -]?[0-9]{2}(?=[ -]?[0-9A-Za-z])")
_GOES_ON = re.compile(r"(?:[ -]?[0-9A-Za-z]){11,30}")


def find_accounts(reading: Reading) -> Iterator[tuple[int, int]]:
    """Of the form of their country, with right check digits (ISO 7064 mod 97-10)."""
    text = reading.text
    for found in _BEGIN.finditer(text):
        rest = _GOES_ON.match(text, found.end())
        if rest is not None and (end := _end(text, found.start(), rest.end())) is not None:
            yield found.start(), end


def _end(text: str, start: int, end: int) -> int | None:
    """Words may follow: the longest account that ends with a word."""
    for stop in range(end, start + _SHORTEST - 1, -1):
        if stop < len(text) and text[stop].isascii() and text[stop].isalnum():
            continue
        # Whether banks of the country exist is not asked: a mistyped one is somebody's all the same.
        if iban.is_valid(text[start:stop], check_country=False):
            return stop
    return None
