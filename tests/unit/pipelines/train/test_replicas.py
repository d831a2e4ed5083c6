"""Several replicas with parameter servers learn what one replica learns, whoever ran what, and however it is shared."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig
from pipelines.model.examples import example_batches, num_targets
from pipelines.model.units import find_units
from pipelines.tasks.own_loss import OwnLoss
from pipelines.train.poison import Poison, Where
from tests.census.catalog import build, pairs
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny
from tests.unit.pipelines.several_replicas import SeveralReplicas

STEPS = 5
CUTS = [[3], [5]]
"""The two replicas are cut at different places."""


def train_config(**changes: object) -> TrainConfig:
    return TrainConfig(**({"learning_rate": 1e-3, "warmup": 0.2, "weight_decay": 0.01, "clip": 0.5} | changes))


def shared(
    model: nn.Module | None = None, *, steps: int = STEPS, **options: Any
) -> tuple[list[float], SeveralReplicas]:
    given = {"cuts": CUTS, "servers": 2, "train": train_config(), "num_steps": steps} | options
    run = SeveralReplicas(tiny("bert") if model is None else model, **given)
    return run.run(micro_batches(steps)), run


@cache
def one_replica(dtype: str = "float32", **changes: object) -> tuple[list[float], dict[str, Tensor]]:
    model = tiny("bert", dtype=getattr(torch, dtype))
    run = OneProcess(model, cut=[3], train=train_config(**changes), dtype=dtype, num_steps=STEPS)
    return [run.step(n, batches) for n, batches in enumerate(micro_batches(STEPS))], run.weights()


@cache
def two_alike() -> tuple[list[float], SeveralReplicas]:
    return shared()


def worst(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of any weight, relative to the largest weight of its tensor."""
    assert one.keys() == other.keys()
    return max(((one[n] - other[n]).abs().max() / other[n].abs().max().clamp(min=1e-30)).item() for n in one)


def different(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 1e-4)])
def test_two_replicas_learn_what_one_replica_learns_with_dropout(dtype: str, bound: float) -> None:
    losses, run = shared(tiny("bert", dtype=getattr(torch, dtype)), dtype=dtype)
    plain_losses, plain = one_replica(dtype)
    assert losses == pytest.approx(plain_losses, rel=bound)
    assert worst(run.weights(), plain) <= bound
    assert run.waves_run == [STEPS, STEPS]


def test_uneven_shares_of_a_step_change_only_the_order_of_a_sum() -> None:
    losses, run = shared(tiny("bert", dtype=torch.float64), dtype="float64", shares=[3, 1])
    assert losses == pytest.approx(one_replica("float64")[0], rel=1e-10)
    assert worst(run.weights(), one_replica("float64")[1]) <= 1e-10


def test_one_replica_with_servers_has_the_bits_of_one_without() -> None:
    # Without clipping: the norm is summed over pieces and not over whole tensors, and rounded otherwise.
    run = shared(cuts=[[3]], train=train_config(clip=None))[1]
    assert different(run.weights(), one_replica(clip=None)[1]) == []


@pytest.mark.parametrize(
    "options",
    [
        {"slowness": [1, 3]},
        {"slowness": [3, 1]},
        {"servers": 1},
        {"servers": 5},
        {"cuts": [[4], []]},
        {"sharing": "bounded"},
        {"sharing": "bounded", "slowness": [1, 3]},
        {"sharing": "bounded", "cuts": [[3], [5], [2]], "shares": [1, 1, 1e-9], "slowness": [5, 2, 1]},
    ],
    ids=str,
)
def test_the_bits_depend_on_nothing_but_the_waves(options: dict[str, Any]) -> None:
    shares = {"shares": [2, 1, 1], "cuts": [*CUTS, [4]]} if len(options.get("cuts", CUTS)) == 3 else {}
    plain_losses, plain = shared(**shares) if shares else two_alike()
    losses, run = shared(**(options | shares))
    assert losses == plain_losses
    assert different(run.weights(), plain.weights()) == []


def test_within_a_bound_the_fast_replica_does_more_and_nothing_is_staler_than_the_bound() -> None:
    losses, run = shared(steps=12, sharing="bounded", staleness=2, slowness=[1, 3])
    staleness = [stale for report in run.reports for stale in report.staleness]
    assert [report.step for report in run.reports] == list(range(12))
    assert run.waves_run[0] > run.waves_run[1]
    assert 0 < max(staleness) <= 2
    assert len(losses) == 12


