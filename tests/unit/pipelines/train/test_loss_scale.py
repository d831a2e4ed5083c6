"""float16: the loss scale is GradScaler's, wherever the model was cut and however often it overflowed."""

from __future__ import annotations

import math
import random
from functools import cache
from pathlib import Path

import pytest
import torch

from pipelines.adapter_settings import AdapterConfig
from pipelines.config import Config, TrainConfig
from pipelines.errors import UserError
from pipelines.train.checkpoint import open_checkpoint
from pipelines.train.checkpoint_write import save_checkpoint
from pipelines.train.device import Device
from pipelines.train.loss_scale import LossScale, check_scaling
from pipelines.train.specs import held
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny

HUGE = 2.0**26
"""So large that the first steps overflow, and small enough that the later ones do not."""
STEPS = 40


def train_config(**changes: object) -> TrainConfig:
    return TrainConfig(
        **({"learning_rate": 1e-3, "warmup": 0.2, "weight_decay": 0.01, "clip": 0.5, "precision": "float16"} | changes)
    )


def make(cut: list[int], schedule: str = "1f1b", **changes: object) -> OneProcess:
    return OneProcess(tiny("bert"), cut=cut, train=train_config(**changes), schedule=schedule, num_steps=STEPS)


def scales(run: OneProcess) -> set[float]:
    """On all stages: equal ones count once."""
    return {float(dict(stage.named_moments())[".loss_scale/scale"]) for stage in run.stages}


def learnt(cut: list[int], **changes: object) -> tuple[list[float], dict[str, torch.Tensor]]:
    run = make(cut, **changes)
    return [run.step(n, batches) for n, batches in enumerate(micro_batches(8))], run.weights()


@cache
def uncut(**changes: object) -> tuple[list[float], dict[str, torch.Tensor]]:
    return learnt([], **changes)


@pytest.mark.parametrize(
    ("cut", "scale", "recompute"),
    [
        ([2], None, False),
        ([1, 2, 3, 4], None, True),
        ([2], HUGE, True),
        ([1, 3], HUGE, True),
        ([1, 2, 3, 4], HUGE, False),
    ],
    ids=str,
)
def test_every_cut_gives_bitwise_equal_losses_and_weights(cut: list[int], scale: float | None, recompute: bool) -> None:
    losses, weights = learnt(cut, loss_scale=scale, recompute=recompute)
    plain_losses, plain = uncut(loss_scale=scale, recompute=recompute)
    assert losses == plain_losses
    assert [name for name in plain if not torch.equal(weights[name], plain[name])] == []


