"""The IOB2 scheme: what a tag may be, and which tags may follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

OUTSIDE = "O"


@lru_cache(4096)
def is_tag(text: str) -> bool:
    """Whether `text` is `O`, `B-TYPE` or `I-TYPE`; a TYPE is not empty and has no whitespace at its ends."""
    kind = text[2:]
    return text == OUTSIDE or (text[:2] in ("B-", "I-") and kind != "" and kind == kind.strip())


def opening_insides(tags: Sequence[str]) -> list[int]:
    """Where an I- opens an entity, that is, does not follow a B- or I- of its own type.

    An I- that follows a wrong one of its own type continues that entity and is not counted again.
    """
    return [
        i
        for i, tag in enumerate(tags)
        if tag.startswith("I-") and (i == 0 or tags[i - 1] == OUTSIDE or tags[i - 1][2:] != tag[2:])
    ]


def repair(tags: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """The tags with every I- that opens an entity turned into B-, and how many there were."""
    wrong = opening_insides(tags)
    mended = list(tags)
    for i in wrong:
        mended[i] = f"B-{tags[i][2:]}"
    return tuple(mended), len(wrong)


def spans_to_iob(labels: Sequence[str]) -> tuple[str, ...]:
    """One label a word to IOB2: a run of equal labels is one entity, and `O` stays `O`."""
    return tuple(
        OUTSIDE if label == OUTSIDE else f"{'I' if i and labels[i - 1] == label else 'B'}-{label}"
        for i, label in enumerate(labels)
    )
