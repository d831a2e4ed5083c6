import pytest
import torch
from torch import nn

from pipelines.train.weight_gradients import Clock, defer


def pair(dtype: torch.dtype = torch.float64) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2, bias=False)).to(dtype)
    other = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2, bias=False)).to(dtype)
    other.load_state_dict(one.state_dict())
    return one, other


def test_deferred_gradients_are_those_of_autograd_summed_over_micro_batches() -> None:
    plain, later = pair()
    clock = Clock()
    layers = defer(later, clock)
    for clock.micro_batch, rows in enumerate((2, 5, 1)):
        x = torch.randn(rows, 3, dtype=torch.float64)
        ours = x.clone().requires_grad_()
        theirs = x.clone().requires_grad_()
        later(ours).square().sum().backward()
        plain(theirs).square().sum().backward()
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-14)
    assert all(p.grad is None for p in later.parameters())
    for last in (1, 2):
        for layer in layers:
            layer.compute(0, last)
    for ours, theirs in zip(later.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-12)


def test_the_sum_runs_in_the_order_of_the_micro_batches_whatever_the_order_of_the_backwards() -> None:
    _, later = pair(torch.float32)
    clock = Clock()
    layers = defer(later, clock)
    inputs = [torch.randn(4, 3) for _ in range(3)]
    gradients = []
    for order in ([0, 1, 2], [2, 0, 1]):
        for clock.micro_batch in order:
            later(inputs[clock.micro_batch]).sum().backward()
        for layer in layers:
            layer.compute(0, 2)
        gradients.append([p.grad.clone() for p in later.parameters()])
        later.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_autocast_computes_in_bfloat16_and_keeps_float32_gradients() -> None:
    plain, later = pair(torch.float32)
    layers = defer(later, Clock())
    x = torch.randn(4, 3)
    for model in (plain, later):
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)
        assert y.dtype == torch.bfloat16
        y.float().sum().backward()
    for layer in layers:
        layer.compute(0, 0)
    for ours, theirs in zip(later.parameters(), plain.parameters(), strict=True):
        assert ours.grad.dtype == torch.float32
        assert torch.allclose(ours.grad, theirs.grad, rtol=2e-2, atol=2e-2)


def test_without_gradients_a_layer_runs_as_ever() -> None:
    plain, later = pair()
    defer(later, Clock())
    x = torch.randn(2, 3, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(plain(x), later(x))


@pytest.mark.parametrize("case", ["shared", "frozen", "subclass"])
def test_layers_that_must_stay_as_they_are_stay(case: str) -> None:
    class Special(nn.Linear):
        pass

    layer = Special(2, 2) if case == "subclass" else nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.Linear(2, 2))
    if case == "shared":
        model[1].weight = layer.weight
    if case == "frozen":
        layer.weight.requires_grad = False
    assert len(defer(model, Clock())) == (0 if case == "shared" else 1)
