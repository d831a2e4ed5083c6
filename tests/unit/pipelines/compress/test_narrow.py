"""Neurons and heads are left out by what they are worth, and what is left is a model as any other."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AlbertForTokenClassification,
    AutoModelForTokenClassification,
    BartConfig,
    BartForConditionalGeneration,
    BloomConfig,
    BloomForTokenClassification,
    LlamaConfig,
    LlamaForTokenClassification,
    ModernBertConfig,
    ModernBertForTokenClassification,
    Qwen3Config,
    Qwen3ForTokenClassification,
    T5Config,
    T5ForConditionalGeneration,
)
from typer.testing import CliRunner

from jobs.prune import app
from pipelines.compress.compress import Compressed, judge
from pipelines.compress.layers import Worth
from pipelines.compress.narrow import Narrowed, importance, masked, most_important, stays, write_narrowed
from pipelines.compress.parts import Parts, block_paths, find_heads, find_neurons
from pipelines.compress.prune import Left, Pruned, Wanted, prune_model
from pipelines.compress.show_pruned import write_report
from pipelines.compress.thin import Thinned
from pipelines.compress.trained import Sample, TaskLoss
from pipelines.compress.trial import Form
from pipelines.config import DataConfig
from pipelines.errors import UserError
from pipelines.tasks import make_task
from tests.tiny import write_data
from tests.unit.pipelines.compress.test_layers import silent, tagger
from tests.unit.pipelines.one_process import probe, tiny

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 60,
    "pad_token_id": 0,
}  # fmt: skip
BOTH = probe() | {"decoder_input_ids": probe()["input_ids"]}
NEURONS = {
    "bert": ("intermediate_size", 64),
    "distilbert": ("hidden_dim", 64),
    "roberta": ("intermediate_size", 64),
    "electra": ("intermediate_size", 64),
    "gpt2": ("n_inner", 128),
    "llama": ("intermediate_size", 64),
    "albert": ("intermediate_size", 64),
    "t5": ("d_ff", 48),
}


def model_of(family: str) -> nn.Module:
    if family == "albert":
        return spread(AlbertForTokenClassification(AlbertConfig(embedding_size=8, **SIZES)))
    if family == "t5":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": 60}
        return spread(T5ForConditionalGeneration(T5Config(feed_forward_proj="gated-gelu", use_cache=False, **sizes)))
    return tiny(family).eval()


def llama(**options: Any) -> nn.Module:
    return spread(LlamaForTokenClassification(LlamaConfig(**SIZES | {"use_cache": False} | options)))


def spread(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


@pytest.mark.parametrize(("family", "said"), NEURONS.items())
def test_what_is_written_answers_as_the_model_does_that_sees_nothing_of_these_neurons(
    family: str, said: tuple[str, int], tmp_path: Path
) -> None:
    (setting, before), model = said, model_of(family)
    given = BOTH if family == "t5" else probe()
    parts = find_neurons(model, block_paths(model, given), 0.5)
    assert (parts.settings, parts.before, parts.after) == ({setting: before // 2}, before, before // 2)
    again = written(model, parts, given, tmp_path)
    assert getattr(again.config, setting) == before // 2


@pytest.mark.parametrize("shared", [4, 2])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_what_is_written_answers_as_the_model_does_that_sees_nothing_of_these_heads(
    family: str, shared: int, tmp_path: Path
) -> None:
    options = SIZES | {"num_key_value_heads": shared, "head_dim": 16, "use_cache": False}
    model = llama(**options) if family == "llama" else spread(Qwen3ForTokenClassification(Qwen3Config(**options)))
    parts = find_heads(model, block_paths(model, probe()), 2)
    assert (parts.before, parts.after) == (shared, shared // 2)
    again = written(model, parts, probe(), tmp_path)
    assert (again.config.num_attention_heads, again.config.num_key_value_heads) == (2, shared // 2)
    assert again.config.head_dim == 16


def written(model: Any, parts: Parts, given: dict[str, Tensor], folder: Path) -> Any:
    """The model, read again after parts drawn at random were left out, which has answered as it should."""
    chance = random.Random(1)
    kept = {block: sorted(chance.sample(range(parts.before), parts.after)) for block in parts.readers}
    (folder / "whole").mkdir()
    with torch.no_grad():
        whole = model(**given).logits
        with masked(model, [(parts, kept)]):
            expected = model(**given).logits
        assert torch.equal(model(**given).logits, whole)
        assert not torch.allclose(expected, whole, atol=1e-4)
        write_narrowed(model, [(parts, kept)], folder / "whole", folder / "pruned")
        again = type(model).from_pretrained(folder / "pruned").eval()
        torch.testing.assert_close(again(**given).logits, expected, rtol=1e-4, atol=1e-5)
    return again


class Straight(nn.Module):
    """What the maker makes of its input, which is the same, goes to the reader."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.maker = nn.Linear(len(weights), len(weights), bias=False)
        self.reader = nn.Linear(len(weights), 1, bias=False)
        self.maker.weight.data = torch.eye(len(weights))
        self.reader.weight.data = torch.tensor([weights], dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        return self.reader(self.maker(x))


class Summed:
    """A task whose loss is the sum of what the model answers."""

    def inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return batch

    def loss_sum(self, output: Tensor, batch: dict[str, Tensor]) -> Tensor:
        del batch
        return output.sum()


def test_a_neuron_matters_by_its_activation_times_its_gradient_at_each_position() -> None:
    # The gradient is the reader's weight. Two passes: 1*1 + 1*1, 2*2 + 0*2, 3*3 + 1*3, of 2 targets.
    loss = TaskLoss(Summed(), [{"x": torch.tensor([[1.0, 2, 3]])}, {"x": torch.tensor([[-1.0, 0, 1]])}], 2, 2)
    found = importance(Straight([1, -2, 3]), [Parts({}, 3, 1, {}, {"block": "reader"})], loss)
    assert [{block: parts.tolist() for block, parts in one.items()} for one in found] == [{"block": [1, 2, 6]}]


def test_of_a_head_the_products_of_its_entries_are_summed_before_their_sign_goes() -> None:
    # Positions add up without their signs: |3 - 1| + |0 + 1|, |2 + 2| + |-2 - 2|.
    loss = TaskLoss(Summed(), [{"x": torch.tensor([[[3.0, 1, 1, 1], [0, -1, -1, -1]]])}], 1, 1)
    found = importance(Straight([1, -1, 2, 2]), [Parts({}, 2, 1, {}, {"block": "reader"})], loss)
    assert [{block: parts.tolist() for block, parts in one.items()} for one in found] == [{"block": [3, 8]}]


def test_the_most_important_stay_and_of_equal_ones_the_first() -> None:
    found = {"a": torch.tensor([1.0, 5, 1, 3]), "b": torch.tensor([0.0, 0, 0, 0])}
    kept = most_important(found, 3)
    assert kept == {"a": [0, 1, 3], "b": [0, 1, 2]}
    assert stays(found, kept) == {"a": 0.9, "b": 1.0}


@pytest.mark.parametrize(
    ("wanted", "layers", "after"), [(Wanted(width=0.5), 3, 32), (Wanted(layers=2, width=0.3), 2, 16)]
)
def test_a_trained_model_is_narrowed_on_rows_of_its_task(
    wanted: Wanted, layers: int, after: int, tmp_path: Path
) -> None:
    data, folder = write_data(tmp_path / "data"), tagger(tmp_path / "model", layers=3)
    sample = Sample(str(data / "dev.conll"), "dev", DataConfig(), most_rows=5)
    out, task = tmp_path / "out" / "pruned", make_task("token-classification")
    left = prune_model(folder, out, task=task, wanted=wanted, sample=sample, tell=silent)
    blocks = "" if left.layers is None else f"blocks {left.layers.kept[0]}, {left.layers.kept[1]}; "
    assert left.told() == f"{blocks}{after} of 64 neurons in each block"
    assert (left.layers is None) == (wanted.layers is None)
    neurons = left.neurons
    assert neurons is not None
    assert (neurons.rows, neurons.after, len(neurons.kept)) == (4, after, layers)
    # By chance as much would stay as there are neurons.
    assert all(neurons.after / neurons.before < share < 1 for share in neurons.stays.values())
    pruned = AutoModelForTokenClassification.from_pretrained(out)
    assert (pruned.config.num_hidden_layers, pruned.config.intermediate_size) == (layers, neurons.after)
    whole = AutoModelForTokenClassification.from_pretrained(folder)
    of = 0 if left.layers is None else left.layers.kept[0]
    rows = whole.bert.encoder.layer[of].intermediate.dense.weight[neurons.kept["bert.encoder.layer.0"]]
    assert torch.equal(pruned.bert.encoder.layer[0].intermediate.dense.weight, rows)
    assert {"task.json", "tokenizer.json"} <= {path.name for path in out.iterdir()}
    assert [path.name for path in out.parent.iterdir()] == ["pruned"]
    assert Left.from_json(json.loads(json.dumps(left.to_json()))) == left


def refused(model: nn.Module, given: dict[str, Tensor] | None = None) -> None:
    with pytest.raises(UserError, match=rf"{type(model).__name__} cannot have fewer neurons: no number"):
        find_neurons(model, block_paths(model, given or probe()), 0.5)


def test_neurons_that_no_one_number_counts_or_that_one_layer_makes_twice_are_refused() -> None:
    bart = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 60, "use_cache": False}
    refused(BartForConditionalGeneration(BartConfig(**bart, **heads)), BOTH)
    refused(
        BloomForTokenClassification(BloomConfig(hidden_size=32, n_layer=2, n_head=2, vocab_size=60, use_cache=False))
    )
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    refused(ModernBertForTokenClassification(ModernBertConfig(**SIZES, **tokens, attn_implementation="eager")))


