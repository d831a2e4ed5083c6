"""Words and their IOB2 tags, checked: every fault names its place and its remedy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from pipelines.config import DataConfig
from pipelines.data.examples import Table, TaggedSentence
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

    def shown(self, row: TaggedSentence) -> str:
        return " ".join(row.words)

    def table(self, records: Iterable[Record], *, source: str, data: DataConfig) -> Table[TaggedSentence]:
        """Check rows and keep them all, also ones without a word.

        Raises:
            UserError: a word or tag that is missing or is not text, a tag that is not IOB2, an I- that opens
                an entity (only with `iob: strict`), or no words at all.
        """
        return _table(records, source, data.iob)


def _table(records: Iterable[Record], source: str, iob: Literal["strict", "repair"]) -> Table[TaggedSentence]:
    sentences: list[TaggedSentence] = []
    labels: set[str] = set()
    num_repaired = 0
    for row in records:
        lists = _lists(row)
        words, tags = _words(row, lists[0]), _tags(row, *lists, labels)
        if len(words) != len(tags):
            raise UserError(
                f"{row.place}: found {len(words)} words but {len(tags)} tags. Every word needs one tag: "
                "correct or remove this row."
            )
        wrong = opening_insides(tags)
        if wrong and iob == "strict":
            i = wrong[0]
            before = f"follows {tags[i - 1]}" if i else "is the first tag of its sentence"
            raise UserError(
                f"{row.place_of(i)}: the tag {quote(tags[i])} opens an entity, as it {before}; in IOB2 an entity "
                f"opens with B-. Correct the tag, or set data.iob=repair to turn all such tags into B-."
            )
        if wrong:
            tags, count = repair(tags)
            num_repaired += count
        labels.update(tags)
        sentences.append(TaggedSentence(words, tags))
    if not any(sentence.words for sentence in sentences):
        found = f"{len(sentences)} rows without a single word" if sentences else "no rows"
        raise UserError(f"{source} holds {found}: at least one tagged sentence is needed. Give another file.")
    return Table(sentences, num_repaired, frozenset(labels))


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


def _tags(row: Record, words: Sequence[object], found: Sequence[object], known: set[str]) -> tuple[str, ...]:
    tags: list[str] = []
    for i, tag in enumerate(found):
        if tag is None or tag == "":
            word = f" {quote(words[i])}" if i < len(words) else ""
            raise UserError(
                f"{row.place_of(i)}: the word{word} has no tag. Give it one: O when it belongs to no entity, "
                "else B-TYPE or I-TYPE."
            )
        if not isinstance(tag, str) or (tag not in known and not is_tag(tag)):
            raise UserError(
                f"{row.place_of(i)}: the tag {quote(tag)} is not an IOB2 tag. Known are O, B-TYPE and I-TYPE: convert "
                "the tags (in BIOES, S- becomes B- and E- becomes I-), or check which column holds them."
            )
        tags.append(tag)
    return tuple(tags)


TAGGED = TaggedSentences()
