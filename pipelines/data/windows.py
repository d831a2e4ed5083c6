"""A text that answers as a model reads it with its question: whole, or in windows that overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.data.examples import Array

LONGEST_ANSWER = 30
"""Sub-words."""
SHARED = 4
"""Neighbouring windows share the 4th part of the sub-words that there is room for behind the question."""
_BESIDE = ("offset_mapping", "overflow_to_sample_mapping")
"""What tokenizers give that no model takes."""


@dataclass(frozen=True, slots=True)
class Window:
    columns: dict[str, list[int]]
    """What the model takes, by its own argument names: [length]."""
    inside: Array
    """Which sub-words are of the text that answers, bool [length]."""
    places: Array
    """Which characters of that text each of these is, [length, 2]; 0, 0 for others."""
    num_cut: int
    """Sub-words that are in no window: only where the question alone is too long."""


def windows(tokenizer: Any, question: str, context: str, max_length: int) -> list[Window]:
    """The question with each window of the text, in their order; at least one.

    Where the question leaves no room, it gives way as well as the text, and what stays is all that is read.
    """
    room = max_length - len(tokenizer(question, verbose=False)["input_ids"]) - 1
    overlapping = room > 1
    how: dict[str, Any] = (
        {"truncation": "only_second", "stride": room // SHARED, "return_overflowing_tokens": True}
        if overlapping
        else {"truncation": "longest_first"}
    )
    found = tokenizer([question], [context], max_length=max_length, return_offsets_mapping=True, **how)
    num_cut = 0
    if not overlapping:
        num_cut = len(tokenizer(question, context, verbose=False)["input_ids"]) - len(found["input_ids"][0])
    made = []
    for n in range(len(found["input_ids"])):
        inside = np.asarray([side == 1 for side in found.sequence_ids(n)])
        places = np.where(inside[:, None], np.asarray(found["offset_mapping"][n]), 0)
        columns = {name: found[name][n] for name in found if name not in _BESIDE}
        made.append(Window(columns, inside, places, num_cut))
    return made
