"""Adapters whose blocks run again in their backward."""

from __future__ import annotations

import pytest
import torch

from pipelines.config import TrainConfig
from pipelines.model.units import find_units
from tests.unit.pipelines.adapt.test_adapters import METHODS, STEPS, adapted
from tests.unit.pipelines.one_process import OneProcess, micro_batches, probe


def trained(name: str, cut: list[int], *, on: bool, dtype: torch.dtype):
    train = TrainConfig(learning_rate=1e-2, warmup=0.2, weight_decay=0.01, clip=0.5, recompute=on)
    there, config, model_class = adapted(name, dropout=0.1, dtype=dtype)
    crew = OneProcess(
        there.model, cut=cut, train=train, dtype=str(dtype).removeprefix("torch."), num_steps=STEPS,
        units=find_units(there.model, probe()), adapter=config, model_class=model_class,
    )  # fmt: skip
    return [crew.step(n, batches) for n, batches in enumerate(micro_batches(3))], crew.weights()


@pytest.mark.parametrize("name", METHODS)
def test_an_adapter_learns_what_it_learns_otherwise_on_any_cut(name: str) -> None:
    losses, weights = trained(name, [1, 3], on=True, dtype=torch.float64)
    plain_losses, plain = trained(name, [], on=False, dtype=torch.float64)
    assert losses == pytest.approx(plain_losses, rel=1e-10)
    for key, value in plain.items():
        assert ((weights[key] - value).abs().max() / value.abs().max().clamp(min=1e-3)).item() <= 1e-10, key
    losses, weights = trained(name, [1, 3], on=True, dtype=torch.float32)
    plain_losses, plain = trained(name, [], on=True, dtype=torch.float32)
    assert losses == plain_losses
    assert all(torch.equal(weights[key], plain[key]) for key in plain)