def test_without_a_bound_every_step_is_an_update_as_it_comes() -> None:
    losses, run = shared(steps=12, sharing="async", slowness=[1, 3])
    assert [report.version for report in run.reports] == list(range(1, 13))
    assert sorted(report.step for report in run.reports) == list(range(12))
    assert [report.step for report in run.reports] != list(range(12))
    assert run.waves_run[0] > run.waves_run[1] > 0
    assert max(stale for report in run.reports for stale in report.staleness) > 0
    assert len(losses) == 12


def test_a_table_trained_by_rows_learns_what_a_dense_one_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    _, dense = shared(train=train_config(weight_decay=0.0))
    monkeypatch.setattr("pipelines.train.sparse.SMALLEST", 8)
    _, by_rows = shared(train=train_config(weight_decay=0.0))
    _, spread = shared(train=train_config(weight_decay=0.0), servers=3)
    assert by_rows.stages[0, 0].table_names == (
        "bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight",
    )  # fmt: skip
    assert worst(by_rows.weights(), dense.weights()) < 1e-5
    assert different(by_rows.weights(), spread.weights()) == []
    rows = [sent for sent in by_rows.mail.sent if sent[2] == "pushing"]
    assert len(rows) == STEPS * 2 * 2 * 2


def test_the_state_goes_on_with_other_servers_as_if_nothing_had_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.train.sparse.SMALLEST", 8)
    train = train_config(weight_decay=0.0)
    whole = shared(train=train)[1]
    steps = micro_batches(STEPS)
    model = tiny("bert")
    first = SeveralReplicas(model, cuts=CUTS, servers=2, train=train, num_steps=STEPS)
    first.run(steps[:3])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(first.weights()[name])
    second = SeveralReplicas(
        model, cuts=[[2], []], servers=3, train=train, num_steps=STEPS, moments=first.moments(), version=3
    )
    second.run(steps[3:])
    assert different(second.weights(), whole.weights()) == []


def test_the_state_goes_on_without_servers_too() -> None:
    train = train_config(weight_decay=0.0)
    whole = shared(tiny("bert", dtype=torch.float64), dtype="float64", train=train)[1]
    steps, model = micro_batches(STEPS), tiny("bert", dtype=torch.float64)
    first = SeveralReplicas(model, cuts=CUTS, servers=2, train=train, dtype="float64", num_steps=STEPS)
    first.run(steps[:3])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(first.weights()[name])
    second = OneProcess(model, cut=[4], train=train, dtype="float64", num_steps=STEPS)
    for stage in second.stages:
        stage.restore(first.moments())
    for number in range(3, STEPS):
        second.step(number, steps[number])
    assert worst(second.weights(), whole.weights()) <= 1e-10


def test_gradients_that_are_not_finite_change_nothing() -> None:
    model = tiny("bert")
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    run = SeveralReplicas(model, cuts=CUTS, servers=2, train=train_config())
    run.run(micro_batches(1))
    assert [report.skipped for report in run.reports] == [True]
    assert run.poisons == {0: Poison(0, Where.FORWARD, 7, "head")}
    initial = dict(model.named_parameters())
    assert different(run.weights(), initial) == ["classifier.bias"]  # NaN is not equal to itself


@pytest.mark.parametrize(
    ("head", "model_type", "cut"), [("causal-lm", "gpt2", [2, 4]), ("masked-lm", "albert", [1, 3])]
)
def test_a_parameter_that_stages_share_is_summed_by_its_server(head: str, model_type: str, cut: list[int]) -> None:
    (pair,) = [pair for pair in pairs() if (pair.head, pair.model_type) == (head, model_type)]
    model, train = build(pair), train_config(warmup=0.0)
    model.config.use_cache = False
    batches = example_batches(model, head, count=4)
    units = find_units(model, batches[0])
    total = sum(num_targets(batch, head) for batch in batches)
    options: dict[str, Any] = {"dtype": "float64", "head": OwnLoss(head), "units": units}
    plain = OneProcess(model, cut=cut, train=train, **options)
    losses = [plain.step(n, batches, num_targets=total) for n in range(STEPS)]
    run = SeveralReplicas(model, cuts=[cut, []], servers=2, train=train, num_targets=total, **options)
    # These heads compute their loss in float32 whatever the model's own precision is.
    assert run.run([batches] * STEPS) == pytest.approx(losses, rel=1e-6)
    assert worst(run.weights(), plain.weights()) <= 1e-6
