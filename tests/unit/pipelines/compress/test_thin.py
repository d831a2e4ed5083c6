"""Single weights go by what they are worth, and what is left is a model as any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification
from transformers.pytorch_utils import Conv1D

from pipelines.compress.prune import Left, Wanted, prune_model
from pipelines.compress.thin import ANY, TWO_OF_FOUR, Thinned, choose, importance, most_important, thin, watched
from pipelines.compress.trained import Sample
from pipelines.config import DataConfig
from pipelines.errors import UserError
from pipelines.tasks import make_task
from tests.tiny import write_data
from tests.unit.pipelines.compress.test_layers import tagger

WEIGHT = torch.tensor([[3.0, -4, 1, 1], [0, 0, 2, -1]])
GIVEN = torch.tensor([[[2.0, 1, 0, 0], [0, 0, 0, 8]], [[0, 0, 1, 0], [0, 0, 0, 0]]])
WORTH = [[6, 4, 1, 8], [0, 0, 2, 8]]


def layer_of(kind: type[nn.Module], weight: Tensor) -> nn.Module:
    neurons, inputs = weight.shape
    layer = nn.Linear(inputs, neurons) if kind is nn.Linear else Conv1D(neurons, inputs)
    layer.weight.data = weight.clone() if kind is nn.Linear else weight.t().contiguous()
    return layer


@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
def test_a_weight_is_worth_its_size_times_the_norm_of_its_input(kind: type[nn.Module]) -> None:
    layer = layer_of(kind, WEIGHT)
    with watched({"a": layer, "b": nn.Linear(4, 4)}) as squares:
        for one in GIVEN:
            layer(one)
    layer(GIVEN)
    assert {path: sums.tolist() for path, sums in squares.items()} == {"a": [4, 1, 1, 64]}
    assert importance(layer, squares["a"]).tolist() == WORTH


@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
def test_of_every_neuron_as_many_weights_stay(kind: type[nn.Module]) -> None:
    layer = layer_of(kind, WEIGHT)
    stays = most_important(torch.tensor(WORTH), group=4, stay=2)
    assert stays.int().tolist() == [[1, 0, 0, 1], [0, 0, 1, 1]]
    thin(layer, stays)
    expected = torch.tensor([[3.0, 0, 0, 1], [0, 0, 2, -1]])
    assert torch.equal(layer.weight, expected if kind is nn.Linear else expected.t())


def test_of_every_four_neighbours_two_stay_and_of_equal_ones_the_first() -> None:
    worth = torch.tensor([[1.0, 2, 3, 4, 9, 9, 9, 9], [0, 0, 0, 0, 7, 6, 8, 5]])
    assert most_important(worth, group=4, stay=2).int().tolist() == [
        [0, 0, 1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0, 1, 0],
    ]


def test_a_layer_that_does_not_fit_a_pattern_or_was_never_used_is_left_whole() -> None:
    layers = {"a": nn.Linear(8, 2), "b": nn.Linear(6, 2), "c": nn.Linear(8, 2)}
    squares = {"a": torch.ones(8), "b": torch.ones(6)}
    kept, whole = choose(layers, squares, 0.5, TWO_OF_FOUR)
    assert list(kept) == ["a"]
    assert whole == {"b": "its 6 inputs are no multiple of 4", "c": "none of the rows went through it"}
    kept, whole = choose(layers, squares, 0.3, ANY)
    assert {path: one.sum(1).tolist() for path, one in kept.items()} == {"a": [2, 2], "b": [2, 2]}
    assert list(whole) == ["c"]


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(weights=0.25),
        Wanted(pattern=TWO_OF_FOUR),
        Wanted(weights=0.5, pattern=TWO_OF_FOUR),
        Wanted(weights=0.5, layers=2, width=0.5),
    ],
    ids=str,
)
def test_a_trained_model_is_thinned_on_rows_of_its_task(wanted: Wanted, tmp_path: Path) -> None:
    data, folder = write_data(tmp_path / "data"), tagger(tmp_path / "model", layers=3)
    sample = Sample(str(data / "dev.conll"), "dev", DataConfig(), most_rows=5)
    told: list[str] = []
    out, task = tmp_path / "out" / "pruned", make_task("token-classification")
    left = prune_model(folder, out, task=task, wanted=wanted, sample=sample, tell=told.append)
    thinned, share, layers = left.weights, wanted.share, wanted.layers or 3
    assert thinned is not None
    assert (thinned.share, thinned.pattern, thinned.rows, thinned.matrices) == (share, wanted.pattern, 4, 6 * layers)
    assert thinned.after / thinned.before == share
    assert all(share < stays < 1 for stays in thinned.stays.values())
    assert len(thinned.stays) == layers
    assert thinned.whole == {}
    assert left.told().endswith(f"{thinned.after:,} of {thinned.before:,} weights in {6 * layers} linear layers")
    assert told[-1].startswith("without the single weights that go: loss ")
    pruned = AutoModelForTokenClassification.from_pretrained(out)
    for name, parameter in pruned.named_parameters():
        inside = ".encoder.layer." in name and parameter.ndim == 2
        if inside and wanted.pattern == TWO_OF_FOUR:
            assert ((parameter != 0).unflatten(1, (-1, 4)).sum(-1) == 2).all(), name
        elif inside:
            assert ((parameter != 0).float().mean(1) == share).all(), name
        elif parameter.ndim == 2 and "embeddings" not in name:
            assert (parameter != 0).all(), name
    assert {"task.json", "tokenizer.json"} <= {path.name for path in out.iterdir()}
    assert [path.name for path in out.parent.iterdir()] == ["pruned"]
    assert Left.from_json(json.loads(json.dumps(left.to_json()))) == left
    assert left.report()["weights"]["stays"] == thinned.stays


def test_a_share_that_leaves_all_of_them_is_refused(tmp_path: Path) -> None:
    data, folder = write_data(tmp_path / "data"), tagger(tmp_path / "model", layers=2)
    sample = Sample(str(data / "dev.conll"), "dev", DataConfig(), most_rows=2)
    with pytest.raises(
        UserError, match=r"No single weight of BertForTokenClassification would go: of 12 linear layers"
    ):
        prune_model(
            folder, tmp_path / "out", task=make_task("token-classification"), wanted=Wanted(weights=0.999),
            sample=sample, tell=print,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"weights": 1.5}, r"--weights 1\.5 is no share"),
        ({"weights": 0.5, "pattern": "1:4"}, r"no --pattern '1:4'; known: any, 2:4"),
        ({"weights": 0.3, "pattern": "2:4"}, r"--pattern 2:4 leaves half of the weights, not 0\.3 of them"),
        ({}, "give --layers, --width, --heads, --weights or several"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(UserError, match=why):
        Wanted(**wrong)


def test_what_was_found_is_read_again() -> None:
    found = Thinned(ANY, 0.5, 2, 32, 16, {"layer.0": 0.9}, 7, {"layer.0.odd": "its 6 inputs are no multiple of 4"})
    assert Thinned.from_json(json.loads(json.dumps(found.to_json()))) == found
