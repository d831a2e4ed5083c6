"""Entity-level F1 of a whole model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from seqeval.metrics import f1_score
from transformers import PreTrainedModel

from tests.bench.inputs import Example, collate


def f1(model: PreTrainedModel, examples: Sequence[Example], labels: Sequence[str], pad: int, size: int = 64) -> float:
    """Score every word of the file: one without a sub-word counts as O, so that cutting off cannot help."""
    mode = model.training
    model.eval()
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    guessed: list[list[str]] = [[] for _ in examples]
    with torch.inference_mode():
        for start in range(0, len(order), size):
            some = order[start : start + size]
            best = model(**collate([examples[i] for i in some], pad).inputs).logits.argmax(-1).tolist()
            for i, row in zip(some, best, strict=True):
                guessed[i] = ["O" if place is None else labels[row[place]] for place in examples[i].firsts]
    model.train(mode)
    return float(f1_score([e.tags for e in examples], guessed))
