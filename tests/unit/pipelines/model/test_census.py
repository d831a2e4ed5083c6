"""A sample of the census: `make census` tries every architecture."""

from __future__ import annotations

import random

import pytest
import torch

from tests.census.catalog import Pair, pairs
from tests.census.trial import Result, difference, tried

FAMOUS = {
    "causal-lm": ("gpt2", "llama", "mixtral", "mamba", "gemma2"),
    "masked-lm": ("bert", "deberta-v2", "modernbert"),
    "seq2seq-lm": ("t5", "bart", "switch_transformers"),
    "image-classification": ("vit", "swin", "resnet"),
    "audio-classification": ("wav2vec2",),
    "question-answering": ("albert", "xlm"),
}


def chosen() -> list[Pair]:
    every = pairs()
    famous = [pair for pair in every if pair.model_type in FAMOUS.get(pair.head, ())]
    others = random.Random(0).sample([pair for pair in every if pair not in famous], 20)
    return famous + others


@pytest.mark.parametrize("pair", chosen(), ids=str)
def test_a_model_is_cut_with_equal_results_or_refused(pair: Pair) -> None:
    outcome = tried(pair)
    assert outcome.verdict != "wrong", outcome.note
    if pair.model_type in FAMOUS.get(pair.head, ()):
        assert outcome.verdict in {"equal", "equal in float32"}, outcome.note


def test_a_refusal_says_why_and_what_to_do() -> None:
    (pair,) = [pair for pair in pairs() if (pair.head, pair.model_type) == ("masked-lm", "reformer")]
    outcome = tried(pair)
    assert outcome.verdict == "refused"
    assert outcome.note.startswith("ReformerForMaskedLM cannot be cut: ")
    assert outcome.note.endswith("Train it uncut, with plan.stages=1.")


def test_a_gradient_that_differs_or_lacks_or_is_no_number_is_found() -> None:
    right = Result(1.0, {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([1e-9])})
    for a, expected in (([1.0, 2.0], 0.0), ([1.0, 2.1], 0.05), ([float("nan"), 2.0], float("inf"))):
        worst, name = difference(Result(1.0, {**right.gradients, "a": torch.tensor(a)}), right, floor=1e-5)
        assert worst == pytest.approx(expected, rel=1e-3)
        assert name == ("the loss" if expected == 0 else "a")
    assert difference(Result(1.0, {"b": right.gradients["b"]}), right, floor=1e-5) == (1.0, "a")
    assert difference(Result(1.1, right.gradients), right, floor=1e-5)[1] == "the loss"
