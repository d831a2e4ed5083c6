"""A text as the finders of personal data read it: one way of writing a digit, a dash or a space, and no escapes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

# Letters and digits of ASCII end a number: a part of a hash is none. A decimal point inside digits does, too.
BEFORE = r"(?<![0-9A-Za-z])(?<![0-9]\.)"
"""Where a number may begin. Chinese is written without spaces, so that other letters may stand before it."""
BEHIND = r"(?![0-9A-Za-z])(?!\.[0-9])"
"""Where a number may end."""

# Scripts whose words are not separated by spaces (Chinese, Japanese, Thai), or that put endings behind a name (Korean).
TOGETHER = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""For a class of a pattern: where these stand, nobody can say by the letters where a word ends."""

_BEFORE_REACH, _BEHIND_REACH = 40, 16
"""Code points in which a cue is looked for: the words before a number name it more often than those behind it."""

# What JSON, Python's repr and URLs write in place of a character; logs hold texts in these forms.
_ESCAPED = re.compile(
    r"\\+(?:u(?P<four>[0-9a-fA-F]{4})|x(?P<two>[0-9a-fA-F]{2})|(?P<one>[nrtfvb]))|%(?P<url>[0-9a-fA-F]{2})"
)
# Marks of direction, soft hyphens, joiners: people copy them from pages without seeing them.
_UNSEEN = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_LONG = re.compile(r"[0-9](?:[ .-]?[0-9]){5}")
_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])")


class _Folding(dict[int, str]):
    """For str.translate: one code point for one, so that places stay what they are."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            folded = str(unicodedata.decimal(character))
        elif category == "Zs":
            folded = " "
        elif category == "Pd" or character == "\u2212":
            folded = "-"
        elif category == "Cs":
            folded = "\ufffd"
        elif 0xFF01 <= code <= 0xFF5E and code != 0xFF1A:
            # The colon of a Chinese sentence stands before an address, and in none.
            folded = chr(code - 0xFEE0)
        else:
            folded = {"\ufe6b": "@", "\uff0e": "."}.get(character, character)
        # There are few different characters in what people write; a million at most, were somebody to try.
        self[code] = folded
        return folded


_FOLDING = _Folding()


@dataclass(frozen=True, slots=True)
class Reading:
    text: str
    """What finders search."""
    has_long_number: bool
    """Six digits together: what most lines of a log have not, and most personal numbers have."""
    _starts: list[int] | None
    """Of each code point of `text` its place in the raw text; nothing where the places are the same."""
    _ends: list[int] | None

    def raw(self, start: int, end: int) -> tuple[int, int]:
        """The place of `text[start:end]`, which is not empty, in the raw text."""
        if self._starts is None or self._ends is None:
            return start, end
        return self._starts[start], self._ends[end - 1]

    def without(self, spans: Iterable[tuple[int, int]]) -> Reading:
        """The same places, with nothing to find in some of them."""
        pieces, done = [], 0
        for start, end in sorted(spans):
            if end > done:
                pieces += [self.text[done:start], "|" * (end - max(start, done))]
                done = end
        return replace(self, text="".join([*pieces, self.text[done:]]))

    def says(self, cue: re.Pattern[str], start: int, end: int) -> bool:
        """Whether a cue stands close before or behind `text[start:end]`."""
        before = self.text[max(0, start - _BEFORE_REACH) : start]
        return cue.search(before) is not None or cue.search(self.text[end : end + _BEHIND_REACH]) is not None


def read(text: str) -> Reading:
    """Fold digits, dashes, spaces and full-width letters to ASCII; undo escapes; leave out what nobody sees."""
    starts = ends = None
    if "\\" in text or "%" in text or (not text.isascii() and _UNSEEN.search(text)):
        text, starts, ends = _plain(text)
    if not text.isascii():
        text = text.translate(_FOLDING)
    # A group of a UUID may be all digits, and is nobody's number.
    text = _UUID.sub(lambda found: "|" * len(found[0]), text)
    return Reading(text, _LONG.search(text) is not None, starts, ends)


def _plain(text: str) -> tuple[str, list[int], list[int]]:
    """Without escapes and unseen characters; where each code point stood begins and ends."""
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for found in re.finditer(f"{_ESCAPED.pattern}|(?P<unseen>{_UNSEEN.pattern})", text):
        start, end = found.span()
        pieces.append(text[done:start])
        starts.extend(range(done, start))
        ends.extend(range(done + 1, start + 1))
        if found["unseen"] is None:
            pieces.append(_meant(found))
            starts.append(start)
            ends.append(end)
        done = end
    pieces.append(text[done:])
    starts.extend(range(done, len(text)))
    ends.extend(range(done + 1, len(text) + 1))
    return "".join(pieces), starts, ends


def _meant(found: re.Match[str]) -> str:
    if found["one"] is not None:
        return "\n"
    if found["four"] is not None:
        return chr(int(found["four"], 16))
    code = int(found["two"] or found["url"], 16)
    # A part of a character in UTF-8: no finder needs to know of which.
    return chr(code) if code < 0x80 else "\ufffd"
