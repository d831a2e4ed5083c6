"""What a letter is mistaken for: its neighbours on the keyboard, and letters of other scripts that look alike."""

from __future__ import annotations

from collections.abc import Mapping

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
"""Rows and columns between two keys that touch: each row is set off to the right of the one above."""


def _neighbours() -> dict[str, str]:
    keys = {(r, c): key for r, row in enumerate(_ROWS) for c, key in enumerate(row)}
    return {
        key: "".join(keys[r + down, c + right] for down, right in _BESIDE if (r + down, c + right) in keys)
        for (r, c), key in keys.items()
    }


NEIGHBOURS: Mapping[str, str] = _neighbours()
"""Of each letter the keys that touch it, on a keyboard that begins with QWERTY."""

# Cyrillic letters with the shape of Latin ones, as Unicode's list of confusable characters (UTS 39) has them.
HOMOGLYPHS: Mapping[str, str] = dict(
    zip(
        "aceijopsxyABCEHIKMOPTX",
        "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443"
        "\u0410\u0412\u0421\u0415\u041d\u0406\u041a\u041c\u041e\u0420\u0422\u0425",
        strict=True,
    )
)
"""Of a letter the one that looks the same."""
