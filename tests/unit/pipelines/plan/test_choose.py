"""From measured devices to a plan: what it uses, what it leaves out and why, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest

from pipelines.device_settings import EnergyConfig
from pipelines.errors import UserError
from pipelines.model.units import Units
from pipelines.plan.choose import Choice, Chooser
from pipelines.plan.devices import Device
from pipelines.plan.measured import Link, Measured, MeasuredType, Shape, Times
from pipelines.plan.predict import Predictor, Seating
from pipelines.plan_settings import PlanConfig
from tests.unit.pipelines.plan.test_roles import unit

SHAPE = Shape(4, 8)
BLOCKS = 6
UNITS = Units((unit("embeddings"), *(unit(f"layer.{n}") for n in range(BLOCKS)), unit("head")))
STEPS = [[SHAPE] * 8]


def kind(name: str, factor: float, *, memory: int = 2**30, kind: str = "cpu") -> MeasuredType:
    forward = (1e-3 * factor, *(4e-3 * factor,) * BLOCKS, 1e-3 * factor)
    times = Times(
        SHAPE,
        forward=forward,
        backward=(0.0, *forward[1:]),
        weights=forward,
        stage_forward=1e-4,
        stage_backward=1e-4,
        kept=(1000,) * len(UNITS),
        noted=(500,) * len(UNITS),
        crossing=((1024, 1024),) * (len(UNITS) - 1),
    )
    update = (1e-4 * factor,) * len(UNITS)
    return MeasuredType(name, kind, name, 1, "float32", memory, (times,), update, (1.0,))  # type: ignore[arg-type]


def choose(types: list[MeasuredType], counts: list[int], plan: dict[str, Any] | None = None, **energy: Any) -> Choice:
    names = [one.name for one in types]
    links = tuple(Link((a, b), 1e-4, 1e9) for a, b in product(names, repeat=2) if a <= b)
    held = (100_000,) * len(UNITS)
    measured = Measured("Model", tuple(one.name for one in UNITS.all), held, tuple(types), links, {})
    devices = [
        Device(one.name, one.kind, f"{one.name}-{n}", 1.0, int(one.kind == "gpu"), one.memory, one.chip, 1)
        for one, count in zip(types, counts, strict=True)
        for n in range(count)
    ]
    config = PlanConfig.model_validate(plan or {})
    return Chooser(measured, devices, UNITS, config, None, EnergyConfig.model_validate(energy)).choose(STEPS)


def used(choice: Choice) -> list[str]:
    return [stage.device for stage in choice.plan.stages]


def test_unlike_devices_get_work_by_their_speed() -> None:
    choice = choose([kind("fast", 1), kind("slow", 3)], [1, 1])
    sizes = {stage.device: len(stage.units) for stage in choice.plan.stages}
    assert set(sizes) == {"fast", "slow"}
    assert sizes["fast"] > 2 * sizes["slow"]
    assert choice.plan.left_out == ()


def test_no_cut_and_no_schedule_is_predicted_to_be_faster() -> None:
    choice = choose([kind("fast", 1), kind("slow", 3)], [1, 1])
    measured = choice.forecast.replicas[0]._measured
    everything = [
        Predictor(measured, Seating((0, cut, len(UNITS)), (0, 1), types, ("a", "b")), SHAPE).step(name, STEPS[0])
        for cut in range(1, len(UNITS))
        for types in (("fast", "slow"), ("slow", "fast"))
        for name in ("gpipe", "1f1b", "eager-1f1b", "interleaved-1f1b", "zero-bubble", "synthesised")
    ]
    assert choice.plan.seconds is not None
    assert choice.plan.seconds <= min(step.seconds for step in everything) * (1 + 1e-9)


def test_a_device_that_would_slow_the_run_is_left_out_with_the_reason() -> None:
    choice = choose([kind("fast", 1), kind("useless", 100)], [1, 1])
    assert used(choice) == ["fast"]
    (reason,) = choice.plan.left_out
    assert reason.startswith("1 of 1 useless left out: with one more of them a step would take ")
    assert choice.plan.seconds is not None
    assert reason.endswith(f"which is not less than {choice.plan.seconds:.3f} s.")


def test_no_more_devices_of_a_kind_than_a_person_allows() -> None:
    assert len(used(choose([kind("fast", 1)], [4]))) == 4
    assert len(used(choose([kind("fast", 1)], [4], {"at_most": {"cpu": 2}}))) == 2


def test_what_must_sit_somewhere_sits_there() -> None:
    types = [kind("card", 1, kind="gpu"), kind("chip", 10)]
    choice = choose(types, [1, 1], {"place": {"embeddings": "cpu", "layer.*": "gpu"}})
    assert used(choice)[:2] == ["chip", "card"]
    assert choice.plan.stages[0].units == ("embeddings",)


def test_every_stage_keeps_the_memory_of_its_device() -> None:
    tight = 3 * 100_000 + 8 * 3 * 1500
    choice = choose([kind("small", 1, memory=tight)], [8])
    assert all(stage.needs is not None and stage.needs <= tight for stage in choice.plan.stages)
    assert max(b - a for a, b in pairwise(choice.plan.replicas[0].bounds)) <= 3


def test_a_model_that_fits_nowhere_is_refused_with_what_is_missing() -> None:
    with pytest.raises(UserError, match=r"MiB|memory"):
        choose([kind("small", 1, memory=150_000)], [2])


def test_a_schedule_that_breaks_the_memory_is_refused() -> None:
    roomy = choose([kind("small", 1)], [1], {"schedule": "gpipe"})
    assert roomy.plan.schedule == "gpipe"
    needs = roomy.plan.stages[0].needs
    assert needs is not None
    with pytest.raises(UserError, match="No schedule keeps the memory"):
        choose([kind("small", 1, memory=needs - 1)], [1], {"schedule": "gpipe"})


def test_money_is_least_on_the_cheaper_device_though_it_takes_longer() -> None:
    types = [kind("fast", 1), kind("slow", 2)]
    price = {"fast": 6.0, "slow": 1.0}
    choice = choose(types, [2, 1], {"minimise": "money"}, price=price)
    assert used(choice) == ["slow"]
    assert choice.plan.least is not None
    assert "USD" in choice.plan.least
    assert any("2 of 2 fast left out: with one more of them a step would cost" in why for why in choice.plan.left_out)
    assert used(choose(types, [2, 1], {"minimise": "money"}, price={"fast": 1.0, "slow": 1.0})) == ["fast"]


def test_energy_is_least_where_the_fewest_joules_are_drawn() -> None:
    types = [kind("fast", 1), kind("slow", 2)]
    watts = {"fast": {"idle": 50, "busy": 300}, "slow": {"idle": 1, "busy": 100}}
    choice = choose(types, [1, 1], {"minimise": "energy"}, watts=watts)
    assert used(choice) == ["slow"]
    assert choice.plan.least is not None
    assert choice.plan.least.endswith(" J")
    assert choice.plan.seconds is not None
    faster = choose(types, [1, 1], watts=watts)
    assert faster.plan.seconds is not None
    assert faster.plan.seconds < choice.plan.seconds


def test_money_without_a_price_is_refused() -> None:
    with pytest.raises(UserError, match="no price for devices of type 'fast'"):
        choose([kind("fast", 1)], [1], {"minimise": "money"})


def test_only_devices_that_were_measured_count() -> None:
    with pytest.raises(UserError, match="leaves no device at all"):
        choose([replace(kind("fast", 1))], [1], {"at_most": {"fast": 0}})
