"""Numbers of payment cards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from stdnum import luhn

from pipelines.inference.masking.reading import BEFORE, BEHIND, Reading

# ISO/IEC 7812 gives each scheme first digits; the schemes give the lengths.
# (the first digits from, to, lengths)
_SCHEMES = (
    ("Visa", "4", "4", (13, 16, 19)),
    ("Mastercard", "51", "55", (16,)),
    ("Mastercard", "2221", "2720", (16,)),
    ("American Express", "34", "34", (15,)),
    ("American Express", "37", "37", (15,)),
    ("UnionPay", "62", "62", (16, 17, 18, 19)),
    ("UnionPay", "81", "81", (16, 17, 18, 19)),
    ("Discover", "6011", "6011", (16, 17, 18, 19)),
    ("Discover", "644", "659", (16, 17, 18, 19)),
    ("Diners Club", "300", "305", (14, 15, 16, 17, 18, 19)),
    ("Diners Club", "36", "36", (14, 15, 16, 17, 18, 19)),
    ("Diners Club", "38", "39", (14, 15, 16, 17, 18, 19)),
    *(("JCB", first, first, (15,)) for first in ("1800", "2131")),
    ("JCB", "3528", "3589", (16, 17, 18, 19)),
    *(
        ("Maestro", first, first, (12, 13, 14, 15, 16, 17, 18, 19))
        for first in ("5018", "5020", "5038", "5893", "6304")
    ),
    ("Maestro", "6759", "6763", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("Mir", "2200", "2204", (16, 17, 18, 19)),
    ("RuPay", "60", "60", (16,)),
    ("RuPay", "508", "508", (16,)),
    ("Troy", "9792", "9792", (16,)),
)
_SHORTEST, _LONGEST = 12, 19
_STRETCH = re.compile(rf"{BEFORE}[0-9](?:[ -]?[0-9]){{{_SHORTEST - 1},}}{BEHIND}")
_GROUP = re.compile("[0-9]+")


def find_cards(reading: Reading) -> Iterator[tuple[int, int]]:
    """Whole groups of digits that are a card's number: a date or a security code may stand beside it."""
    for stretch in _STRETCH.finditer(reading.text):
        groups = [found.span() for found in _GROUP.finditer(reading.text, *stretch.span())]
        first = 0
        while first < len(groups):
            last = _last_group(reading.text, groups, first)
            if last is None:
                first += 1
            else:
                yield groups[first][0], groups[last][1]
                first = last + 1


def _last_group(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """Where the longest card's number ends that begins with group `first`."""
    digits, longest = "", None
    for last in range(first, len(groups)):
        digits += text[slice(*groups[last])]
        if len(digits) > _LONGEST:
            break
        if is_card(digits):
            longest = last
    return longest


def is_card(digits: str) -> bool:
    """Whether a scheme gives out such numbers, and the last digit is right."""
    return len(digits) in _lengths(digits[:4]) and luhn.is_valid(digits)


@cache
def _lengths(first: str) -> frozenset[int]:
    """Of the cards that begin with these four digits."""
    return frozenset(
        length for _, low, high, lengths in _SCHEMES if low <= first[: len(low)] <= high for length in lengths
    )
