"""Sub-words that nobody uses go, and texts that use the others are cut as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from pipelines.compress.compress import compress
from pipelines.compress.trim import trim
from pipelines.compress.vocabulary import needed, pieces_of, trimmed
from pipelines.config import DataConfig
from pipelines.errors import UserError
from tests.unit.pipelines.compress.test_half import HALF

TEXTS = ["the lower the slower", "a newer slower flower", "lowest and newest", "wider and wider 日", "the mower shower"]
OTHERS = ["the mower flows over wide shores", "anew, a wildflower", "Östlich"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GIVEN = TEXTS[:2]


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=80, special_tokens=SPECIAL))
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=80, special_tokens=SPECIAL, unk_token="[UNK]")
    )
    return tokenizer


def bytes_merged() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=310, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    return tokenizer


MAKE: dict[str, Callable[[], Tokenizer]] = {"WordPiece": word_piece, "Unigram": unigram, "BPE": bytes_merged}


@pytest.mark.parametrize("kind", MAKE)
def test_given_texts_are_cut_as_before_and_others_into_smaller_known_pieces(kind: str) -> None:
    whole = MAKE[kind]()
    description = json.loads(whole.to_str())
    kept = needed(description, {number for text in GIVEN for number in whole.encode(text).ids})
    fewer = Tokenizer.from_str(json.dumps(trimmed(description, kept)))
    assert fewer.get_vocab_size() == len(kept) < whole.get_vocab_size()
    for text in GIVEN:
        assert fewer.encode(text).tokens == whole.encode(text).tokens
        assert [kept[number] for number in fewer.encode(text).ids] == whole.encode(text).ids
    for text in [*TEXTS, *OTHERS]:
        found, before = fewer.encode(text), whole.encode(text)
        assert "".join(found.tokens).replace("##", "") == "".join(before.tokens).replace("##", "")
        assert found.tokens.count("[UNK]") == before.tokens.count("[UNK]")
    assert set(SPECIAL) <= set(fewer.get_vocab())


def test_of_merges_those_stay_by_which_a_used_piece_came_to_be() -> None:
    vocabulary = {piece: number for number, piece in enumerate(["a", "b", "c", "ab", "bc", "abc", "ca"])}
    merges = [["a", "b"], ["b", "c"], ["ab", "c"], ["c", "a"]]
    description = {"model": {"type": "BPE", "vocab": vocabulary, "merges": merges}, "added_tokens": []}
    # `abc` is made of `ab` and `c`, so `bc` is not needed.
    kept = needed(description, {vocabulary["abc"]})
    assert kept == [0, 1, 2, 3, 5]
    made = trimmed(description, kept)["model"]
    assert made["vocab"] == {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}
    assert made["merges"] == [["a", "b"], ["ab", "c"]]


def test_what_is_put_around_a_text_is_numbered_anew() -> None:
    vocabulary = {"[X]": 0, "xy": 1, "[S]": 2, "x": 3}
    around = {"type": "BertProcessing", "sep": ["[S]", 2], "cls": ["[X]", 0]}
    template = {"type": "TemplateProcessing", "special_tokens": {"[S]": {"id": "[S]", "ids": [2], "tokens": ["[S]"]}}}
    description = {
        "model": {"type": "WordPiece", "vocab": vocabulary, "unk_token": "[X]"},
        "added_tokens": [{"id": 0, "content": "[X]"}, {"id": 2, "content": "[S]"}],
        "post_processor": {"type": "Sequence", "processors": [around, template]},
    }
    made = trimmed(description, needed(description, ()))
    assert made["model"]["vocab"] == {"[X]": 0, "[S]": 1, "x": 2}
    assert [token["id"] for token in made["added_tokens"]] == [0, 1]
    first, second = made["post_processor"]["processors"]
    assert (first["sep"], first["cls"]) == (["[S]", 1], ["[X]", 0])
    assert second["special_tokens"]["[S]"]["ids"] == [1]
    # What was given is as it was.
    assert around["sep"] == ["[S]", 2]


def test_tokenizers_that_cut_in_another_way_are_refused() -> None:
    with pytest.raises(UserError, match="of the kind 'WordLevel' cannot be trimmed"):
        pieces_of({"model": {"type": "WordLevel", "vocab": {}}})
    clip = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "</w>"}}
    with pytest.raises(UserError, match=r"its end_of_word_suffix \('</w>'\) changes what merges make"):
        needed(clip, ())


# -- models -------------------------------------------------------------------------------------


def write(folder: Path, tokenizer: Tokenizer, *, roberta: bool = False) -> Path:
    """A classifier of texts, with random weights."""
    # Every token is at the front, but those of RoBERTa are in another order, so that its padding has another number.
    number = tokenizer.token_to_id
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, number(name)) for name in ("[CLS]", "[SEP]")]
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2}
    shared = {
        "vocab_size": tokenizer.get_vocab_size(), "id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1},
        "initializer_range": 0.5, "pad_token_id": number("[PAD]"), "max_position_embeddings": 40,
    }  # fmt: skip
    torch.manual_seed(0)
    if roberta:
        RobertaForSequenceClassification(RobertaConfig(**sizes, **shared)).save_pretrained(folder)
    else:
        BertForSequenceClassification(BertConfig(**sizes, **shared)).save_pretrained(folder)
    (folder / "task.json").write_text('{"task": "sequence-classification"}', encoding="utf-8")
    return folder


def rows(path: Path, texts: list[str]) -> Path:
    lines = [json.dumps({"text": text, "label": "no" if at % 2 else "yes"}) for at, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("roberta", [False, True])
@pytest.mark.parametrize("kind", MAKE)
def test_a_trimmed_model_answers_as_before(kind: str, roberta: bool, tmp_path: Path) -> None:
    folder = write(tmp_path / "whole", MAKE[kind](), roberta=roberta)
    found = trim(folder, tmp_path / "fewer", source=str(rows(tmp_path / "train.jsonl", GIVEN)), data=DataConfig())
    logits = []
    for place in (folder, tmp_path / "fewer"):
        model, tokenizer = (
            AutoModelForSequenceClassification.from_pretrained(place),
            AutoTokenizer.from_pretrained(place),
        )
        assert model.config.vocab_size == len(tokenizer) == model.get_input_embeddings().num_embeddings
        with torch.no_grad():
            logits.append(model(**tokenizer(GIVEN, padding=True, return_tensors="pt")).logits)
    assert torch.equal(*logits)
    assert (found.rows, found.after) == (2, len(tokenizer))
    assert found.after < found.before


def test_a_model_that_says_sub_words_keeps_them_all(tmp_path: Path) -> None:
    folder = write(tmp_path / "whole", word_piece())
    BertForMaskedLM(
        BertConfig(vocab_size=80, hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=1)
    ).save_pretrained(folder)
    (folder / "task.json").write_text('{"task": "masked-lm"}', encoding="utf-8")
    with pytest.raises(
        UserError, match=r"that is for models with a tokenizer\.json that read sub-words and say something"
    ):
        trim(folder, tmp_path / "fewer", source=str(rows(tmp_path / "train.jsonl", GIVEN)), data=DataConfig())


def test_every_form_of_a_trimmed_model_is_scored_on_texts_that_it_cuts_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / "whole", word_piece())
    train, test = rows(tmp_path / "train.jsonl", GIVEN), rows(tmp_path / "test.jsonl", [*TEXTS, *OTHERS] * 2)
    told: list[str] = []
    found = compress(
        folder, tmp_path / "out", splits={"test": str(test)}, split="test", data=DataConfig(), threads=1,
        most_lost=1.0, tell=told.append, trim_by=str(train),
    )  # fmt: skip
    assert [one.form.name for one in found.verdicts] == ["trimmed", *HALF, "graph", "int8"]
    assert found.trimmed is not None
    assert f"{found.trimmed.after} of {found.trimmed.before} sub-words stay" in told
    assert found.verdicts[0].form.bytes < found.plain.bytes
    assert found.verdicts[1].form.score == found.verdicts[0].form.score
    assert found.to_json()["trimmed"]["rows"] == 2
