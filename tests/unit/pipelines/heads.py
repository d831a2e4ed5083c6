"""The same examples for one head after the other, to be split into micro-batches in any way: rows of several lengths
with several numbers of targets, and small models with random weights to train on them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tests.census.catalog import build, pairs

ROWS = 16
HEADS = [
    ("token-classification", "bert"),
    ("sequence-classification", "bert"),
    ("question-answering", "bert"),
    ("causal-lm", "llama"),
    ("masked-lm", "bert"),
    ("seq2seq-lm", "t5"),
    ("seq2seq-lm", "bart"),
    ("seq2seq-lm", "marian"),
]
"""Heads, and architectures that compute their loss inside."""

Row = Mapping[str, Any]
LABELS = 3  # of the small models
LONGEST = 16


def small_model(head: str, model_type: str) -> nn.Module:
    """In float64, without dropout."""
    (pair,) = [pair for pair in pairs() if (pair.head, pair.model_type) == (head, model_type)]
    return build(pair)


def rows(head: str, *, count: int = ROWS, seed: int = 0) -> list[Row]:
    """Examples of a head: lists of whole numbers by argument of the model's forward, or one number for a whole row."""
    chance = random.Random(seed)

    def ids(length: int) -> list[int]:
        return [chance.randrange(5, 60) for _ in range(length)]

    made: list[Row] = []
    for _ in range(count):
        length = chance.randrange(4, LONGEST + 1)
        row: dict[str, Any] = {"input_ids": ids(length), "attention_mask": [1] * length}
        # Some rows are full of targets and some have next to none.
        share = chance.choice([0.1, 0.5, 1.0])
        target = [at == 1 or (at > 0 and chance.random() < share) for at in range(length)]
        if head == "sequence-classification":
            row["labels"] = chance.randrange(LABELS)
        elif head == "question-answering":
            row["start_positions"] = chance.randrange(1, length)
            row["end_positions"] = chance.randrange(row["start_positions"], length)
            # The library's heads take the softmax over padding too, so that a row's loss depends on the width.
            for name in ("input_ids", "attention_mask"):
                row[name] += [0] * (LONGEST - length)
        elif head == "seq2seq-lm":
            row["labels"] = ids(chance.randrange(2, 13))
        elif head == "causal-lm":
            row["labels"] = [token if t else -100 for token, t in zip(row["input_ids"], target, strict=True)]
        else:
            most = LABELS if head == "token-classification" else 60
            row["labels"] = [chance.randrange(most) if t else -100 for t in target]
        made.append(row)
    return made


def together(some: Sequence[Row]) -> dict[str, Tensor]:
    """One micro-batch, padded at the end to its longest row."""
    batch = {}
    for name in some[0]:
        values = [row[name] for row in some]
        if isinstance(values[0], list):
            width = max(len(value) for value in values)
            fill = -100 if name == "labels" else 0
            values = [value + [fill] * (width - len(value)) for value in values]
        batch[name] = torch.tensor(values)
    return batch


def split(some: Sequence[Row], k: int) -> list[dict[str, Tensor]]:
    """`k` micro-batches of as many rows each."""
    size = len(some) // k
    assert size * k == len(some)
    return [together(some[at : at + size]) for at in range(0, len(some), size)]
