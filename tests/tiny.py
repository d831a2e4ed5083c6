"""A model folder and a data set small enough for every test that trains: made anew, never downloaded."""

from __future__ import annotations

import random
from pathlib import Path

import torch

PEOPLE = ["Ann", "Bob Lee", "Carl", "Dana Fox", "Eve", "Finn Gray"]
PLACES = ["Oslo", "New York", "Rome", "Lima", "Cape Town", "Bern"]
FORMS = ["{p} lives in {l} .", "{p} left {l} for {m} .", "in {l} it rains .", "{p} met {q} there yesterday ."]


def write_data(folder: Path, *, train: int = 48, dev: int = 12, test: int = 12, seed: int = 0) -> Path:
    """Sentences about people and places as train.conll, dev.conll and test.conll."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    for split, count in {"train": train, "dev": dev, "test": test}.items():
        blocks = ["\n".join(f"{word}\t{tag}" for word, tag in _sentence(chance)) for _ in range(count)]
        (folder / f"{split}.conll").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return folder


def _sentence(chance: random.Random) -> list[tuple[str, str]]:
    names = {"{p}": ("PER", PEOPLE), "{q}": ("PER", PEOPLE), "{l}": ("LOC", PLACES), "{m}": ("LOC", PLACES)}
    rows = []
    for part in chance.choice(FORMS).split():
        if part not in names:
            rows.append((part, "O"))
            continue
        kind, values = names[part]
        for at, word in enumerate(chance.choice(values).split()):
            rows.append((word, f"{'I' if at else 'B'}-{kind}"))
    return rows


def write_model(folder: Path, *, layers: int = 3, dropout: float = 0.1, slow: bool = False) -> Path:
    """A random-weight BERT with a character-level WordPiece tokenizer, as `save_pretrained` writes it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = sorted(set("".join([*PEOPLE, *PLACES, *FORMS]) + "abcdefghijklmnopqrstuvwxyz.,-"))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    if slow:
        # A vocabulary without tokenizer.json of a kind that has no fast tokenizer.
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CTRLTokenizer"}', encoding="utf-8")
        (folder / "vocab.json").write_text('{"<unk>": 0, "a</w>": 1}', encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        return folder
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_classifier(folder: Path, labels: list[str]) -> Path:
    """A random-weight classifier of texts, with its tokenizer and task.json, as a run saves it."""
    from transformers import AutoModelForSequenceClassification

    from pipelines.tasks import make_task

    write_model(folder, layers=1)
    torch.manual_seed(1)
    options = make_task("sequence-classification").model_options(labels)
    AutoModelForSequenceClassification.from_pretrained(folder, **options).save_pretrained(folder)
    (folder / "task.json").write_text('{"task": "sequence-classification"}')
    return folder
