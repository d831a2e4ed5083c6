"""Addresses that people labelled word by word (pipelines/data/addresses.py), as data for other tasks than tagging."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.data.addresses import LABELED, parse_addresses, split_rows, take_file, without_duplicates
from pipelines.data.examples import TaggedSentence
from pipelines.data.sample_texts import Splits

Span = tuple[str, int, int]
"""Label, first word, behind the last word."""


def parts(tarball: Path) -> Splits:
    """An address, and the labels of its words: `text`, `labels`."""
    return _splits(tarball, lambda row: [{"text": " ".join(row.words), "labels": sorted({s[0] for s in _spans(row)})}])


def questions(tarball: Path) -> Splits:
    """What a part of an address is: `question`, `context`, `answer`, `answer_start`; of about a third of the parts.

    Only of parts that the address has once. The answer is without the comma or the full stop at its end.
    """
    return _splits(tarball, _questions)


def _questions(row: TaggedSentence) -> list[dict[str, object]]:
    spans = _spans(row)
    names = [label for label, _, _ in spans]
    context = " ".join(row.words)
    found: list[dict[str, object]] = []
    for label, first, last in spans:
        answer = " ".join(row.words[first:last]).rstrip(",.;")
        start = sum(len(word) + 1 for word in row.words[:first])
        # Which third: by what no shuffle changes.
        if names.count(label) == 1 and answer and (first + len(context)) % 3 == 0:
            question = f"What is the {_in_words(label)}?"
            found.append({"question": question, "context": context, "answer": answer, "answer_start": start})
    return found


def _spans(row: TaggedSentence) -> list[Span]:
    found: list[Span] = []
    for at, tag in enumerate(row.tags):
        if tag.startswith("I-") and found:
            label, first, _ = found.pop()
            found.append((label, first, at + 1))
        elif tag != "O":
            found.append((tag[2:], at, at + 1))
    return found


def _in_words(label: str) -> str:
    """`StreetNamePostType` is the street name post type."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).lower()


def _splits(tarball: Path, rows_of: Callable[[TaggedSentence], list[dict[str, object]]]) -> Splits:
    """The demo's own splits, so that no address is in two."""
    splits = split_rows(without_duplicates(parse_addresses(take_file(tarball, LABELED))))
    found: Mapping[str, list[dict[str, object]]] = {
        split: [one for row in rows for one in rows_of(row)] for split, rows in splits.items()
    }
    return found