def test_a_share_that_leaves_every_neuron_is_refused() -> None:
    model = tiny("bert").eval()
    with pytest.raises(UserError, match=r"has 64 neurons, of which 0\.97 is 64 as a multiple of 8"):
        find_neurons(model, block_paths(model, probe()), 0.97)


def test_a_few_neurons_stay_whatever_the_share_is() -> None:
    model = tiny("bert").eval()
    assert find_neurons(model, block_paths(model, probe()), 0.001).after == 8


def test_heads_whose_size_follows_from_their_number_are_refused() -> None:
    model = tiny("bert").eval()
    with pytest.raises(UserError, match="names no head_dim"):
        find_heads(model, block_paths(model, probe()), 1)
    # T5 names one, but has a table with a column for each head.
    t5 = model_of("t5")
    with pytest.raises(UserError, match="cannot have 1 of 2 heads"):
        find_heads(t5, block_paths(t5, BOTH), 1)


@pytest.mark.parametrize(
    ("options", "heads", "why"),
    [
        ({}, 4, r"has 4 heads: --heads 4 cannot be what is left; give a multiple of 1 from 1 to 3"),
        ({"num_key_value_heads": 2}, 1, r"4 heads in groups of 2, .*; give a multiple of 2 from 2 to 2"),
        ({"num_key_value_heads": 1}, 2, r"4 heads in groups of 4, .*; none can go"),
        # Llama's configuration wants the hidden size to be a multiple of the number of heads.
        ({}, 3, r"cannot have 3 of 4 heads: its configuration refuses that number"),
    ],
)
def test_a_number_of_heads_that_cannot_be_is_refused(options: dict[str, int], heads: int, why: str) -> None:
    model = llama(**options)
    with pytest.raises(UserError, match=why):
        find_heads(model, block_paths(model, probe()), heads)


