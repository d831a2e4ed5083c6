"""Text that is written piece by piece, masked while it is written.

written   |........ said .........|........ held back .........|  what comes next
                                   ^ a word's beginning: nothing personal goes over it
"""

from __future__ import annotations

import re

from pipelines.inference.masking.answers import Masking
from pipelines.inference.masking.finding import Finding
from pipelines.inference.masking.replacing import mask

REACH = 128
"""Code points behind its first digit after which a number is one or is none, whatever follows: the longest one has 34
digits and letters with spaces between, and a word that says what it is stands at most 16 behind it."""
LEAD = 16
"""Code points before a number that may belong to it: `+ (`, the letters of an account's country."""
LONGEST_WORD = 320
"""Code points without a break that are held back: finders read 256 before an `@`."""
# No comma and no full stop of Chinese stands in anything personal, nor white space, but between the groups of numbers.
_BREAK = re.compile(r"[\s,;\u3001\u3002\uff0c\uff1a\uff1b\uff1f\u201c\u201d\u300a-\u300d]")
_DIGIT = re.compile(r"\d")
# The local part of a mail address may be a text in quotes.
_QUOTE = re.compile('["\uff02][^"\uff02\n]{0,64}["\uff02]?$')


class MaskedStream:
    """Holds text back until it can no longer be the beginning of something personal.

    At most some 500 code points are held back, or as much as one piece of personal data is long. What is said is
    together what masking the whole text gives.
    """

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._values = masking.values()
        self._text = ""
        self._said = 0

    def add(self, piece: str) -> str:
        """What may be said now that this piece is written; often nothing."""
        self._text += piece
        until = self._settled()
        if until <= self._said:
            return ""
        found = self._masking.found(self._text)
        for one in reversed(found):
            # What ends here may go on.
            if one.start < until <= one.end:
                until = one.start
        return self._say(until, found)

    def rest(self) -> str:
        """What is left when nothing more is written."""
        return self._say(len(self._text), self._masking.found(self._text))

    def _say(self, until: int, found: list[Finding]) -> str:
        begin = self._said
        if until <= begin:
            return ""
        self._said = until
        inside = [
            Finding(one.kind, max(one.start, begin) - begin, min(one.end, until) - begin)
            for one in found
            if one.start < until and one.end > begin
        ]
        return mask(self._text[begin:until], inside, self._masking.key).text

    def _settled(self) -> int:
        """The place up to which nothing that follows can make, or change, a finding."""
        text, end = self._text, len(self._text)
        digit = _DIGIT.search(text, max(0, end - REACH))
        number = max(0, (end if digit is None else digit.start()) - LEAD)
        until = min(self._word(end), self._word(number))
        if quote := _QUOTE.search(text, max(0, end - 66)):
            until = min(until, quote.start())
        return min(until, end - max((self._begun(value) for value in self._values), default=0))

    def _word(self, place: int) -> int:
        """Where the word begins that `place` is in, or is the end of."""
        first = max(0, place - LONGEST_WORD)
        breaks = [found.end() for found in _BREAK.finditer(self._text, first, place)]
        return breaks[-1] if breaks else first

    def _begun(self, value: str) -> int:
        """How many of the last code points are the beginning of a value that must not be repeated."""
        return next((n for n in range(min(len(value), len(self._text)), 0, -1) if self._text.endswith(value[:n])), 0)
