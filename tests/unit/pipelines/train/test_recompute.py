"""Blocks that run again in their backward: the same results in less memory."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines.config import TrainConfig
from pipelines.model.freeze import freeze
from pipelines.model.units import find_units
from pipelines.train.recompute import recompute
from tests.unit.pipelines.one_process import OneProcess, micro_batches, probe, tiny

FAMILIES = ["bert", "roberta", "distilbert", "electra"]
STEPS = 3
CUTS = {family: [[2], [1, 3]] for family in FAMILIES} | {"bert": [[2], [4], [1, 3], [1, 2, 3, 4]]}


def trained(
    family: str, cut: list[int], *, on: bool = True, dtype: str = "float32", schedule: str = "1f1b", **more: Any
):
    train = TrainConfig(learning_rate=1e-3, warmup=0.2, weight_decay=0.01, clip=0.5, recompute=on, **more)
    model = tiny(family, dtype=getattr(torch, dtype))
    run = OneProcess(model, cut=cut, train=train, dtype=dtype, schedule=schedule, num_steps=STEPS)
    losses = [run.step(n, batches) for n, batches in enumerate(micro_batches(STEPS))]
    return losses, run.weights()


@cache
def uncut(family: str, **options: Any):
    return trained(family, [], **options)


@pytest.mark.parametrize(("family", "cut"), [(family, cut) for family, cuts in CUTS.items() for cut in cuts], ids=str)
def test_every_cut_gives_bitwise_equal_losses_and_weights_with_dropout(family: str, cut: list[int]) -> None:
    losses, weights = trained(family, cut)
    plain_losses, plain = uncut(family)
    assert losses == plain_losses
    assert [name for name in plain if not torch.equal(weights[name], plain[name])] == []


@pytest.mark.parametrize("schedule", ["gpipe", "eager-1f1b"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_schedule_gives_bitwise_equal_weights(schedule: str, precision: str) -> None:
    _, weights = trained("bert", [2, 3], schedule=schedule, precision=precision)
    _, plain = uncut("bert", precision=precision)
    assert all(torch.equal(weights[name], plain[name]) for name in plain)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cut", [[], [1, 2]], ids=str)
def test_nothing_else_is_learnt_than_without_it_with_the_same_dropout_masks(family: str, cut: list[int]) -> None:
    losses, weights = trained(family, cut, dtype="float64")
    plain_losses, plain = uncut(family, on=False, dtype="float64")
    assert losses == pytest.approx(plain_losses, rel=1e-10)
    for name, value in plain.items():
        assert ((weights[name] - value).abs().max() / value.abs().max().clamp(min=1e-3)).item() <= 1e-10, name


@pytest.mark.parametrize("frozen", [("*embeddings*", "*layer.0.*"), ("*layer.1.*",), ("*weight",)], ids=str)
def test_frozen_parts_may_lie_anywhere(frozen: tuple[str, ...]) -> None:
    runs = []
    for cut, on in (([1, 3], True), ([], True), ([], False)):
        model = tiny("bert", dtype=torch.float64)
        freeze(model, frozen)
        run = OneProcess(model, cut=cut, train=TrainConfig(learning_rate=1e-3, recompute=on), dtype="float64")
        runs.append(([run.step(n, batches) for n, batches in enumerate(micro_batches(3))], run.weights()))
    (losses, weights), (_, uncut), (plain_losses, plain) = runs
    assert losses == pytest.approx(plain_losses, rel=1e-10)
    assert weights.keys() == plain.keys()
    assert all(torch.equal(weights[name], uncut[name]) for name in uncut)
    assert all(torch.allclose(weights[name], plain[name], rtol=1e-10, atol=1e-12) for name in plain)


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that were made since and are still there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._seen:
                    self._seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return output

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def peak(*, on: bool, layers: int, cut: list[int]) -> int:
    """Most bytes that a step makes and holds at once, over what it begins with."""
    model = tiny("bert", layers=layers)
    run = OneProcess(model, cut=cut, train=TrainConfig(recompute=on), num_steps=9, schedule="gpipe")
    batch = {name: column[:1].repeat(16, 8) for name, column in (probe() | {"labels": torch.ones(2, 4).long()}).items()}
    run.step(0, [batch] * 4)
    with Alive() as alive:
        run.step(1, [batch] * 4)
    return alive.peak


@pytest.mark.parametrize("cut", [[], [4]], ids=str)
def test_a_step_holds_less_than_a_third_of_the_bytes_at_once(cut: list[int]) -> None:
    assert peak(on=True, layers=8, cut=cut) < peak(on=False, layers=8, cut=cut) / 3


class Adding(nn.Module):
    """Changes what it is given in place, as some models do with their residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout, self.calls = nn.Linear(4, 4), nn.Dropout(0.5), 0

    def forward(self, x: Tensor, *, scale: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        x += self.dropout(self.linear(x + 0)).relu() * scale
        return x.sin(), x


def test_a_block_may_change_its_input_in_place_and_ask_for_keywords() -> None:
    gradients = []
    for on in (False, True):
        torch.manual_seed(0)
        model = nn.ModuleList([Adding(), Adding()])
        x, scale = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
        if on:
            recompute(model, ["0", "1"], nullcontext)
        # Twice: what a block changes is learnt from its first run.
        for _ in range(2):
            y, z = model[0](x * 1.0, scale=scale)
            y, _ = model[1](y, scale=scale)
            (y * z).sum().backward()
        assert [block.calls for block in model] == [4 if on else 2] * 2
        gradients.append([x.grad, scale.grad, *(p.grad for p in model.parameters())])
    assert all(torch.equal(ours, plain) for ours, plain in zip(*reversed(gradients), strict=True))


def test_a_block_that_fills_a_cache_fills_it_once() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    gradients = []
    for on in (False, True):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=40, n_positions=16))
        model.train()
        model.config.use_cache = True
        units = find_units(model, {"input_ids": probe()["input_ids"]})
        if on:
            recompute(model, units.blocks, nullcontext)
        torch.manual_seed(1)
        output = model(input_ids=probe()["input_ids"], labels=probe()["input_ids"])
        assert output.past_key_values.get_seq_length() == 4
        output.loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(ours, plain) for ours, plain in zip(*gradients, strict=True))
