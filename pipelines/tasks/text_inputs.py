"""What tasks over text share: how a tokenizer's columns are padded, and a text to try a model on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def text_padding(tokenizer: Any) -> dict[str, float]:
    """What the tokenizer's columns are padded with."""
    return {
        "input_ids": tokenizer.pad_token_id or 0,
        "token_type_ids": tokenizer.pad_token_type_id,
        "attention_mask": 0,
    }


def text_probe(tokenizer: Any) -> dict[str, Tensor]:
    """Two texts, the second shorter and padded at the end, [2, length]."""
    return padded(tokenizer([["a", "b", "c"], ["d"]], is_split_into_words=True), text_padding(tokenizer))


def padded(rows: Mapping[str, Sequence[Sequence[int]]], padding: Mapping[str, float]) -> dict[str, Tensor]:
    """Columns of rows of unlike lengths as tensors [rows, longest]."""
    import torch

    width = max(len(row) for column in rows.values() for row in column)
    return {
        name: torch.tensor([[*row, *[int(padding[name])] * (width - len(row))] for row in rows[name]]) for name in rows
    }