def test_something_has_to_go() -> None:
    with pytest.raises(UserError, match="give --layers, --width, --heads, --weights or several"):
        Wanted()
    with pytest.raises(UserError, match=r"--width 1\.5 is no share"):
        Wanted(width=1.5)


def test_the_job_says_what_it_must_be_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path), str(tmp_path)])
    assert done.exit_code == 2
    assert "give --layers, --width, --heads, --weights or several" in " ".join(done.output.split())


def test_the_report_and_the_picture_show_what_is_left(tmp_path: Path) -> None:
    neurons = Narrowed({"intermediate_size": 8}, 16, 8, {"layer.0": 0.8, "layer.1": 0.7}, 7, {"layer.0": [3]})
    worth = Worth(1, ({0: 3, 1: 1, 2: 2}, {0: 3, 2: 2}), 7)
    whole = Form("whole", tmp_path, 100, 0.8, "F1", 0.01, 1000)
    forms = Compressed(whole, (judge(whole, replace(whole, name="pruned", bytes=50, score=0.79), 0.02),), 0.02, 1)
    weights = Thinned("2:4", 0.5, 3, 24, 12, {"layer.0": 0.9, "layer.1": 0.8}, 7, {})
    for left in (Left(worth), Left(None, neurons), Left(weights=weights), Left(worth, neurons, neurons, weights)):
        write_report(tmp_path, Pruned(left, forms))
        assert (tmp_path / "pruned.png").stat().st_size > 10_000
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (report["layers"]["kept"], report["heads"]["kept"], report["accepted"]) == ([0], {"layer.0": [3]}, True)
    assert report["weights"] == weights.to_json()
    assert report["neurons"] == {
        "settings": {"intermediate_size": 8}, "before": 16, "after": 8, "stays": {"layer.0": 0.8, "layer.1": 0.7},
        "rows": 7,
    }  # fmt: skip
