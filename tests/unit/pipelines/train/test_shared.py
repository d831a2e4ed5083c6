"""Parameters that several stages hold are trained as one."""

from __future__ import annotations

import pytest
import torch

from pipelines.config import TrainConfig
from pipelines.model.examples import example_batches, num_targets
from pipelines.model.units import find_units
from pipelines.plan.holders import borrowed_and_lent, shared_parameters
from pipelines.tasks.own_loss import OwnLoss
from pipelines.train.optimizers import learning_rate, make_optimizer
from tests.census.catalog import build, pairs
from tests.unit.pipelines.one_process import OneProcess

STEPS = 4
TRAIN = TrainConfig(learning_rate=1e-2, clip=0.5, warmup=0.0, weight_decay=0.01)


@pytest.mark.parametrize(
    ("head", "model_type", "cut", "shared"),
    [
        ("causal-lm", "gpt2", [2, 4], "transformer.wte.weight"),
        ("seq2seq-lm", "t5", [3, 7], "shared.weight"),
        # Cut before the first block, where it is not there yet to be sent.
        ("masked-lm", "mpnet", [1, 4], "mpnet.encoder.relative_attention_bias.weight"),
        ("masked-lm", "albert", [1, 3], "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"),
    ],
)
def test_after_some_steps_a_shared_parameter_is_what_a_plain_loop_makes_of_it(
    head: str, model_type: str, cut: list[int], shared: str
) -> None:
    (pair,) = [pair for pair in pairs() if (pair.head, pair.model_type) == (head, model_type)]
    model = build(pair)
    model.config.use_cache = False
    batches = example_batches(model, head)
    units = find_units(model, batches[0])
    assert shared in shared_parameters(units, [0, *cut, len(units)], range(len(cut) + 1))
    run = OneProcess(
        model, cut=cut, train=TRAIN, dtype="float64", head=OwnLoss(head), units=units, num_steps=STEPS
    )  # copies the weights
    total = sum(num_targets(batch, head) for batch in batches)
    optimizer = make_optimizer(model.named_parameters(), TRAIN)
    for step in range(STEPS):
        loss = run.step(step, batches, num_targets=total)
        plain = sum(model(**batch).loss.double() * num_targets(batch, head) for batch in batches) / total
        plain.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), TRAIN.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, STEPS, TRAIN)
        optimizer.step()
        optimizer.zero_grad()
        # These heads compute their loss in float32 whatever the model's own precision is.
        assert loss == pytest.approx(plain.item(), rel=1e-6)
    weights = run.weights()
    wanted = dict(model.named_parameters())[shared]
    assert ((weights[shared] - wanted).abs().max() / wanted.abs().max()).item() <= 1e-6
    for stage in run.stages:
        held = dict(stage._cut.model.named_parameters())
        if shared in held and not held[shared].isnan().any():
            assert torch.equal(held[shared], weights[shared])


def test_the_first_stage_owns_what_it_shares_and_lends_it_to_the_others() -> None:
    shared = {"table": (0, 2), "bias": (1, 2, 3)}
    assert borrowed_and_lent(shared, 0) == ({}, {2: ("table",)})
    assert borrowed_and_lent(shared, 1) == ({}, {2: ("bias",), 3: ("bias",)})
    assert borrowed_and_lent(shared, 2) == ({0: ("table",), 1: ("bias",)}, {})
    assert borrowed_and_lent(shared, 3) == ({1: ("bias",)}, {})
