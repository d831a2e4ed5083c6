"""What a person may ask of an adapter, and what they are told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.adapt.attach import attach
from pipelines.adapt.methods import METHODS, adapter_config
from pipelines.adapter_settings import AdapterConfig
from pipelines.errors import UserError
from pipelines.model.freeze import trained
from tests.unit.pipelines.one_process import tiny

TASK = "token-classification"


def asked(method: str, **options: Any) -> AdapterConfig:
    return AdapterConfig(method=method, options=options)


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra"])
@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("ia3", "bottleneck")])
def test_a_model_that_peft_has_no_defaults_for_gets_sensible_ones(family: str, method: str) -> None:
    there = attach(tiny(family), adapter_config(asked(method), TASK, num_steps=10), seed=0)
    names = trained(there.model)
    assert any("classifier" in name for name in names)
    assert any("lora_" in name or "prompt_encoder" in name for name in names)


def test_the_same_seed_draws_the_same_adapter_and_leaves_the_generator_alone() -> None:
    config = adapter_config(asked("lora"), TASK)
    one = attach(tiny("bert"), config, seed=4).model.state_dict()
    model = tiny("bert")
    torch.manual_seed(9)
    before = torch.get_rng_state()
    two = attach(model, config, seed=4).model.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = attach(tiny("bert"), config, seed=5).model.state_dict()
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (asked("laura"), r"no adapter 'laura' \(adapter.method\); known: lora, adalora"),
        (asked("lora", rr=4), r"no option 'rr' for the adapter lora \(adapter.options\); did you mean 'r'"),
        (asked("lora", inference_mode=True), r"no option 'inference_mode'"),
        (asked("lora", init_lora_weights="pissa"), r"'pissa' changes the weights beneath the adapter"),
        (asked("adalora", tinit=6, tfinal=6), r"adalora cannot be made \(adapter.options\).* The run has 10 steps"),
        (asked("bottleneck", reduction=0), r"`reduction` must be at least 1"),
        (asked("bottleneck", activation="sine"), r"`activation` must be one of relu, gelu"),
        (
            asked("lora", target_modules="all-linear", exclude_modules=5),
            r"options\.exclude_modules is 5: it should be the",
        ),
        (asked("ia3", feedforward_modules=["a", 1]), r"feedforward_modules is \['a', 1\]: .* or a list of names"),
        (asked("adalora", orth_reg_weight=-1.0), r"cannot be made .*orth_reg_weight"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_there(adapter: AdapterConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        adapter_config(adapter, TASK, num_steps=10)


@pytest.mark.parametrize(
    ("family", "adapter", "message"),
    [
        ("bert", asked("lora", target_modules=["qurey"]), r"cannot be put onto BertForTokenClassification: .*qurey"),
        ("distilbert", asked("bottleneck"), r"not known where bottleneck adapters go in a model of type distilbert"),
        (
            "bert",
            asked("bottleneck", target_modules=["x"]),
            r"no linear layer whose name ends with x .*query",
        ),
        ("distilbert", asked("ia3"), r"does not know where IA3 goes in a model of type distilbert"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_with_what_to_look_at(
    family: str, adapter: AdapterConfig, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        attach(tiny(family), adapter_config(adapter, TASK), seed=0)
