"""What a reader yields and what a shard holds: plain, frozen rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "dev", "test")
IGNORE = -100
"""Where there is nothing to be learnt."""

Row = TypeVar("Row")
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words and their IOB2 tags, one tag a word (`O`, `B-TYPE`, `I-TYPE`)."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text, or two of which something is said together, with what is said: labels, or a number."""

    text: str
    pair: str | None
    labels: tuple[str, ...] = ()
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """A question, a text that may hold its answer, and the answers that are right."""

    question: str
    context: str
    answers: tuple[tuple[str, int], ...]
    """Each with the place of its first character in the context; none where the context does not answer."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be learnt as a whole."""

    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """What one side of a chat says."""

    role: str
    """`system`, `user`, `assistant`, or what else the model's chat template knows."""
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages in turn; those of the `assistant` are learnt."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Translated:
    """A text, and what is to be written of it: its translation, its summary."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image and its label."""

    source: Path | bytes | Array
    """A file; what one holds; or pixels, uint8 [height, width] or [height, width, channels]."""
    label: str
    place: str
    """Where the row stands, for an error."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording and its label."""

    source: Path | bytes
    """A file, or what one holds."""
    label: str
    place: str
    """Where the row stands, for an error."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as the model reads it."""

    columns: dict[str, Array]
    """By the model's own argument names, and `labels`: int32 or float32, [own length, ...]. A micro-batch pads the own
    length of each of its columns to the longest, and stacks the rows."""
    length: int
    """Sub-words that the example costs, without padding."""
    num_targets: int
    """How many predictions its loss is the sum of."""
    words: Sequence[int] = ()
    """Of words with tags: for each target, in order, which word of the row it stands for."""
    num_cut: int = 0
    """Words (of raw text: sub-words) behind the longest input that the model takes."""
    num_unseen: int = 0
    """Words of which the tokenizer leaves nothing, such as a lone control character."""
    places: Array | None = None
    """Of texts that answer: which characters each sub-word is, [length, 2]; stays where the example is."""
    continues: bool = False
    """Of the same row as the example before: a text that is longer than the model takes goes on in it."""

    @property
    def classes(self) -> Array:
        """The class numbers among `labels` that are to be learnt."""
        labels = self.columns["labels"]
        classes: Array = labels[labels != IGNORE]
        return classes


def ints(values: Sequence[int] | Array) -> Array:
    """A column of whole numbers."""
    return np.asarray(values, np.int32)


def floats(values: Any) -> Array:
    """A column of numbers."""
    return np.asarray(values, np.float32)


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    """The rows that were read from one source, and what had to be mended on the way."""

    rows: list[Row]
    num_repaired: int = 0
    """I- tags that opened an entity and were turned into B- (only with `iob: repair`)."""
    labels: frozenset[str] = field(default_factory=frozenset)
    """Every tag, or label, that occurs in `rows`."""
