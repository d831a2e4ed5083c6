from __future__ import annotations

from typing import Any

import pytest

from pipelines.config import Config, load_config
from pipelines.errors import UserError
from pipelines.plan.strategy import check_strategy, num_workers


def config(**plan: Any) -> Config:
    return Config.model_validate({"plan": plan})


def test_workers_are_a_number_or_a_range_and_two_when_left_out() -> None:
    assert num_workers(config(strategy="data").plan) == (2, 2)
    assert num_workers(config(strategy="data", workers=3).plan) == (3, 3)
    assert num_workers(config(strategy="data", workers=[1, 4]).plan) == (1, 4)


def test_a_resolved_config_of_a_data_parallel_run_is_taken_again(tmp_path: Any) -> None:
    settings = config(strategy="data", workers=[1, 4], devices="gpu", max_failures=0)
    assert settings.plan.stages == 1
    check_strategy(settings)
    (tmp_path / "config.yaml").write_text(settings.to_yaml())
    again = load_config(str(tmp_path / "config.yaml"))
    assert again == settings
    check_strategy(again)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"cut": [2]}, r"plan.cut=\[2\] is for a given number of stages"),
        ({"devices": ["cpu", "gpu"]}, r"plan.devices=.* names a device for each stage.* Give plan.stages=2"),
        ({"stages": 2, "at_most": {"cpu": 1}}, r"plan.at_most=.* is for a plan that is found, but plan.stages is 2"),
        ({"stages": 2, "minimise": "money"}, r"plan.minimise=money is for a plan that is found"),
        ({"workers": 2}, r"plan.workers=2 has no effect with plan.strategy=pipeline"),
        ({"max_failures": 0}, r"plan.max_failures=0 has no effect with plan.strategy=pipeline"),
        ({"strategy": "data", "stages": 3}, r"plan.stages=3 has no effect with plan.strategy=data"),
        ({"strategy": "data", "cut": [3]}, r"plan.cut=\[3\] has no effect with plan.strategy=data"),
        ({"strategy": "data", "servers": 1}, r"plan.servers=1 has no effect with plan.strategy=data"),
        ({"strategy": "data", "place": {"head": "cpu"}}, r"plan.place=.* has no effect with plan.strategy=data"),
        (
            {"strategy": "data", "devices": ["cpu", "gpu"]},
            r"plan.devices=\['cpu', 'gpu'\] .* all workers the same",
        ),
        ({"strategy": "data", "workers": [3, 2]}, r"plan.workers=\[3, 2\] .* Swap the two"),
        ({"strategy": "data", "workers": [1, 2], "cpus_per_stage": 0.5}, r"in whole CPUs. Use a whole number"),
    ],
)
def test_what_has_no_effect_is_refused(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_strategy(config(**plan))
