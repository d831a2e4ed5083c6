"""What is frozen stays as it is, costs no graph, and sends nothing back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.model.freeze import freeze, trained
from pipelines.model.units import find_units
from pipelines.plan.plan import make_plan, unit_costs
from pipelines.plan_settings import PlanConfig
from pipelines.train.frozen import FrozenLinear
from tests.unit.pipelines.one_process import OneProcess, micro_batches, probe, tiny

TRAIN = TrainConfig(learning_rate=1e-2, warmup=0.0, weight_decay=0.01, clip=0.5)
BOTTOM = ("bert.embeddings.*", "bert.encoder.layer.[01].*")


def frozen_bert(patterns: tuple[str, ...] = BOTTOM, **options: Any) -> nn.Module:
    model = tiny("bert", **options)
    freeze(model, patterns)
    return model


@pytest.mark.parametrize("patterns", [BOTTOM, ("bert.*",), ("*.attention.*",), ("*.bias", "*LayerNorm*")], ids=str)
def test_every_cut_trains_the_rest_bitwise_alike_and_leaves_the_frozen_part_alone(patterns: tuple[str, ...]) -> None:
    found = []
    for cut in ([], [2], [1, 3], [1, 2, 3]):
        run = OneProcess(frozen_bert(patterns), cut=cut, train=TRAIN, num_steps=5)
        found.append(([run.step(n, batches) for n, batches in enumerate(micro_batches(5))], run.weights()))
    losses, weights = found[0]
    assert set(weights) == set(trained(frozen_bert(patterns)))
    for other_losses, other in found[1:]:
        assert other_losses == losses
        assert [name for name in weights if not torch.equal(weights[name], other[name])] == []
    start = dict(tiny("bert").named_parameters())
    assert not any(torch.equal(value, start[name]) for name, value in weights.items() if "key.bias" not in name)


def test_a_partly_frozen_model_learns_what_a_plain_loop_learns() -> None:
    model = frozen_bert(dropout=0.0, dtype=torch.float64)
    run = OneProcess(model, cut=[2], train=TRAIN, dtype="float64", num_steps=5)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": TRAIN.weight_decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0)
    for n, batches in enumerate(micro_batches(5)):
        run.step(n, batches)
        counts = [int((batch["labels"] != -100).sum()) for batch in batches]
        pairs = [(batch, count) for batch, count in zip(batches, counts, strict=True) if count]
        sum(model(**batch).loss * count / sum(counts) for batch, count in pairs).backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], TRAIN.clip)
        for group in optimizer.param_groups:
            group["lr"] = TRAIN.learning_rate * (1 - n / 5)
        optimizer.step()
        optimizer.zero_grad()
    weights = run.weights()
    for name, value in named:
        assert ((weights[name] - value).abs().max() / value.abs().max()).item() <= 1e-10, name


def test_nothing_goes_back_to_a_stage_before_which_and_in_which_nothing_is_trained() -> None:
    # Units: embeddings, two halves of each of three blocks, head. Stages 0 and 1 are frozen; stage 2 begins with a
    # frozen block.
    run = OneProcess(frozen_bert(), cut=[1, 3, 7], train=TRAIN)
    run.step(0, micro_batches(1)[0])
    sent = run.mail.sent
    assert {entry for entry in sent if entry[2] == "gradients"} == {(3, 2, "gradients")}
    assert {entry[:2] for entry in sent if entry[2] == "activations"} == {(0, 1), (1, 2), (2, 3)}


def test_a_frozen_stage_keeps_nothing_for_a_backward() -> None:
    run = OneProcess(frozen_bert(), cut=[3], train=TRAIN)
    frozen = run.stages[0]
    (tensor,) = frozen.forward(0, 0, 0, micro_batches(1)[0][0], [], target_weight=1.0)
    assert frozen._waiting[0, 0] == ([], [])
    assert tensor.grad_fn is None


def test_a_plan_knows_what_is_frozen() -> None:
    model = tiny("bert", layers=6)
    units = find_units(model, probe())
    freeze(model, ("bert.embeddings.*", "bert.encoder.layer.[0123].*"))
    costs = unit_costs(units, trained(model))
    sizes = [unit.size for unit in units.all]
    # Frozen halves below all that is trained: forward alone. Trained ones: forward and two gradients.
    assert costs[1:9] == sizes[1:9]
    assert costs[9:13] == [3 * size for size in sizes[9:13]]
    # Ten parts of work, five for each of two stages: four frozen blocks weigh as much as one and a third.
    assert make_plan(units, PlanConfig(stages=2), trained(model)).replicas[0].bounds == [0, 9, 14]
    assert make_plan(units, PlanConfig(stages=2)).replicas[0].bounds == [0, 7, 14]


def test_a_frozen_linear_layer_answers_and_passes_on_as_a_plain_one_does() -> None:
    layer = nn.Linear(48, 80).requires_grad_(False)
    x = torch.randn(3, 5, 48, requires_grad=True)
    weight = torch.randn(3, 5, 80)
    expected = layer(x)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), x)
    y = FrozenLinear(layer)(x)
    (found,) = torch.autograd.grad((y * weight).sum(), x)
    assert torch.allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_pattern_that_fits_nothing_is_refused_with_names_that_there_are() -> None:
    with pytest.raises(UserError, match=r"no parameter is called 'encoder.*'.*Names are such as bert\.embeddings"):
        freeze(tiny("bert"), ("encoder.*",))


def test_a_model_with_nothing_left_to_train_is_refused() -> None:
    with pytest.raises(UserError, match="leaves nothing to train"):
        freeze(tiny("bert"), ("*",))
