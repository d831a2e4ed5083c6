"""Watts, prices and seconds make joules and money."""

from __future__ import annotations

from typing import Literal

import pytest

from pipelines.device_settings import EnergyConfig
from pipelines.errors import UserError
from pipelines.plan.measured import MeasuredType
from pipelines.plan.price import Watts, joules, kg_co2, money, price_by_type, price_of, watts_by_type, watts_of

ENERGY = EnergyConfig.model_validate(
    {"watts": {"t4": {"idle": 10, "busy": 70}, "cpu": {"idle": 1, "busy": 5}}, "price": {"cpu": 0.05, "t4": 0.35}}
)
WATTS = {"cpu": Watts(1, 5), "t4": Watts(10, 70)}


def test_a_device_draws_its_busy_watts_while_it_computes_and_its_idle_ones_for_the_rest() -> None:
    assert joules({"cpu": 6.0}, {"cpu": 2}, 4.0, WATTS) == 6 * 5 + 2 * 1
    assert joules({"cpu": 6.0, "t4": 4.0}, {"cpu": 2, "t4": 1}, 4.0, WATTS) == 6 * 5 + 2 * 1 + 4 * 70
    assert joules({}, {"t4": 1}, 4.0, WATTS) == 40


def test_a_device_that_is_left_out_draws_and_costs_nothing() -> None:
    assert joules({"cpu": 4.0}, {"cpu": 1, "t4": 0}, 4.0, WATTS) == 20
    assert money({"cpu": 1, "t4": 0}, 3600.0, {"cpu": 0.05}) == 0.05


def test_a_device_costs_what_it_is_held_for_busy_or_not() -> None:
    assert money({"cpu": 4, "gpu": 1}, 1800.0, {"cpu": 0.05, "gpu": 2.0}) == pytest.approx(1.1)


def test_the_fast_device_may_be_the_dear_one() -> None:
    """What a planner weighs: a GPU that is ten times as fast against the CPU."""
    assert joules({"cpu": 10.0}, {"cpu": 1}, 10.0, WATTS) == 50
    assert joules({"t4": 1.0}, {"t4": 1}, 1.0, WATTS) == 70
    prices = {"cpu": 0.05, "t4": 0.35}
    assert money({"cpu": 1}, 10.0, prices) > money({"t4": 1}, 1.0, prices)


def test_figures_go_by_the_type_s_own_name_then_by_its_kind_then_by_the_default() -> None:
    assert watts_of(ENERGY, ("t4", "gpu")) == Watts(10, 70)
    assert watts_of(ENERGY, ("a100", "gpu")) == Watts(40, 350)
    assert watts_of(ENERGY, ("cpu",), 2.0) == Watts(2, 10)
    assert watts_of(EnergyConfig(), ("cpu",), 2.0) == Watts(1.48, 7.0)
    assert price_of(ENERGY, ("cpu",), 2.0) == 0.1
    assert price_of(ENERGY, ("a100", "gpu")) is None


def measured(name: str, kind: Literal["cpu", "gpu"], threads: int) -> MeasuredType:
    return MeasuredType(name, kind, f"chip of {name}", threads, "float32", 10**9, (), (), (1.0,))


def test_a_planner_gets_figures_by_type_with_a_gpu_s_cpus_in_its_watts_and_not_in_its_price() -> None:
    types = [measured("slice", "cpu", 4), measured("t4", "gpu", 2)]
    assert watts_by_type(ENERGY, types) == {"slice": Watts(4, 20), "t4": Watts(12, 80)}
    assert price_by_type(ENERGY, types) == {"slice": 0.2, "t4": 0.35}
    with pytest.raises(
        UserError, match=r"no price for devices of type 'a100'.* energy.price.a100, or energy.price.gpu"
    ):
        price_by_type(ENERGY, [measured("a100", "gpu", 1)])


def test_a_kilowatt_hour_emits_what_the_grid_does() -> None:
    assert kg_co2(3.6e6, EnergyConfig()) == pytest.approx(0.473)
    assert kg_co2(7.2e6, EnergyConfig(carbon_intensity=50)) == pytest.approx(0.1)
