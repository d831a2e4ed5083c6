"""Words and their IOB2 tags, checked: every fault names its place and its remedy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from pipelines.config import DataConfig
from pipelines.data.examples import TaggedSentence
from pipelines.data.fields import Field, named
from pipelines.data.iob import is_tag, opening_insides, repair
from pipelines.data.kind import ExampleKind
from pipelines.data.rows import Record, kind_of, quote
from pipelines.errors import UserError

LONGEST = 18
"""Digits of what may be the number of a class; nothing has more classes than fit into 64 bits."""


class TaggedSentences(ExampleKind):
    """Words and their tags: two lists of the same length."""

    fields = (
        Field("tokens", "the words", ("tokens",)),
        Field("tags", "the tags", ("ner_tags", "tags", "labels")),
    )
    # A word a line is what these endings mean for words.
    formats: ClassVar = {".txt": "conll", ".tsv": "conll"}

    needed = "tagged sentence"

    def shown(self, row: TaggedSentence) -> str:
        return " ".join(row.words)

    def row(self, record: Record, data: DataConfig) -> TaggedSentence:
        """Words with their tags, also none.

        Raises:
            UserError: a word or tag that is missing or is not text, a tag that is not IOB2, or an I- that opens an
                entity (only with `iob: strict`).
        """
        lists = _lists(record)
        words, tags = _words(record, lists[0]), _tags(record, *lists)
        if len(words) != len(tags):
            raise UserError(
                f"{record.place}: found {len(words)} words but {len(tags)} tags. Every word needs one tag: "
                "correct or remove this row."
            )
        wrong = opening_insides(tags)
        if wrong and data.iob == "strict":
            i = wrong[0]
            before = f"follows {tags[i - 1]}" if i else "is the first tag of its sentence"
            raise UserError(
                f"{record.place_of(i)}: the tag {quote(tags[i])} opens an entity, as it {before}; in IOB2 an entity "
                f"opens with B-. Correct the tag, or set data.iob=repair to turn all such tags into B-."
            )
        return TaggedSentence(words, repair(tags)[0] if wrong else tags)

    def labels_of(self, row: TaggedSentence) -> tuple[str, ...]:
        return row.tags

    def num_repaired(self, record: Record, row: TaggedSentence) -> int:
        return sum(found != tag for found, tag in zip(_lists(record)[1], row.tags, strict=True))

    def says_nothing(self, row: TaggedSentence) -> bool:
        return not row.words


def _lists(row: Record) -> tuple[Sequence[object], Sequence[object]]:
    words, tags = row.values["tokens"], row.values["tags"]
    if row.written and isinstance(words, str) and isinstance(tags, str):
        words, tags = _read(words, tags, row.place)
    for role, what, value in (("tokens", "words", words), ("tags", "tags", tags)):
        if not isinstance(value, list | tuple):
            raise UserError(
                f"{row.place}: the {what} are {quote(value)} ({kind_of(value)}), where a list belongs, one entry a "
                f"word. Correct the row, or name the column that holds them (data.columns.{role})."
            )
    assert isinstance(words, list | tuple)
    assert isinstance(tags, list | tuple)
    names = row.names.get("tags")
    return words, [named(tag, names, what="tag", place=row.place_of(i)) for i, tag in enumerate(tags)]


def _read(words: str, tags: str, place: str) -> tuple[object, object]:
    """Lists from text: JSON, or entries separated by spaces."""
    # The tags decide: no tag opens with a bracket, while a sentence may.
    if not tags.lstrip().startswith("["):
        return _split(words), [int(tag) if tag.isdecimal() and len(tag) <= LONGEST else tag for tag in _split(tags)]
    try:
        return json.loads(words), json.loads(tags)
    except (ValueError, RecursionError):
        raise UserError(
            f"{place}: the tags open like a list, but the words or the tags are not valid JSON. Write both as JSON "
            'lists (["B-PER", "O"], in double quotes), or both as entries separated by spaces.'
        ) from None


def _split(cell: str) -> list[str]:
    return [part for part in cell.split(" ") if part]


def _words(row: Record, found: Sequence[object]) -> tuple[str, ...]:
    words: list[str] = []
    for i, word in enumerate(found):
        if not isinstance(word, str):
            raise UserError(
                f"{row.place_of(i)}: found {quote(word)} ({kind_of(word)}) where a word belongs. "
                "Words must be text: write numbers in quotes, and leave no word empty."
            )
        words.append(word)
    try:
        "".join(words).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{row.place}: a word holds half of a surrogate pair, which is no character and which no tokenizer takes. "
            "Write the text anew as UTF-8, or remove this row."
        ) from None
    return tuple(words)


def _tags(row: Record, words: Sequence[object], found: Sequence[object]) -> tuple[str, ...]:
    tags: list[str] = []
    for i, tag in enumerate(found):
        if tag is None or tag == "":
            word = f" {quote(words[i])}" if i < len(words) else ""
            raise UserError(
                f"{row.place_of(i)}: the word{word} has no tag. Give it one: O when it belongs to no entity, "
                "else B-TYPE or I-TYPE."
            )
        if not isinstance(tag, str) or not is_tag(tag):
            raise UserError(
                f"{row.place_of(i)}: the tag {quote(tag)} is not an IOB2 tag. Known are O, B-TYPE and I-TYPE: convert "
                "the tags (in BIOES, S- becomes B- and E- becomes I-), or check which column holds them."
            )
        tags.append(tag)
    return tuple(tags)


TAGGED = TaggedSentences()
