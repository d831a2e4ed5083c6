"""Numbers that are not finite: no weight changes, the first of them is found wherever the model was cut, and a step
that is left out leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipelines.adapter_settings import AdapterConfig
from pipelines.config import Config, TrainConfig
from pipelines.errors import UserError
from pipelines.train.checkpoint import open_checkpoint
from pipelines.train.checkpoint_write import save_checkpoint
from pipelines.train.events import added
from pipelines.train.poison import MOST_IN_A_ROW, Poison, Tolerance, Where, check_poisoned, first_of, told
from pipelines.train.resume import difference
from pipelines.train.specs import held
from tests.unit.pipelines.one_process import Batch, OneProcess, micro_batches, tiny
from tests.unit.pipelines.several_replicas import SeveralReplicas

BAD = 59
"""A sub-word that only rows have whose step is to be left out."""
STEPS = 6
CUTS: list[dict[str, Any]] = [
    {"cut": []},
    {"cut": [3]},
    {"cut": [1, 2, 3, 4, 5, 6, 7], "schedule": "zero-bubble"},
    {"cut": [2, 4, 6], "stage_of": [0, 1, 0, 1], "schedule": "interleaved-1f1b"},
]


def train_config(**changes: object) -> TrainConfig:
    return TrainConfig(**({"learning_rate": 1e-3, "warmup": 0.0, "clip": 0.5, "poisoned": "skip"} | changes))


def steps(*poisoned: int, number: int = STEPS) -> list[list[Batch]]:
    """Those of these numbers have the bad sub-word in micro-batch 2."""
    found = micro_batches(number, vocabulary=BAD)
    for step in poisoned:
        found[step][2]["input_ids"][-1, 0] = BAD
    return found


def with_a_bad_row() -> nn.Module:
    """Its embedding of the bad sub-word is not a number."""
    model = tiny("bert")
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[BAD] = math.nan
    return model


def different(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Bit by bit; the bad row is as it was."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name].nan_to_num(7), other[name].nan_to_num(7))]


def spoilt(model: nn.Module, spoil: Callable[[nn.Module], object]) -> nn.Module:
    with torch.no_grad():
        spoil(model)
    return model


def in_the_backward(model: Any) -> None:
    """The last block's last norm multiplies gradients until their own norm overflows, and activations by far less."""
    block = model.bert.encoder.layer[2]
    block.attention.output.LayerNorm.weight.fill_(1e-10)
    for silent in (block.attention.output.LayerNorm, block.intermediate.dense, block.output.dense):
        silent.bias.zero_()
    block.output.LayerNorm.weight.fill_(1e10)
    model.classifier.weight.mul_(1e17)


# -- finding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", CUTS, ids=str)
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda model: model.bert.encoder.layer[1].attention.self.value.weight[3].fill_(math.inf),
            r"the first that are not came in the forward: activations of unit 'bert.encoder.layer.1 \(up to "
            r"attention\)' in micro-batch 0 \(rows of train: 0\)",
        ),
        (
            lambda model: model.classifier.weight[2].fill_(math.nan),
            "in the forward: activations of unit 'head' in micro-batch 0",
        ),
        (
            lambda model: model.classifier.bias.copy_(torch.tensor([3e38, -3e38, 0, 0, 0])),
            "the first that is not is the loss of micro-batch 0, behind unit 'head'",
        ),
        (
            in_the_backward,
            r"the first that is not came in the backward: the norm of the gradient of "
            r"'bert.encoder.layer.2.output.dense.bias' of unit 'bert.encoder.layer.2 \(behind attention\)' in "
            "micro-batch 0",
        ),
    ],
    ids=["block", "head", "loss", "backward"],
)
def test_the_first_unit_is_named_wherever_the_model_was_cut(
    spoil: Callable[[nn.Module], object], sentence: str, options: dict[str, Any]
) -> None:
    model = spoilt(tiny("bert", dropout=0.0), spoil)
    run = OneProcess(model, train=train_config(poisoned="stop"), **options)
    before = run.weights()
    with pytest.raises(FloatingPointError, match=f"Step 1 changed no weight: .*{sentence}.*train.poisoned=skip"):
        run.step(0, micro_batches(1)[0])
    assert different(run.weights(), before) == []


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("compress", ["none", "int8"])
def test_the_micro_batch_is_named_in_which_a_row_is_bad(recompute: bool, compress: Any) -> None:
    train = train_config(poisoned="stop", recompute=recompute)
    run = OneProcess(with_a_bad_row(), cut=[3], train=train, compress=compress)
    batches = steps(1)
    run.step(0, batches[0])
    with pytest.raises(FloatingPointError, match=r"Step 2 .*activations of unit 'embeddings' in micro-batch 2 \(rows"):
        run.step(1, batches[1])


