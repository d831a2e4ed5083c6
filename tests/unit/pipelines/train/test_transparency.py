"""Contract 1: what is learnt does not depend on how the model was cut, nor on the schedule."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.nn import functional

from pipelines.check.plain import Plain
from pipelines.config import TrainConfig
from pipelines.model.examples import example_batches
from pipelines.model.units import find_units
from pipelines.plan.schedules import SCHEDULES
from pipelines.tasks.own_loss import OwnLoss
from pipelines.train.optimizers import learning_rate
from tests.census.catalog import build, pairs
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny

FAMILIES = ["bert", "roberta", "distilbert", "electra", "llama", "gpt2"]
# Three blocks of two halves each: boundaries 1, 3, 5 and 7 lie between whole blocks, 2, 4 and 6 inside one.
WHOLE = [[3], [1], [7], [3, 5], [1, 3, 5, 7]]
INSIDE = [[2], [4], [3, 4], [2, 4, 6], [1, 2, 3, 4, 5, 6, 7]]
CUTS = {family: [[3, 5], [2, 4, 6], [1, 2, 3, 4, 5, 6, 7]] for family in FAMILIES} | {"bert": WHOLE + INSIDE}
"""All of them where one family is enough, and for every family some between blocks, inside them, and both."""
STEPS = 3
PLAIN_STEPS = 10


def train_config(**changes: object) -> TrainConfig:
    return TrainConfig(**({"learning_rate": 1e-3, "warmup": 0.2, "weight_decay": 0.01, "clip": 0.5} | changes))


def trained(
    family: str,
    *,
    cut: list[int],
    stage_of: list[int] | None = None,
    steps: int = STEPS,
    schedule: str = "1f1b",
    **changes: object,
):
    train = train_config(**changes)
    run = OneProcess(tiny(family), cut=cut, stage_of=stage_of, train=train, schedule=schedule, num_steps=steps)
    losses = [run.step(n, batches) for n, batches in enumerate(micro_batches(steps))]
    return losses, run.weights()


@cache
def uncut(family: str, **changes: object):
    return trained(family, cut=[], **changes)


@pytest.mark.parametrize(("family", "cut"), [(family, cut) for family, cuts in CUTS.items() for cut in cuts], ids=str)
def test_every_cut_gives_bitwise_equal_losses_and_weights_with_dropout(family: str, cut: list[int]) -> None:
    losses, weights = trained(family, cut=cut)
    plain_losses, plain = uncut(family)
    assert losses == plain_losses
    assert weights.keys() == plain.keys()
    assert [name for name in plain if not torch.equal(weights[name], plain[name])] == []


@pytest.mark.parametrize(
    ("cut", "stage_of"),
    [([3], [0, 0]), ([1, 3, 5, 7], [0, 1, 0, 1, 0]), ([2, 3, 4, 5, 6], [0, 1, 0, 1, 0, 1]), ([2, 4, 6], [1, 0, 2, 1])],
    ids=str,
)
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_stages_that_hold_several_chunks_give_bitwise_equal_losses_and_weights(
    family: str, cut: list[int], stage_of: list[int]
) -> None:
    losses, weights = trained(family, cut=cut, stage_of=stage_of)
    plain_losses, plain = uncut(family)
    assert losses == plain_losses
    assert [name for name in plain if not torch.equal(weights[name], plain[name])] == []


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("stage_of", [[0, 1, 2], [0, 1, 0], [1, 0, 1]], ids=str)
def test_every_schedule_gives_bitwise_equal_weights(schedule: str, stage_of: list[int]) -> None:
    _, weights = trained("bert", cut=[3, 4], stage_of=stage_of, schedule=schedule)
    _, plain = uncut("bert")
    assert all(torch.equal(weights[name], plain[name]) for name in plain)


@pytest.mark.parametrize("cut", [[1], [3, 7], [4]], ids=str)
def test_every_cut_gives_bitwise_equal_weights_in_bfloat16(cut: list[int]) -> None:
    _, weights = trained("bert", cut=cut, precision="bfloat16")
    _, plain = uncut("bert", precision="bfloat16")
    assert all(torch.equal(weights[name], plain[name]) for name in plain)


def test_four_stages_give_bitwise_equal_weights_after_20_steps_with_dropout() -> None:
    one, other = (trained("bert", cut=cut, steps=20)[1] for cut in ([], [2, 3, 6]))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_dropout_is_on_in_these_tests() -> None:
    losses, _ = trained("bert", cut=[3])
    without = OneProcess(tiny("bert", dropout=0.0), cut=[3], train=train_config(), num_steps=STEPS)
    assert losses[0] != without.step(0, micro_batches(1)[0])


@cache
def in_a_plain_loop(family: str) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Hugging Face's own loss (but Llama's is float32), torch's own optimizer and clipping."""
    train, steps = train_config(), micro_batches(PLAIN_STEPS)
    model = tiny(family, dropout=0.0, dtype=torch.float64)

    def mean_loss(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if family != "llama":
            return model(**batch).loss
        inputs = {name: column for name, column in batch.items() if name != "labels"}
        return functional.cross_entropy(model(**inputs).logits.flatten(0, 1), batch["labels"].flatten())

    named = list(model.named_parameters())
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=train.betas, eps=train.eps)
    losses = []
    for n, batches in enumerate(steps):
        counts = [int((batch["labels"] != -100).sum()) for batch in batches]
        loss = sum(mean_loss(b) * c for b, c in zip(batches, counts, strict=True) if c) / sum(counts)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(n, PLAIN_STEPS, train)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, {name: parameter.detach() for name, parameter in named}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cut", [[], [3], [2, 6]], ids=str)