@pytest.mark.parametrize("cut", [[], [2], [1, 2, 3, 4]], ids=str)
def test_a_step_that_overflows_changes_nothing_on_any_stage_and_halves_the_scale_on_all(
    cut: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tables that are trained by rows keep more from step to step than others.
    monkeypatch.setattr("pipelines.train.sparse.SMALLEST", 8)
    run = make(cut, loss_scale=HUGE, weight_decay=0.0)
    changed = []
    before, scale = run.weights(), HUGE
    for n, batches in enumerate(micro_batches(12)):
        run.step(n, batches)
        after = run.weights()
        # The learning rate of step 0 is 0.
        changed.append(any(not torch.equal(before[name], after[name]) for name in after))
        assert len(scales(run)) == 1
        (now,) = scales(run)
        assert now == (scale if changed[-1] else scale / 2)
        before, scale = after, now
    assert changed[:3] == [False] * 3
    assert sum(changed) >= 3


def test_what_was_skipped_leaves_no_trace_in_gradients_and_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.train.sparse.SMALLEST", 8)
    steps = micro_batches(5)
    overflowed = make([2], loss_scale=HUGE, decay="constant", warmup=0.0, weight_decay=0.0)
    tried: list[float] = []
    while not tried or scales(overflowed) != {tried[-1]}:
        (scale,) = scales(overflowed)
        overflowed.step(0, steps[0])
        tried.append(scale)
    assert len(tried) > 3
    plain = make([2], loss_scale=tried[-1], decay="constant", warmup=0.0, weight_decay=0.0)
    plain.step(0, steps[0])
    for n in range(1, 5):
        assert overflowed.step(n, steps[n]) == plain.step(n, steps[n])
    weights = plain.weights()
    assert all(torch.equal(value, weights[name]) for name, value in overflowed.weights().items())


def test_the_scale_goes_the_way_of_torchs_own() -> None:
    chance = random.Random(3)
    norms = [float("inf"), float("nan"), *[1.0] * 2001, float("inf"), *[1.0] * 1999, math.inf, *[1.0] * 4100]
    norms += [chance.choice([1.0, 1.0, math.inf]) for _ in range(300)]
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    theirs, ours = torch.amp.GradScaler("cpu"), LossScale()
    grown = set()
    for norm in norms:
        assert theirs.get_scale() == ours.scale
        grown.add(ours.scale)
        theirs.scale(weight.sum())
        weight.grad = torch.tensor([norm])
        theirs.step(optimizer)
        theirs.update()
        ours = ours.after(norm)
    assert max(grown) == 65536.0
    assert len(grown) > 10


def test_a_run_goes_on_with_its_scale_on_another_plan(tmp_path: Path) -> None:
    steps = micro_batches(16)
    whole = make([2], loss_scale=HUGE)
    for n in range(16):
        whole.step(n, steps[n])

    first = make([1, 3], loss_scale=HUGE)
    for n in range(8):
        first.step(n, steps[n])
    assert scales(first) < {HUGE / 2**k for k in range(1, 50)}
    parts = [(dict(stage.named_weights()), dict(stage.named_moments())) for stage in first.stages]
    place = save_checkpoint(tmp_path, step=8, facts={}, parts=parts)
    start = open_checkpoint(place)
    model = tiny("bert")
    model.load_state_dict(dict(start.weights()), strict=False)
    second = OneProcess(model, cut=[2], train=train_config(loss_scale=HUGE), num_steps=STEPS)
    for stage in second.stages:
        stage.restore(dict(start.moments(held(second.units, stage.spec))))
    for n in range(8, 16):
        second.step(n, steps[n])
    ours, theirs = second.weights(), whole.weights()
    assert scales(second) == scales(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_model_that_leaves_float16s_range_ends_the_run_with_what_to_do() -> None:
    run = make([2], loss_scale=2.0)
    for stage in run.stages:
        for name, parameter in stage.parameters.items():
            if "intermediate" in name:
                parameter.data.fill_(1e5)
    batches = micro_batches(3)
    run.step(0, batches[0])
    with pytest.raises(FloatingPointError, match=r"loss scale is already down to 0.5.* Use train.precision=bfloat16"):
        run.step(1, batches[1])


def test_float16_learns_about_what_float32_learns() -> None:
    runs = {name: make([2], precision=name) for name in ("float16", "float32", "bfloat16")}
    losses = {name: [run.step(n, batches) for n, batches in enumerate(micro_batches(20))] for name, run in runs.items()}
    apart = {name: max(abs(a - b) for a, b in zip(losses[name], losses["float32"], strict=True)) for name in losses}
    assert apart["float16"] < apart["bfloat16"] < 0.1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(train=TrainConfig(loss_scale=2.0)), r"train.loss_scale=2.0 has no effect with train.precision=float32"),
        (
            Config(train=TrainConfig(precision="float16"), adapter=AdapterConfig(method="adalora")),
            r"adalora does not go together with train.precision=float16",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(config: Config, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_scaling(config)


def test_an_operation_without_float16_on_the_device_is_named_with_what_to_do() -> None:
    device = Device(torch.device("cpu"), threads=1)
    with (
        pytest.raises(UserError, match=r"cannot be trained in float16 on CPU, 1 thread: .*Half.* train.precision=bfl"),
        device.precision("float16"),
    ):
        torch.linalg.lu_factor(torch.eye(2, dtype=torch.float16))
