"""Weights that are zero stay zero, however they are trained, and nothing else is different."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from pipelines.config import TrainConfig, from_overrides
from pipelines.errors import UserError
from pipelines.model.linear import linear_weights
from pipelines.model.refuse import refuse_without_zeros
from pipelines.plan.schedules import SCHEDULES
from pipelines.train.optimizers import OPTIMIZERS, learning_rate
from pipelines.train.resume import lasting
from pipelines.train.zeros import Zeros, check_zeros
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny
from tests.unit.pipelines.several_replicas import SeveralReplicas

STEPS = 4
OF_CPUS = [name for name, known in OPTIMIZERS.items() if not known.gpu_only]


def thinned(family: str = "bert", **options: object) -> nn.Module:
    """A model of whose linear layers about half of the weights are zero."""
    model = tiny(family, **options)
    chance = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in linear_weights(model):
            weight.masked_fill_(torch.rand(weight.shape, generator=chance) < 0.5, 0)
    return model


def train_config(**changes: object) -> TrainConfig:
    usual = {"learning_rate": 1e-2, "warmup": 0.2, "weight_decay": 0.01, "clip": 0.5, "keep_zeros": True}
    return TrainConfig(**(usual | changes))


@cache
def trained(*cut: int, family: str = "bert", schedule: str = "1f1b", **changes: object):
    stage_of = [0, 1, 0] if len(cut) == 2 else None
    run = OneProcess(
        thinned(family), cut=cut, stage_of=stage_of, train=train_config(**changes), schedule=schedule, num_steps=STEPS
    )
    losses = [run.step(n, batches) for n, batches in enumerate(micro_batches(STEPS))]
    return losses, run.weights()


def different(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def zeros(weights: dict[str, Tensor], model: nn.Module | None = None) -> list[tuple[str, int, int]]:
    """Of each linear layer, how many weights were zero before and how many of them are now."""
    model = thinned() if model is None else model
    linear = {id(weight) for weight in linear_weights(model)}
    named = [(name, p) for name, p in model.named_parameters() if id(p) in linear]
    return [(name, int((p == 0).sum()), int((weights[name][p == 0] == 0).sum())) for name, p in named]


def kept(weights: dict[str, Tensor], model: nn.Module | None = None) -> bool:
    found = zeros(weights, model)
    assert len(found) > 12
    assert all(before > 0 for _, before, _ in found)
    return all(before == after for _, before, after in found)


@pytest.mark.parametrize("cut", [(3,), (4,), (2, 5), (1, 2, 3, 4)], ids=str)
def test_every_cut_gives_bitwise_equal_losses_and_weights_and_the_same_zeros(cut: tuple[int, ...]) -> None:
    losses, weights = trained(*cut)
    plain_losses, plain = trained()
    assert losses == plain_losses
    assert different(weights, plain) == []
    assert kept(weights)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_gives_bitwise_equal_weights(schedule: str) -> None:
    assert different(trained(2, 5, schedule=schedule)[1], trained()[1]) == []


@pytest.mark.parametrize("optimizer", OF_CPUS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_every_optimizer_leaves_zeros_and_moves_the_others(optimizer: str, weight_decay: float) -> None:
    weights = trained(3, optimizer=optimizer, weight_decay=weight_decay)[1]
    assert kept(weights)
    begun = thinned().get_parameter(name := "bert.encoder.layer.0.output.dense.weight")
    assert float((weights[name] != begun)[begun != 0].float().mean()) > 0.9


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"precision": "float16"}, {"recompute": True}, {"clip": None}], ids=str
)
def test_zeros_stay_whatever_the_precision(changes: dict[str, object]) -> None:
    assert kept(trained(3, **changes)[1])


@pytest.mark.parametrize("family", ["gpt2", "distilbert"])
def test_zeros_of_every_kind_of_linear_layer_stay(family: str) -> None:
    losses, weights = trained(3, family=family)
    assert losses == trained(family=family)[0]
    assert kept(weights, thinned(family))


def test_without_it_zeros_move_and_a_model_without_any_learns_the_same_with_it() -> None:
    assert not kept(trained(keep_zeros=False)[1])
    plain, held = (
        OneProcess(tiny("bert"), cut=[3], train=train_config(keep_zeros=keep), num_steps=STEPS)
        for keep in (False, True)
    )
    for n, batches in enumerate(micro_batches(STEPS)):
        assert plain.step(n, batches) == held.step(n, batches)
    assert different(plain.weights(), held.weights()) == []


def test_a_cut_model_learns_what_a_plain_loop_with_masks_learns() -> None:
    train, steps = train_config(), micro_batches(STEPS)
    options = {"dropout": 0.0, "dtype": torch.float64}
    run = OneProcess(thinned(**options), cut=[2, 6], train=train, dtype="float64", num_steps=STEPS)
    losses = [run.step(n, batches) for n, batches in enumerate(steps)]

    model = thinned(**options)
    masks = {id(weight): weight.detach() != 0 for weight in linear_weights(model)}
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=train.betas, eps=train.eps)
    expected = []
    for n, batches in enumerate(steps):
        targets = sum(int((batch["labels"] != -100).sum()) for batch in batches)
        logits = [(model(**{k: v for k, v in b.items() if k != "labels"}).logits, b["labels"]) for b in batches]
        parts = [functional.cross_entropy(y.flatten(0, 1), t.flatten(), reduction="sum") for y, t in logits]
        loss = torch.stack(parts).sum() / targets
        loss.backward()
        for p in parameters:
            if id(p) in masks and p.grad is not None:
                p.grad.masked_fill_(~masks[id(p)], 0)
        torch.nn.utils.clip_grad_norm_(parameters, train.clip or 0.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(n, STEPS, train)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(loss.item())
    assert losses == pytest.approx(expected, rel=1e-10)
    weights = run.weights()
    for name, p in model.named_parameters():
        difference = (weights[name] - p.detach()).abs().max() / p.detach().abs().max()
        assert difference.item() <= 1e-10, name


def test_parameter_servers_and_several_replicas_keep_them_too() -> None:
    steps = micro_batches(STEPS)
    run = SeveralReplicas(thinned(), cuts=[[3], [5]], servers=2, train=train_config(clip=None), num_steps=STEPS)
    run.run(steps)
    assert kept(run.weights())
    one = SeveralReplicas(thinned(), cuts=[[3]], servers=2, train=train_config(clip=None), num_steps=STEPS)
    one.run(steps)
    assert different(one.weights(), trained(clip=None)[1]) == []


def test_a_run_that_goes_on_from_a_checkpoint_ends_as_one_that_was_not_stopped() -> None:
    """Also where a weight became zero by chance on the way."""
    name, steps = "bert.encoder.layer.1.output.dense.weight", micro_batches(STEPS)

    def begun(model: nn.Module, cut: list[int]) -> OneProcess:
        return OneProcess(model, cut=cut, train=train_config(), num_steps=STEPS)

    def until_half(run: OneProcess) -> None:
        for n in range(STEPS // 2):
            run.step(n, steps[n])
        with torch.no_grad():
            for stage in run.stages:
                if name in stage.parameters:
                    row = stage.parameters[name][3]
                    row[int(row.abs().argmax())] = 0

    untouched, killed = begun(thinned(), [3]), begun(thinned(), [3])
    until_half(untouched)
    until_half(killed)
    model = thinned()
    with torch.no_grad():
        for key, value in killed.weights().items():
            model.get_parameter(key).copy_(value)
    resumed = begun(model, [2, 6])
    moments = {key: value.clone() for stage in killed.stages for key, value in stage.named_moments()}
    for stage in resumed.stages:
        stage.restore(moments)
    for n in range(STEPS // 2, STEPS):
        assert untouched.step(n, steps[n]) == resumed.step(n, steps[n])
    assert different(untouched.weights(), resumed.weights()) == []
    assert kept(resumed.weights())


def test_a_gradient_that_is_no_number_is_seen_all_the_same() -> None:
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data, layer.weight.grad = torch.tensor([[0.0, 2, 0]]), torch.tensor([[5.0, 3, math.inf]])
    Zeros(layer, dict(layer.named_parameters())).keep()
    assert str(layer.weight.grad.tolist()) == "[[0.0, 3.0, nan]]"


def test_a_table_of_embeddings_that_a_linear_layer_shares_is_trained_as_it_is() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20, n_positions=8))
    linear = {id(weight) for weight in linear_weights(model)}
    found = [name for name, p in model.named_parameters() if id(p) in linear]
    assert found == [
        f"transformer.h.0.{name}.weight" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    ]


def test_an_adapter_and_a_model_without_zeros_are_refused() -> None:
    check_zeros(from_overrides(["train.keep_zeros=true"]))
    check_zeros(from_overrides(["adapter=lora"]))
    with pytest.raises(UserError, match=r"train\.keep_zeros does not go together with an adapter"):
        check_zeros(from_overrides(["train.keep_zeros=true", "adapter=lora"]))
    refuse_without_zeros(thinned())
    with pytest.raises(UserError, match="no weight of a linear layer of this BertForTokenClassification is zero"):
        refuse_without_zeros(tiny("bert"))


def test_a_run_is_another_with_it_and_the_same_as_before_without() -> None:
    assert lasting(from_overrides(["train.keep_zeros=true"]))["train"]["keep_zeros"] is True
    assert "keep_zeros" not in lasting(from_overrides([]))["train"]
