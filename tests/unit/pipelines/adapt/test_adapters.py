"""Adapters on any cut: what is learnt is what PEFT learns in one process, and is saved whole."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.adapt.attach import Adapted, attach
from pipelines.adapt.methods import adapter_config
from pipelines.adapt.ranks import ranks_left
from pipelines.adapter_settings import AdapterConfig
from pipelines.config import TrainConfig
from pipelines.model.units import find_units
from pipelines.model.verify import verify
from pipelines.train.optimizers import learning_rate, make_optimizer
from tests.unit.pipelines.one_process import OneProcess, micro_batches, probe, tiny

TRAIN = TrainConfig(learning_rate=1e-2, warmup=0.2, weight_decay=0.01, clip=0.5)
STEPS = 9
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {"r": 4}),
    "rslora on everything": ("lora", {"r": 4, "use_rslora": True, "target_modules": "all-linear"}),
    "dora": ("lora", {"r": 4, "use_dora": True}),
    "lora on the second block": ("lora", {"r": 4, "layers_to_transform": [1], "target_modules": ["query"]}),
    "adalora": ("adalora", {"init_r": 4, "target_r": 2, "tinit": 2, "tfinal": 3, "deltaT": 2}),
    "ia3": ("ia3", {}),
    "prefix-tuning": ("prefix-tuning", {"num_virtual_tokens": 3}),
    "prompt-tuning": ("prompt-tuning", {"num_virtual_tokens": 3}),
    "bottleneck": ("bottleneck", {"reduction": 4, "activation": "gelu"}),
}


def adapted(name: str, *, dropout: float, dtype: torch.dtype, family: str = "bert") -> tuple[Adapted, Any, str]:
    method, options = METHODS[name]
    options = options | ({"lora_dropout": dropout} if "lora" in method else {})
    config = adapter_config(AdapterConfig(method=method, options=options), "token-classification", num_steps=STEPS)
    model = tiny(family, dropout=dropout, dtype=dtype)
    there = attach(model, config, seed=5)
    there.model.to(dtype).train()
    return there, config, type(model).__name__


def run(name: str, cut: list[int], *, dropout: float, dtype: torch.dtype):
    there, config, model_class = adapted(name, dropout=dropout, dtype=dtype)
    units = find_units(there.model, probe())
    verify(there.model, units, cut, probe())
    crew = OneProcess(
        there.model, cut=cut, train=TRAIN, dtype=str(dtype).removeprefix("torch."), num_steps=STEPS, units=units,
        adapter=config, model_class=model_class,
    )  # fmt: skip
    losses = [crew.step(n, batches) for n, batches in enumerate(micro_batches(STEPS))]
    return losses, crew, there


@cache
def exactly(name: str, cut: tuple[int, ...]) -> tuple[list[float], OneProcess]:
    losses, crew, _ = run(name, list(cut), dropout=0.0, dtype=torch.float64)
    return losses, crew


@cache
def uncut(name: str) -> tuple[list[float], dict[str, Tensor]]:
    losses, crew, _ = run(name, [], dropout=0.1, dtype=torch.float32)
    return losses, crew.weights()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("cut", [[2], [1, 5]], ids=["inside a block", "between blocks"])
def test_every_cut_gives_bitwise_equal_losses_and_weights(name: str, cut: list[int]) -> None:
    losses, crew, _ = run(name, cut, dropout=0.1, dtype=torch.float32)
    plain_losses, expected = uncut(name)
    assert losses == plain_losses
    weights = crew.weights()
    assert weights.keys() == expected.keys()
    assert [n for n in expected if not torch.equal(weights[n], expected[n])] == []


def _mean(model: Any, batch: dict[str, Tensor]) -> Tensor:
    if getattr(model, "peft_type", "") != "PROMPT_TUNING":
        # With whatever PEFT adds to it for its own weights' sake.
        return model(**batch).loss
    # PEFT leaves the labels as short as they are and cannot compare them with longer logits.
    inputs = {name: column for name, column in batch.items() if name != "labels"}
    logits = model(**inputs).logits[:, -batch["labels"].shape[1] :]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())


@cache
def in_one_process(name: str) -> tuple[list[float], dict[str, Tensor], Any]:
    """PEFT's own training loop: its own model, its own loss, and its own call after every update.

    Returns losses, trained weights, and the ranks that AdaLoRA left.
    """
    there, _, _ = adapted(name, dropout=0.0, dtype=torch.float64)
    model = getattr(there, "wrapper", there.model)
    optimizer = make_optimizer([(n, p) for n, p in model.named_parameters() if p.requires_grad], TRAIN)
    losses = []
    for n, batches in enumerate(micro_batches(STEPS)):
        counts = [int((batch["labels"] != -100).sum()) for batch in batches]
        pairs = [(batch, count) for batch, count in zip(batches, counts, strict=True) if count]
        loss = sum(_mean(model, batch) * count / sum(counts) for batch, count in pairs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], TRAIN.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(n, STEPS, TRAIN)
        optimizer.step()
        if getattr(model, "peft_type", "") == "ADALORA":
            model.base_model.update_and_allocate(n + 1)
        optimizer.zero_grad()
        losses.append(loss.item())
    ranks = model.peft_config["default"].rank_pattern if name == "adalora" else None
    return losses, {n: p.detach().clone() for n, p in there.model.named_parameters() if p.requires_grad}, ranks


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("cut", [(), (2, 5)], ids=["uncut", "inside a block and between blocks"])
def test_a_cut_adapter_learns_what_peft_learns_in_one_process(name: str, cut: tuple[int, ...]) -> None:
    losses, crew = exactly(name, cut)
    plain_losses, expected, _ = in_one_process(name)
    assert losses == pytest.approx(plain_losses, rel=1e-10)
    weights = crew.weights()
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        assert ((weights[key] - value).abs().max() / value.abs().max().clamp(min=1e-3)).item() <= 1e-10, key


@pytest.mark.parametrize("cut", [(), (2, 5)], ids=["uncut", "inside a block and between blocks"])
def test_adaloras_ranks_are_those_of_peft_in_one_process(cut: tuple[int, ...]) -> None:
    _, crew = exactly("adalora", cut)
    ranks = {n: kept.tolist() for stage in crew.stages for n, kept in ranks_left(dict(stage.named_moments())).items()}
    assert ranks == in_one_process("adalora")[2]
    # Fewer than there were, and not the same number everywhere: otherwise nothing would have been decided.
    assert 0 < sum(map(sum, ranks.values())) == 2 * len(ranks) < 4 * len(ranks)
    assert len({sum(kept) for kept in ranks.values()}) > 1
