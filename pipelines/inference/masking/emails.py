"""Mail addresses, also in other scripts (RFC 6531) and in texts without spaces."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.inference.masking.reading import TOGETHER, Reading

_LONGEST = 256
"""Code points of a local part that are looked at: RFC 5321 allows 64, and what is longer is masked as well."""
_LETTER = rf"[^\W{TOGETHER}]"
# U+FFFD stands for letters that are escaped byte by byte.
_LOCAL = re.compile(rf"(?:{_LETTER}|\ufffd)(?:{_LETTER}|[\ufffd.+'%&~!#$^*-])*$")
_QUOTED = re.compile(r'"[^"\n]{1,64}"$')
_LABEL = rf"(?:[^\W_{TOGETHER}](?:[^\W_{TOGETHER}]|-)*)"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?:xn--[a-z0-9-]+|[^\W\d_{TOGETHER}]{{2,}})", re.IGNORECASE)
# An address that is in such a script as a whole: more than the address may be masked.
_LOCAL_TOGETHER = re.compile(r"[\w.+-]+$")
_DOMAIN_TOGETHER = re.compile(r"(?:[\w-]+\.)+[^\W\d_]{2,}")


def find_emails(reading: Reading) -> Iterator[tuple[int, int]]:
    """From each @ to both sides, so that the time is proportional to the text's length."""
    text = reading.text
    at = text.find("@")
    while at >= 0:
        before = text[max(0, at - _LONGEST) : at]
        local = _LOCAL.search(before) or _QUOTED.search(before) or _LOCAL_TOGETHER.search(before)
        domain = _DOMAIN.match(text, at + 1) or _DOMAIN_TOGETHER.match(text, at + 1)
        if local and domain:
            yield at - len(local[0]), domain.end()
        at = text.find("@", at + 1)
