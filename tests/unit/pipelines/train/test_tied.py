"""A tied parameter is trained alike, to the last bit, wherever the cut goes between its places."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipelines.config import TrainConfig
from pipelines.model.examples import example_batches, num_targets
from pipelines.model.units import find_units
from pipelines.plan.holders import shared_parameters
from pipelines.tasks.own_loss import OwnLoss
from pipelines.train.tied import Places, as_message, from_message, total
from tests.census.catalog import build, pairs
from tests.unit.pipelines.one_process import OneProcess

TRAIN = TrainConfig(learning_rate=1e-2, clip=0.5, warmup=0.0)
STEPS = 3


def learnt(head: str, model_type: str, cut: list[int]) -> tuple[list[float], dict[str, Any], set[str]]:
    (pair,) = [pair for pair in pairs() if (pair.head, pair.model_type) == (head, model_type)]
    return trained(build(pair, dtype=torch.float32), head, cut)


def relative_positions() -> nn.Module:
    """A DeBERTa, whose blocks all take the same embeddings of relative positions."""
    import transformers

    torch.manual_seed(0)
    config = transformers.DebertaV2Config(
        vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm",
        share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
    )  # fmt: skip
    return transformers.DebertaV2ForMaskedLM(config)


def trained(model: nn.Module, head: str, cut: list[int]) -> tuple[list[float], dict[str, Any], set[str]]:
    model.config.use_cache = False
    batches = example_batches(model, head, count=4)
    units = find_units(model, batches[0])
    run = OneProcess(model, cut=cut, train=TRAIN, head=OwnLoss(head), units=units, num_steps=STEPS)
    total_targets = sum(num_targets(batch, head) for batch in batches)
    losses = [run.step(step, batches, num_targets=total_targets) for step in range(STEPS)]
    return losses, run.weights(), set(shared_parameters(units, [0, *cut, len(units)], range(len(cut) + 1)))


@pytest.mark.parametrize(
    ("head", "model_type", "tied"),
    [
        ("causal-lm", "gpt2", "transformer.wte.weight"),
        ("masked-lm", "bert", "bert.embeddings.word_embeddings.weight"),
        ("seq2seq-lm", "t5", "shared.weight"),
        ("seq2seq-lm", "bart", "model.shared.weight"),
    ],
)
def test_every_cut_gives_bitwise_equal_losses_and_weights(head: str, model_type: str, tied: str) -> None:
    losses, weights, _ = learnt(head, model_type, [])
    for cut in ([1], [2], [1, 3]):
        cut_losses, cut_weights, shared = learnt(head, model_type, cut)
        assert tied in shared
        assert cut_losses == losses
        assert [name for name, value in weights.items() if not torch.equal(cut_weights[name], value)] == []


def test_what_is_made_once_before_the_blocks_is_sent_to_them_and_trained_alike_by_every_cut() -> None:
    once = {"deberta.encoder.rel_embeddings.weight", "deberta.encoder.LayerNorm.weight"}
    losses, weights, _ = trained(relative_positions(), "masked-lm", [])
    assert once < set(weights)
    for cut in ([2], [3], [1, 3]):
        cut_losses, cut_weights, shared = trained(relative_positions(), "masked-lm", cut)
        # Before the first block it is not there yet to be sent.
        assert once.isdisjoint(shared) or cut[0] == 1
        assert cut_losses == losses
        assert [name for name, value in weights.items() if not torch.equal(cut_weights[name], value)] == []


def test_each_place_has_a_gradient_of_its_own_and_the_values_are_the_same_memory() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7, bias=False))
    table = model[0].weight
    model[1].weight = table
    places = Places(model, {"0.weight": table})
    assert places.names == ["0.weight"]
    model(torch.tensor([1, 2])).sum().backward()
    assert table.grad is None
    parts = places.take("0.weight", table)
    assert [place for place, _ in parts] == [0, 1]
    assert places.take("0.weight", table) == []
    whole = total(parts, [])
    assert whole is not None
    with torch.no_grad():
        table.sub_(whole)
    assert torch.equal(model[0].weight, model[1].weight)
    assert model[0].weight.data_ptr() == table.data_ptr()


def test_parts_are_added_place_by_place_whoever_sends_them() -> None:
    one, small = torch.tensor([1e8]), torch.tensor([3.0])
    # In float32 1e8 + 3 + 3 is 1e8, and 3 + 3 + 1e8 is not.
    assert total([], [(2, small), (0, one), (1, small)]) == one
    assert total([], [(0, small), (2, one), (1, small)]) != one
    assert total([], []) is None
    for own in ({0}, {1}, {2}, {0, 2}, {1, 2}, {0, 1, 2}):
        parts = [(0, small.clone()), (1, small.clone()), (2, one.clone())]
        others = [part for part in parts if part[0] not in own]
        expected = total([], [(0, small), (1, small), (2, one)])
        assert total([part for part in parts if part[0] in own], others) == expected
        assert all(torch.equal(gradient, small) or torch.equal(gradient, one) for _, gradient in others)


def test_a_message_of_parts_arrives_as_it_was_sent() -> None:
    parts = [[(0, torch.ones(2)), (3, torch.zeros(2))], [], [(1, torch.ones(1, 2))]]
    there = from_message(as_message(parts), 3)
    assert [[(place, value.tolist()) for place, value in row] for row in there] == [
        [(place, value.tolist()) for place, value in row] for row in parts
    ]
    assert from_message(as_message([[], []]), 2) == [[], []]
