"""Sentences as the text of a CoNLL file that `read_conll` reads back equal."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.data.examples import TaggedSentence
from pipelines.data.rows import quote


def to_conll(sentences: Iterable[TaggedSentence]) -> str:
    """A word, a tab and its tag on each line, and a blank line after each sentence.

    Raises:
        ValueError: a sentence without words, or a word that the format cannot hold (blank, `-DOCSTART-`,
            or with a tab or a line feed in it).
    """
    parts: list[str] = []
    for sentence in sentences:
        if not sentence.words:
            raise ValueError("a CoNLL file cannot hold a sentence without words")
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            if word.strip(" ") == "" or word == "-DOCSTART-" or "\t" in word or "\n" in word:
                raise ValueError(f"a CoNLL file cannot hold the word {quote(word)}")
            parts.append(f"{word}\t{tag}\n")
        parts.append("\n")
    text = "".join(parts)
    # Readers take a leading U+FEFF for a byte order mark; a second one keeps the word whole.
    return f"\ufeff{text}" if text.startswith("\ufeff") else text