def test_a_cut_model_learns_what_a_plain_loop_learns(family: str, cut: list[int]) -> None:
    model = tiny(family, dropout=0.0, dtype=torch.float64)
    run = OneProcess(model, cut=cut, train=train_config(), dtype="float64", num_steps=PLAIN_STEPS)
    losses = [run.step(n, batches) for n, batches in enumerate(micro_batches(PLAIN_STEPS))]
    plain_losses, plain_weights = in_a_plain_loop(family)
    assert losses == pytest.approx(plain_losses, rel=1e-10)
    weights = run.weights()
    for name, plain in plain_weights.items():
        difference = (weights[name] - plain).abs().max() / plain.abs().max().clamp(min=1e-30)
        assert difference.item() <= 1e-10, name


@pytest.mark.parametrize("cut", [[], [3], [4], [2, 6]], ids=str)
def test_a_cut_image_classifier_learns_what_a_plain_loop_learns(cut: list[int]) -> None:
    (pair,) = [pair for pair in pairs() if (pair.head, pair.model_type) == ("image-classification", "vit")]
    model, train = build(pair), train_config(warmup=0.0, decay="constant")
    batches = example_batches(model, pair.head)
    units = find_units(model, batches[0])
    assert units.inside_blocks == (2, 4, 6, 8)
    run = OneProcess(model, cut=cut, train=train, dtype="float64", head=OwnLoss(pair.head), units=units)
    plain = Plain(model, pair.head, batches, train)
    for n in range(STEPS):
        assert run.step(n, batches, num_targets=plain.num_targets) == pytest.approx(plain.step(n), rel=1e-10)
    weights = run.weights()
    for name, value in plain.weights().items():
        difference = (weights[name] - value).abs().max() / value.abs().max().clamp(min=1e-30)
        assert difference.item() <= 1e-10, name


def test_rows_of_a_large_embedding_table_are_trained_as_densely_as_the_plain_loop_trains_them(monkeypatch) -> None:
    monkeypatch.setattr("pipelines.train.sparse.SMALLEST", 8)
    _, by_rows = trained("bert", cut=[3], weight_decay=0.0)
    monkeypatch.setattr("pipelines.train.sparse.SMALLEST", 10**9)
    _, dense = trained("bert", cut=[3], weight_decay=0.0)
    worst = max((by_rows[name] - dense[name]).abs().max().item() for name in dense)
    assert worst < 1e-6
