"""Stages that compute in their own ways still train one model."""

from __future__ import annotations

import pytest
import torch

from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.plan.local import Local
from pipelines.train.local import check_local, localised
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny

STEPS = 6


def local(precision: str = "float32", optimizer: str = "adamw", learning_rate: float = 1e-3) -> Local:
    return Local(optimizer, (0.9, 0.999), learning_rate, precision, None, compile=False)  # type: ignore[arg-type]


def run(*chosen: Local, dtype: str = "float32", dropout: float = 0.1) -> OneProcess:
    # Its embeddings end in a product, so that a stage may send what it computed in half precision.
    model = tiny("electra", dropout=dropout, dtype=getattr(torch, dtype))
    cut = [1, 5][: len(chosen) - 1]
    train = TrainConfig(learning_rate=1e-3, warmup=0.0)
    return OneProcess(model, cut=cut, train=train, dtype=dtype, num_steps=STEPS, local=chosen)


def losses(one: OneProcess) -> list[float]:
    return [one.step(number, batches) for number, batches in enumerate(micro_batches(STEPS))]


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
@pytest.mark.parametrize("halves", [(0,), (1,), (2,)], ids=["the first stage", "the middle one", "the last one"])
def test_a_stage_in_half_precision_trains_with_others_in_float32(half: str, halves: tuple[int]) -> None:
    found = losses(run(*(local(half if j in halves else "float32") for j in range(3))))
    expected = losses(run(local(), local(), local()))
    assert found != expected
    assert found == pytest.approx(expected, rel=0.02)


def test_what_a_half_precision_stage_sends_and_gets_back_is_as_precise_as_it_computes() -> None:
    first, second = run(local("bfloat16"), local()).stages
    batch = micro_batches(1)[0][0]
    sent = first.forward(0, 0, 0, batch, [], 1.0)
    second.forward(0, 1, 0, batch, sent, 1.0)
    back = second.backward(1, 0, [])
    assert [tensor.dtype for tensor in back] == [tensor.dtype for tensor in sent if tensor.is_floating_point()]
    assert torch.bfloat16 in {tensor.dtype for tensor in back}


def test_each_stage_updates_with_its_own_optimizer_and_rate_under_one_norm() -> None:
    mixed, plain, lion = (
        run(*chosen)
        for chosen in (
            (local(), local(optimizer="lion", learning_rate=1e-4)),
            (local(), local()),
            (local(optimizer="lion", learning_rate=1e-4), local(optimizer="lion", learning_rate=1e-4)),
        )
    )
    batches = micro_batches(1)[0]
    for one in (mixed, plain, lion):
        one.step(0, batches)
    first, second = (set(stage.parameters) for stage in mixed.stages)
    weights, by_adamw, by_lion = mixed.weights(), plain.weights(), lion.weights()
    assert all(torch.equal(weights[name], by_adamw[name]) for name in first)
    assert all(torch.equal(weights[name], by_lion[name]) for name in second)


def test_optimizers_for_gpus_are_refused_on_cpus_before_anything_starts() -> None:
    check_local(TrainConfig(), [("cpu", local()), ("gpu", local(optimizer="adamw-8bit"))])
    with pytest.raises(UserError, match="adamw-8bit computes on GPUs only, and a stage is on a CPU"):
        check_local(TrainConfig(), [("cpu", local(optimizer="adamw-8bit"))])


def test_stages_alike_are_told_what_they_would_be_without_choices() -> None:
    one = run(local(), local())
    specs = [stage.spec for stage in one.stages]
    assert localised(specs, TrainConfig(learning_rate=1e-3, warmup=0.0), [local(), local()]) == specs
