"""From what a reader found to checked rows: every fault names its place and its remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.data.examples import Table, TaggedSentence
from pipelines.data.iob import is_tag, opening_insides, repair
from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read, not checked yet."""

    words: Sequence[object]
    tags: Sequence[object]
    file: str
    number: int
    """The row's first line, or its place among the rows; counted from 1."""
    counted: Literal["line", "row"]
    word_a_line: bool = False

    @property
    def place(self) -> str:
        return f"{self.file}, {self.counted} {self.number}"

    def place_of(self, i: int) -> str:
        return f"{self.file}, line {self.number + i}" if self.word_a_line else f"{self.place}, word {i + 1}"


def quote(value: object, limit: int = 40) -> str:
    """A short quotation: errors reach logs, and logs carry no long user text."""
    if isinstance(value, str):
        text = value[: limit + 1]
    else:
        try:
            text = str(value)[: limit + 1]
        except (RecursionError, ValueError):  # nested too deep, or too large a number
            text = f"<{type(value).__name__}>"
    return repr(text) if len(text) <= limit else repr(text[:limit]) + "..."


def to_table(rows: Iterable[Row], *, source: str, iob: Literal["strict", "repair"]) -> Table:
    """Check rows and keep them all, also ones without a word.

    Raises:
        UserError: a word or tag that is missing or is not text, a tag that is not IOB2, an I- that opens
            an entity (only when strict), or no words at all.
    """
    sentences: list[TaggedSentence] = []
    labels: set[str] = set()
    num_repaired = 0
    for row in rows:
        words = _words(row)
        tags = _tags(row, labels)
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


def _words(row: Row) -> tuple[str, ...]:
    words: list[str] = []
    for i, word in enumerate(row.words):
        if not isinstance(word, str):
            raise UserError(
                f"{row.place_of(i)}: found {quote(word)} ({_kind(word)}) where a word belongs. "
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


def _tags(row: Row, known: set[str]) -> tuple[str, ...]:
    tags: list[str] = []
    for i, tag in enumerate(row.tags):
        if tag is None or tag == "":
            word = f" {quote(row.words[i])}" if i < len(row.words) else ""
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


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
