"""Blocks are left out by what they are worth, and what is left is a model as any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForTokenClassification,
    AutoModelForTokenClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from pipelines.compress.layers import Stack, Worth, find_stack, measure, prune_layers, skipped, write_pruned
from pipelines.compress.recover import recovery
from pipelines.compress.trained import Sample
from pipelines.config import DataConfig
from pipelines.errors import UserError
from pipelines.tasks import make_task
from tests.tiny import write_data, write_model
from tests.unit.pipelines.one_process import probe, tiny

STACKS = {
    "bert": "bert.encoder.layer",
    "distilbert": "distilbert.transformer.layer",
    "roberta": "roberta.encoder.layer",
    "electra": "electra.encoder.layer",
    "gpt2": "transformer.h",
    "llama": "model.layers",
}
LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def silent(line: str) -> None:
    del line


@pytest.mark.parametrize(("family", "path"), STACKS.items())
def test_what_is_written_answers_as_the_model_does_without_these_blocks(family: str, path: str, tmp_path: Path) -> None:
    model = tiny(family).eval()
    stack = find_stack(model, probe())
    assert stack == Stack(path, 3)
    (tmp_path / "whole").mkdir()
    write_pruned(model, stack, (0, 2), tmp_path / "whole", tmp_path / "pruned")
    assert model.config.num_hidden_layers == 3
    pruned = type(model).from_pretrained(tmp_path / "pruned").eval()
    assert pruned.config.num_hidden_layers == 2
    with torch.no_grad():
        whole = model(**probe()).logits
        with skipped(model, stack, {1}):
            expected = model(**probe()).logits
        assert torch.equal(pruned(**probe()).logits, expected)
        assert torch.equal(model(**probe()).logits, whole)
        assert not torch.equal(whole, expected)


def test_each_time_the_block_goes_without_which_the_loss_is_lowest() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Linear(1, 1) for _ in range(4))

    model = Model()
    number = {id(block): k for k, block in enumerate(model.blocks)}
    # Block 1 costs nothing, and block 2 only where 1 is gone.
    cost = {(): 1.0, (0,): 3, (1,): 1, (2,): 2, (3,): 9, (0, 1): 3, (1, 2): 5, (1, 3): 9}

    def loss(one: nn.Module) -> float:
        assert isinstance(one, Model)
        return cost[tuple(sorted(set(range(4)) - {number[id(block)] for block in one.blocks}))]

    found = measure(model, Stack("blocks", 4), 2, loss, rows=7, tell=silent)
    assert found == Worth(1, ({0: 3, 1: 1, 2: 2, 3: 9}, {0: 3, 2: 5, 3: 9}), 7)
    assert (found.dropped, found.kept) == ((1, 0), (2, 3))
    assert Worth.from_json(found.to_json()) == found


def test_of_blocks_that_are_worth_the_same_the_last_one_goes() -> None:
    assert Worth(1, ({0: 2, 1: 2, 2: 3},), 1).dropped == (1,)


def test_a_trained_model_is_pruned_on_rows_of_its_task(tmp_path: Path) -> None:
    data, folder = write_data(tmp_path / "data"), tagger(tmp_path / "model", layers=4)
    task = make_task("token-classification")
    asked = {"task": task, "layers": 2, "sample": Sample(str(data / "dev.conll"), "dev", DataConfig(), most_rows=5)}
    told: list[str] = []
    found = prune_layers(folder, tmp_path / "pruned", tell=told.append, **asked)
    assert (found.rows, len(found.kept), len(told)) == (4, 2, 2)
    pruned = AutoModelForTokenClassification.from_pretrained(tmp_path / "pruned")
    assert pruned.config.num_hidden_layers == 2
    kept = pruned.bert.encoder.layer[1].output.dense.weight
    whole = AutoModelForTokenClassification.from_pretrained(folder)
    assert torch.equal(kept, whole.bert.encoder.layer[found.kept[1]].output.dense.weight)
    assert {"task.json", "tokenizer.json"} <= {path.name for path in (tmp_path / "pruned").iterdir()}
    for layers in (0, 4):
        with pytest.raises(UserError, match=r"has 4 blocks.*give --layers a number from 1 to 3"):
            prune_layers(folder, tmp_path / "no", tell=silent, **asked | {"layers": layers})


def tagger(folder: Path, *, layers: int) -> Path:
    write_model(folder, layers=layers)
    options = make_task("token-classification").model_options(LABELS)
    torch.manual_seed(0)
    AutoModelForTokenClassification.from_pretrained(folder, **options).save_pretrained(folder)
    (folder / "task.json").write_text('{"task": "token-classification"}', encoding="utf-8")
    return folder


def test_a_block_that_runs_again_and_again_and_blocks_in_two_lists_are_refused() -> None:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40}
    albert = AlbertForTokenClassification(AlbertConfig(embedding_size=8, num_hidden_layers=3, **sizes))
    t5 = T5ForConditionalGeneration(T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=40))
    small = {"input_ids": torch.tensor([[1, 2, 3], [4, 5, 6]])}
    with pytest.raises(UserError, match="AlbertForTokenClassification cannot be pruned"):
        find_stack(albert, small)
    with pytest.raises(UserError, match="T5ForConditionalGeneration cannot be pruned"):
        find_stack(t5, small | {"decoder_input_ids": small["input_ids"]})


def test_it_learns_again_from_the_whole_model_where_its_task_has_a_teacher(tmp_path: Path) -> None:
    folder = tagger(tmp_path / "model", layers=2)
    config = recovery(folder, "ner", ["train.epochs=2", "train.distil.weight=0.3", "data.path=here"])
    assert config.train.distil is not None
    assert (config.train.distil.teacher, config.train.distil.weight) == (str(folder), 0.3)
    assert (config.train.epochs, config.train.task, config.track.register_as) == (
        2,
        "token-classification",
        "ner-pruned",
    )
    (folder / "task.json").write_text('{"task": "causal-lm"}', encoding="utf-8")
    assert recovery(folder, "ner", []).train.distil is None


def test_what_is_zero_stays_zero_while_it_learns_again_where_single_weights_went(tmp_path: Path) -> None:
    folder = tagger(tmp_path / "model", layers=2)
    assert recovery(folder, "ner", [], keep_zeros=True).train.keep_zeros
    assert not recovery(folder, "ner", []).train.keep_zeros
    with pytest.raises(UserError, match=r"train\.keep_zeros cannot be set here"):
        recovery(folder, "ner", ["train.keep_zeros=false"], keep_zeros=True)


def test_what_follows_from_the_model_cannot_be_set(tmp_path: Path) -> None:
    folder = tagger(tmp_path / "model", layers=2)
    with pytest.raises(UserError, match=r"model\.source, train\.task cannot be set here"):
        recovery(folder, "ner", ["train.task=causal-lm", "model.source=x"])
    (folder / "task.json").unlink()
    with pytest.raises(UserError, match=r"has no task\.json"):
        recovery(folder, "ner", [])