def test_a_loss_that_is_not_finite_is_found_though_all_gradients_would_be() -> None:
    # Of a target that the model calls impossible: softmax minus one is a number, and its logarithm is not.
    model = spoilt(tiny("bert", dropout=0.0), lambda m: m.classifier.bias.copy_(torch.tensor([3e38, -3e38, 0, 0, 0])))
    run = OneProcess(model, cut=[], train=train_config())
    assert run.step(0, micro_batches(1)[0]) == math.inf
    assert [run.reports[0].skipped, run.reports[0].poison] == [True, Poison(0, Where.LOSS, 7, "head")]


def test_behind_frozen_units_the_first_one_is_named_too() -> None:
    model = with_a_bad_row()
    model.bert.embeddings.requires_grad_(False)
    run = OneProcess(model, cut=[3], train=train_config())
    run.step(0, steps(0)[0])
    assert first_of(report.poison for report in run.reports.values()) == Poison(2, Where.FORWARD, 0, "embeddings")


def test_what_shares_a_weight_is_named_by_its_own_unit() -> None:
    model = spoilt(tiny("llama"), lambda m: m.model.layers[1].mlp.down_proj.weight[0].fill_(math.nan))
    run = OneProcess(model, cut=[2], train=train_config())
    run.step(0, micro_batches(1)[0])
    poison = first_of(report.poison for report in run.reports.values())
    assert poison is not None
    assert (poison.micro_batch, poison.where, poison.unit) == (0, Where.FORWARD, "model.layers.1 (behind self_attn)")


def test_where_float16_itself_is_left_the_unit_is_named_with_what_to_do() -> None:
    def spoil(model: Any) -> None:
        model.bert.encoder.layer[1].intermediate.dense.weight.fill_(1e5)

    train = train_config(precision="float16", loss_scale=1.0)
    run = OneProcess(spoilt(tiny("bert"), spoil), cut=[2], train=train)
    with pytest.raises(FloatingPointError, match=r"bert.encoder.layer.1 \(behind .*down to 0.5.* Use train.precision="):
        run.step(0, micro_batches(1)[0])


# -- leaving out ----------------------------------------------------------------------------------


def learnt(poisoned: Sequence[int], without: Sequence[int] = (), **options: Any) -> OneProcess:
    run = OneProcess(with_a_bad_row(), train=options.pop("train", train_config()), **options)
    for number, batches in enumerate(steps(*poisoned)):
        if number not in without:
            run.step(number, batches)
    return run


@cache
def uncut(smallest: int) -> dict[str, torch.Tensor]:  # noqa: ARG001 - tables that are trained by rows sum otherwise
    return learnt([0, 3], cut=[]).weights()


