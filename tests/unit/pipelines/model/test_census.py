"""A sample of the census: `make census` tries every architecture."""

from __future__ import annotations

import random

import pytest

from pipelines.config import TrainConfig
from tests.census.catalog import Pair, pairs
from tests.census.trial import tried

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
    others = random.Random(0).sample([pair for pair in every if pair not in famous], 6)
    return famous + others


@pytest.mark.parametrize("pair", chosen()[::4], ids=str)
def test_a_model_whose_blocks_run_again_in_their_backward_learns_the_same(pair: Pair) -> None:
    outcome = tried(pair, TrainConfig(recompute=True))
    assert outcome.verdict != "wrong", outcome.note
    if pair.model_type in FAMOUS.get(pair.head, ()):
        assert outcome.verdict in {"equal", "equal in float32"}, outcome.note


@pytest.mark.parametrize("pair", chosen(), ids=str)
def test_a_model_is_cut_with_equal_results_or_refused(pair: Pair) -> None:
    outcome = tried(pair)
    assert outcome.verdict != "wrong", outcome.note
    if pair.model_type in FAMOUS.get(pair.head, ()):
        assert outcome.verdict in {"equal", "equal in float32"}, outcome.note
    if pair.model_type in {"bert", "vit", "llama", "gpt2"}:
        assert outcome.divided, outcome.note


def test_a_refusal_says_why_and_what_to_do() -> None:
    (pair,) = [pair for pair in pairs() if (pair.head, pair.model_type) == ("masked-lm", "reformer")]
    outcome = tried(pair)
    assert outcome.verdict == "refused"
    assert outcome.note.startswith("ReformerForMaskedLM cannot be cut: ")
    assert outcome.note.endswith("Train it uncut, with plan.stages=1.")
