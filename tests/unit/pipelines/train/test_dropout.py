from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.train.dropout import hasten, noise


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_values_are_dropped_with_their_probability_and_kept_ones_are_scaled(p: float) -> None:
    torch.manual_seed(0)
    drawn = noise(torch.empty(1000, 1001), p)
    # A million draws: 5 standard deviations.
    assert abs((drawn == 0).double().mean().item() - p) < 5 * (p * (1 - p) / 1e6) ** 0.5
    assert drawn.max().item() == pytest.approx(1 / (1 - p), rel=1e-4)
    assert drawn.double().mean().item() == pytest.approx(1, abs=0.02)


def test_every_sixteen_bits_of_a_draw_decide_alike() -> None:
    torch.manual_seed(0)
    quarters = (noise(torch.empty(400_000), 0.3) == 0).view(-1, 4).double().mean(0)
    assert (quarters - 0.3).abs().max().item() < 0.005


def test_the_same_seed_drops_the_same_values_and_gradients_follow_them() -> None:
    layer = nn.Sequential(nn.Dropout(0.4)).train()
    hasten(layer)
    x = torch.ones(7, 9, requires_grad=True)
    answers = []
    for _ in range(2):
        torch.manual_seed(5)
        answers.append(layer(x))
    assert torch.equal(*answers)
    answers[0].sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, answers[0].detach())


def test_evaluation_and_a_probability_of_zero_change_nothing() -> None:
    x = torch.randn(5, 5)
    for layer in (nn.Dropout(0.4).eval(), nn.Dropout(0.0).train()):
        hasten(layer)
        assert torch.equal(layer(x), x)