@pytest.mark.parametrize(("options", "smallest"), list(zip(CUTS, [8, 8, 1024, 1024], strict=True)), ids=str)
def test_a_step_that_is_left_out_leaves_no_trace_on_any_cut(
    options: dict[str, Any], smallest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.train.sparse.SMALLEST", smallest)
    left_out, never_there = learnt([0, 3], **options), learnt([], [0, 3], **options)
    assert different(left_out.weights(), never_there.weights()) == []
    assert different(left_out.weights(), uncut(smallest)) == []


def test_with_servers_the_same_steps_are_left_out_and_the_same_is_learnt() -> None:
    # As without: see test_replicas.py.
    train = train_config(clip=None)
    run = SeveralReplicas(with_a_bad_row(), cuts=[[3]], servers=2, train=train, num_steps=20)
    run.run(steps(0, 3))
    assert [report.skipped for report in run.reports] == [True, False, False, True, False, False]
    bad = Poison(2, Where.FORWARD, 0, "embeddings")
    assert run.poisons == {0: bad, 1: None, 2: None, 3: bad, 4: None, 5: None}
    assert different(run.weights(), learnt([0, 3], cut=[3], train=train).weights()) == []


@pytest.mark.parametrize("sharing", ["sync", "bounded", "async"])
def test_of_several_replicas_the_one_that_saw_it_tells(sharing: Any) -> None:
    run = SeveralReplicas(
        with_a_bad_row(), cuts=[[3], [5]], servers=2, train=train_config(), sharing=sharing, slowness=[1, 3]
    )
    run.run(steps(3))
    assert {report.step: report.skipped for report in run.reports} == {n: n == 3 for n in range(STEPS)}
    assert run.poisons[3] == Poison(2, Where.FORWARD, 0, "embeddings")
    assert all(not value.isnan().any() for name, value in run.weights().items() if "word_embeddings" not in name)


def test_a_run_goes_on_from_a_checkpoint_behind_a_step_that_was_left_out(tmp_path: Path) -> None:
    first = OneProcess(with_a_bad_row(), cut=[1, 3], train=train_config())
    batches = steps(0, 3)
    for number in range(4):
        first.step(number, batches[number])
    parts = [(dict(stage.named_weights()), dict(stage.named_moments())) for stage in first.stages]
    start = open_checkpoint(save_checkpoint(tmp_path, step=4, facts={}, parts=parts))
    model = tiny("bert")
    model.load_state_dict(dict(start.weights()), strict=False)
    second = OneProcess(model, cut=[2], train=train_config())
    for stage in second.stages:
        stage.restore(dict(start.moments(held(second.units, stage.spec))))
    for number in range(4, STEPS):
        second.step(number, batches[number])
        first.step(number, batches[number])
    assert different(second.weights(), first.weights()) == []


def test_too_many_in_a_row_end_the_run_and_a_sound_one_begins_the_count_anew() -> None:
    tolerance = Tolerance(train_config())
    for _ in range(2):
        for _ in range(MOST_IN_A_ROW - 1):
            tolerance.take("step 4 changed no weight", None)
        tolerance.take(None, None)
    for _ in range(MOST_IN_A_ROW - 1):
        tolerance.take("step 4 changed no weight", None)
    with pytest.raises(FloatingPointError, match=r"^Step 4 changed no weight. It was the 10th such step in a row"):
        tolerance.take("step 4 changed no weight", None)


# -- words and numbers ----------------------------------------------------------------------------


def test_what_came_first_is_the_least() -> None:
    ordered = [
        Poison(0, Where.BACKWARD, -3, "c", "c.weight"),
        Poison(0, Where.BACKWARD, -1, "a"),
        Poison(1, Where.FORWARD, 1, "b"),
        Poison(1, Where.FORWARD, 2, "c"),
        Poison(1, Where.LOSS, 2, "c"),
        Poison.together(4),
    ]
    assert sorted([*ordered[3:], *ordered[:3]]) == ordered
    assert first_of([None, *reversed(ordered), None]) == ordered[0]
    assert first_of([None]) is None
    assert [Poison.of_bytes(one.to_bytes()) for one in ordered] == ordered


def test_rows_are_told_by_number_and_not_more_than_help() -> None:
    assert told(1, None, []) is None
    text = told(9, Poison(1, Where.BACKWARD, -1, "block"), [[4], list(range(20, 40))])
    assert text == (
        "step 9 changed no weight: its numbers are not all finite; the first that are not came in the backward: "
        "gradients that unit 'block' gave on in micro-batch 1 (rows of train: 20, 21, 22, 23, 24, 25, 26, 27, and "
        "12 more)"
    )
    assert "every micro-batch alone is sound" in str(told(9, Poison.together(2), [[4], [5]]))


@pytest.mark.parametrize(
    ("parts", "total"),
    [
        ([1e16, 1.0, -1e16], 1.0),
        ([math.inf, -math.inf], math.nan),
        ([1e308, 1e308], math.inf),
        ([math.nan, 1.0], math.nan),
    ],
)
def test_sums_that_are_not_finite_are_sums_too(parts: list[float], total: float) -> None:
    assert added(parts) == pytest.approx(total, abs=0, nan_ok=True)


def test_ranks_that_are_allotted_at_some_steps_are_refused_where_steps_may_be_left_out() -> None:
    adapter = AdapterConfig(method="adalora")
    check_poisoned(Config(adapter=adapter))
    with pytest.raises(UserError, match=r"adalora does not go together with train.poisoned=skip"):
        check_poisoned(Config(train=train_config(), adapter=adapter))


def test_a_run_that_was_stopped_may_go_on_without_such_steps() -> None:
    stopped = Config(train=TrainConfig(micro_batches=2))
    assert difference(Config(train=TrainConfig(micro_batches=2, poisoned="skip")), stopped) is None
