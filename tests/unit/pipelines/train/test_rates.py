"""Layer-wise learning rates: by the model's own blocks, and the same however it is cut."""

from __future__ import annotations

import pytest
import torch

from pipelines.config import TrainConfig
from pipelines.model.units import Unit, Units, find_units
from pipelines.train.rates import rates_of
from tests.unit.pipelines.one_process import OneProcess, micro_batches, probe, tiny
from tests.unit.pipelines.several_replicas import SeveralReplicas

TRAIN = TrainConfig(optimizer="sgd", betas=(0.0, 0.9), learning_rate=1e-2, warmup=0.0, clip=None, layer_decay=0.5)


def test_each_block_learns_more_slowly_than_the_one_behind_it() -> None:
    units = Units(
        (
            Unit("embeddings", ("words",), 1),
            Unit("layer.0", ("a",), 1),
            Unit("layer.1 attention", ("b",), 1, block="layer.1"),
            Unit("layer.1 feed-forward", ("c",), 1, block="layer.1"),
            Unit("head", ("words", "d"), 1),
        ),
        blocks=("layer.0", "layer.1"),
    )
    assert rates_of(units, 0.5) == {"words": 0.125, "a": 0.25, "b": 0.5, "c": 0.5, "d": 1.0}
    assert set(rates_of(units, 1.0).values()) == {1.0}


def test_a_real_model_s_blocks_are_found_whether_they_are_halved_or_not() -> None:
    units = find_units(tiny("bert"), probe())
    rates = rates_of(units, 0.5)
    assert rates["bert.embeddings.word_embeddings.weight"] == 0.5**4
    assert rates["bert.encoder.layer.0.attention.self.query.weight"] == 0.5**3
    assert rates["bert.encoder.layer.2.output.dense.weight"] == 0.5
    assert rates["classifier.weight"] == 1.0
    assert len(rates) == len(dict(tiny("bert").named_parameters()))


def test_a_step_of_plain_descent_is_as_many_times_smaller() -> None:
    (batches,) = micro_batches(1)
    moved = []
    for train in (TRAIN, TRAIN.model_copy(update={"layer_decay": 1.0})):
        model = tiny("bert", dropout=0.0, dtype=torch.float64)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        run = OneProcess(model, cut=[], train=train, dtype="float64")
        run.step(0, batches)
        moved.append({name: after - before[name] for name, after in run.weights().items() if name in before})
    slow, plain = moved
    for name, rate in rates_of(find_units(tiny("bert"), probe()), 0.5).items():
        torch.testing.assert_close(slow[name], rate * plain[name], rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
def test_a_cut_model_learns_as_a_whole_one_bit_by_bit(optimizer: str) -> None:
    train = TRAIN.model_copy(update={"optimizer": optimizer, "betas": (0.9, 0.999), "clip": 1.0})
    found = []
    for cut in ([], [2, 5]):
        run = OneProcess(tiny("bert"), cut=cut, train=train)
        losses = [run.step(number, batches) for number, batches in enumerate(micro_batches(3))]
        found.append((losses, run.weights()))
    (losses, whole), (cut_losses, cut_weights) = found
    assert losses == cut_losses
    assert [name for name in whole if not torch.equal(whole[name], cut_weights[name])] == []


def test_parameter_servers_go_by_the_same_rates() -> None:
    steps = micro_batches(3)
    shared = SeveralReplicas(
        tiny("bert", dropout=0.0, dtype=torch.float64), cuts=[[3]], servers=2, train=TRAIN, dtype="float64"
    )
    shared.run(steps)
    own = OneProcess(tiny("bert", dropout=0.0, dtype=torch.float64), cut=[3], train=TRAIN, dtype="float64")
    for number, batches in enumerate(steps):
        own.step(number, batches)
    for name, weight in own.weights().items():
        torch.testing.assert_close(shared.weights()[name], weight, rtol=1e-10, atol=1e-14)
