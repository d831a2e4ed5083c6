"""Random-weight models, small enough to be made anew."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

from pipelines.inference.masking.tokens import new_key
from pipelines.inference.service import Answer, Answered

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
POSITIONS = 32
MakeModel = Callable[..., Path]


def make_model_folder(
    folder: Path, labels: tuple[str, ...] | None = LABELS, positions: int = POSITIONS, **words: str
) -> Path:
    """A 2-layer BERT over single characters (so that most words have several sub-words) in `folder`.

    `labels=None` leaves the labels as transformers names them; `words` is the content of task.json.
    """
    characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'-()北京上海東大我住在你好😀👍"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *characters, *(f"##{c}" for c in characters)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=False, strip_accents=False, handle_chinese_chars=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=positions,
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        # Far from 0, so that different words get different labels.
        initializer_range=0.7,
        num_labels=5,
    )
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    BertForTokenClassification(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    if words:
        (folder / "task.json").write_text(json.dumps(words), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder that tests only read."""
    return make_model_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Makes a model's folder for one test: `make_model(labels=..., punctuation="attached")`."""

    def make(**arguments: object) -> Path:
        return make_model_folder(tmp_path / "made", **arguments)  # type: ignore[arg-type]

    return make


def by_version(answer: Callable[[list[Any]], Awaitable[list[Any | None]]], version: str = "1") -> Answer:
    """As one version that stays answers."""

    async def answered(inputs: list[Any]) -> Answered:
        return Answered(version, await answer(inputs))

    return answered


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """With the key of reversible tokens."""
    path = tmp_path / "mask.key"
    path.write_text(new_key())
    return path
