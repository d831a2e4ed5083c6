"""What a reader yields and what a shard holds: plain, frozen rows."""

from __future__ import annotations

from dataclasses import dataclass, field

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words and their IOB2 tags, one tag a word (`O`, `B-TYPE`, `I-TYPE`)."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as the model reads it.

    `inputs` holds equally long lists of whole numbers by the model's own argument names
    (`input_ids`, `attention_mask`, ...); `labels` is as long, with -100 where nothing is to be learnt.
    """

    inputs: dict[str, list[int]]
    labels: list[int]
    words: list[int]
    """For each target (label that is not -100), in order, which word of the row it stands for."""
    num_words_cut: int = 0
    """Words behind the longest input that the model takes."""
    num_words_unseen: int = 0
    """Words of which the tokenizer leaves nothing, such as a lone control character."""

    @property
    def length(self) -> int:
        return len(self.labels)

    @property
    def num_targets(self) -> int:
        return len(self.words)


@dataclass(frozen=True, slots=True)
class Table:
    """The rows that were read from one source, and what had to be mended on the way."""

    rows: list[TaggedSentence]
    num_repaired: int = 0
    """I- tags that opened an entity and were turned into B- (only with `iob: repair`)."""
    labels: frozenset[str] = field(default_factory=frozenset)
    """Every tag that occurs in `rows`."""
