"""What happens to files: bytes flip, ends get lost, editors add their own."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

ODD = (
    b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"\xf4\x90\x80\x80", b"\r", b"\n\n", b"\r\n",
    b"\t", b" ", b"\xc2\xa0", b"\xe2\x80\xa8", b"\x0c", b"[", b"]", b"{", b"}", b'"', b"'", b",", b":", b"#", b"-",
    b"&a ", b"*a", b"!!int ", b"<<: ", b"? ", b"| ", b"\\", b"\\ud800", b"null", b"NaN", b"1e999", b"-1", b"9" * 25,
    b"9" * 5000, b"../", b"-DOCSTART-", b"I-PER", b"S-PER",
)  # fmt: skip
"""Bytes that mean something to one format or another."""

Damage = tuple[str, int, int, bytes]
_HOWS = (
    "flip",
    "flip",
    "flip",
    "cut",
    "drop",
    "insert",
    "insert",
    "repeat",
    "swap",
    "twice",
    "crlf",
    "utf-16",
    "latin",
)


@st.composite
def damages(draw: st.DrawFn, most: int = 3) -> list[Damage]:
    """Some of what can happen, in order: each a kind, a place, a number, and bytes."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(_HOWS),
                st.integers(0, 2**16 - 1),
                st.integers(1, 255),
                st.one_of(st.sampled_from(ODD), st.binary(min_size=1, max_size=6)),
            ),
            min_size=1,
            max_size=most,
        )
    )


def damaged(raw: bytes, done: Sequence[Damage]) -> bytes:
    """The file after all that was done to it."""
    for how, where, number, odd in done:
        raw = _damage(raw, how, where * (len(raw) + 1) >> 16, number, odd)
    return raw


def _damage(raw: bytes, how: str, at: int, number: int, odd: bytes) -> bytes:
    if how == "flip":
        return raw[:at] + bytes(byte ^ number for byte in raw[at : at + 1]) + raw[at + 1 :]
    if how == "cut":
        return raw[:at]
    if how == "drop":
        return raw[:at] + raw[at + number :]
    if how == "insert":
        return raw[:at] + odd + raw[at:]
    if how == "repeat":
        # Nested too deep, or a line too long.
        return raw[:at] + (odd * (number * 20))[:50_000] + raw[at:]
    if how == "crlf":
        return raw.replace(b"\n", b"\r\n")
    if how == "utf-16":
        return raw.decode("utf-8", "replace").encode("utf-16")
    if how == "latin":
        return raw.decode("utf-8", "replace").encode("latin-1", "replace")
    lines = raw.split(b"\n")
    first, second = at % len(lines), number % len(lines)
    if how == "swap":
        lines[first], lines[second] = lines[second], lines[first]
    else:
        lines.insert(second, lines[first])
    return b"\n".join(lines)
