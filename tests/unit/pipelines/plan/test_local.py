"""What each stage chooses for itself."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.model.units import find_units
from pipelines.plan.local import Local, check_names, local_of, local_trains
from pipelines.plan.plan import make_plan, with_local
from tests.unit.pipelines.one_process import probe, tiny


def config(devices: dict[str, Any], **train: Any) -> Config:
    return Config.model_validate({"devices": devices, "train": train, "plan": {"stages": 2, "devices": ["cpu", "gpu"]}})


def test_a_type_goes_before_its_kind_and_both_before_what_holds_for_all() -> None:
    given = config(
        {
            "gpu": {"precision": "bfloat16", "optimizer": "lion", "rate_factor": 0.5},
            "t4": {"precision": "float16", "threads": 3},
        },
        learning_rate=1e-3,
    )
    betas = (0.9, 0.999)
    assert local_of(given, "cpu") == Local("adamw", betas, 1e-3, "float32", None, compile=False)
    assert local_of(given, "gpu") == Local("lion", betas, 5e-4, "bfloat16", None, compile=False)
    assert local_of(given, "t4", "gpu") == Local("lion", betas, 5e-4, "float16", 3, compile=False)


def test_a_type_that_there_is_not_is_refused() -> None:
    check_names(config({"cpu": {}, "gpu": {}}), ())
    check_names(config({"t4": {}}), ("t4",))
    with pytest.raises(UserError, match=r"no type of device 'gpuu' \(devices.gpuu\); known: cpu, gpu, t4"):
        check_names(config({"gpuu": {}}), ("t4",))


def test_all_stages_have_the_loss_scale_when_one_computes_in_float16() -> None:
    given = config({"gpu": {"precision": "float16"}})
    trains = local_trains(given.train, [local_of(given, kind) for kind in ("cpu", "gpu")])
    assert [(train.precision, train.loss_scale) for train in trains] == [("float32", 65536.0), ("float16", 65536.0)]
    assert local_trains(given.train, [local_of(given, "cpu")]) == [given.train]


def test_bfloat16_and_float16_do_not_go_together() -> None:
    given = config({"gpu": {"precision": "float16"}, "cpu": {"precision": "bfloat16"}})
    with pytest.raises(UserError, match="Some stages compute in bfloat16 and others in float16"):
        local_trains(given.train, [local_of(given, kind) for kind in ("cpu", "gpu")])


def test_the_plan_says_how_each_stage_computes() -> None:
    given = config({"gpu": {"precision": "bfloat16", "optimizer": "lion"}}, learning_rate=1e-3)
    units = find_units(tiny("bert"), probe())
    plan = with_local(make_plan(units, given.plan), given).to_json()
    assert [stage["local"] for stage in plan["stages"]] == [
        {
            "optimizer": optimizer,
            "betas": (0.9, 0.999),
            "learning_rate": 1e-3,
            "precision": precision,
            "threads": None,
            "compile": False,
        }
        for optimizer, precision in (("adamw", "float32"), ("lion", "bfloat16"))
    ]
