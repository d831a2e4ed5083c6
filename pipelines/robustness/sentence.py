"""A text as words that can be changed, dropped and added, each with its tag and what it stood for at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pipelines.data.iob import OUTSIDE
from pipelines.inference.words import split_words

INSIDE = -1
"""In place of a word's number: a part of an entity that was exchanged as a whole."""


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    behind: str
    """What stands between it and the next word."""
    stands_for: tuple[int, int] | None
    """The first and the last of the words of the raw text that it stands for; None for one that was added."""
    tag: str = OUTSIDE


@dataclass(frozen=True, slots=True)
class Sentence:
    words: tuple[Word, ...]
    before: str = ""
    """What stands before the first word."""

    @property
    def text(self) -> str:
        return self.before + "".join(word.text + word.behind for word in self.words)

    @property
    def tags(self) -> list[str]:
        return [word.tag for word in self.words]

    def places(self) -> list[tuple[int, int]]:
        """Where each word begins and ends in the text, in code points."""
        found, at = [], len(self.before)
        for word in self.words:
            found.append((at, at + len(word.text)))
            at += len(word.text) + len(word.behind)
        return found

    def with_word(self, i: int, text: str) -> Sentence:
        """The same with another text for word `i`."""
        return replace(self, words=(*self.words[:i], replace(self.words[i], text=text), *self.words[i + 1 :]))


def sentence_of(text: str) -> Sentence:
    """A text, to the character."""
    words = split_words(text)
    starts = [*(word.start for word in words), len(text)]
    return Sentence(
        tuple(Word(one.text, text[one.end : starts[i + 1]], (i, i)) for i, one in enumerate(words)), text[: starts[0]]
    )


def tagged_sentence(words: Sequence[str], tags: Sequence[str]) -> Sentence:
    """Words with their tags, with a space between two where people write one."""
    gaps = [*(gap(word, after) for word, after in pairwise(words)), ""]
    pairs = enumerate(zip(words, tags, strict=True))
    return Sentence(tuple(Word(word, gaps[i], (i, i), tag) for i, (word, tag) in pairs))


def gap(word: str, after: str) -> str:
    """What stands between two words: nothing beside a character of a script without spaces."""
    both = (f"{word[-1:]}a", f"a{after[:1]}")
    # With a letter beside it, such a character is a word of its own.
    return "" if any(len(split_words(pair, punctuation="attached")) > 1 for pair in both) else " "
