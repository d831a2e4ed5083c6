"""Who drew what in a run."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.device_settings import EnergyConfig
from pipelines.report.energy import Book, Energy, Holding, Spent, added, holdings, sentence
from pipelines.train.events import Event, StageReport
from pipelines.train.meter import Drawn

WATTS = {"cpu": {"idle": 1, "busy": 10}, "gpu": {"idle": 20, "busy": 200}}


def report(stage: int, begin: float, busy: float, *, step: int = 0, drawn: Drawn | None = None) -> StageReport:
    events = (Event("forward", 0, begin, begin + busy),)
    return StageReport(stage, step, events, 0.5, 1.0, 0, drawn=drawn)


def account(stages: list[Holding], *steps: list[StageReport], **settings: Any) -> Energy:
    book = Book(stages, EnergyConfig.model_validate({"watts": WATTS} | settings))
    for reports in steps:
        book.add(reports, 500)
    return book.close()


def test_without_counters_busy_and_idle_seconds_make_an_estimate() -> None:
    stages = [Holding("a", 1, None), Holding("a", 2, None)]
    # Ten seconds: stage 0 computes for all of them, stage 1, of two CPUs, for four.
    energy = account(stages, [report(0, 100, 6), report(1, 100, 2)], [report(0, 106, 4), report(1, 106, 2)])
    assert energy.seconds == 10
    assert [(spent.joules, spent.estimated) for spent in energy.stages] == [(100, True), (80 + 12, True)]
    assert (energy.all.joules, energy.all.estimated, energy.all.money) == (192, True, None)
    assert energy.all.kg_co2 == pytest.approx(192 / 3.6e6 * 0.473)


def test_a_node_s_counter_is_taken_once_and_shared_by_how_busy_each_kept_its_cpus() -> None:
    stages = [Holding("a", 1, None), Holding("a", 2, None), Holding("b", 1, None)]
    # Both on node a read the same counter, the second a little later.
    first = [report(0, 0, 6, drawn=Drawn(50.0, None)), report(1, 0, 1, drawn=Drawn(50.0, None)), report(2, 0, 6)]
    last = [report(0, 6, 2, drawn=Drawn(99.0, None)), report(1, 6, 3, drawn=Drawn(100.0, None)), report(2, 6, 4)]
    energy = account(stages, first, last)
    assert [(spent.joules, spent.estimated) for spent in energy.stages] == [(50, False), (50, False), (100, True)]
    assert energy.all.estimated


def test_a_gpu_has_its_own_counter_and_a_part_of_its_node_s() -> None:
    stages = [Holding("a", 1, "NVIDIA T4"), Holding("a", 1, None), Holding("b", 1, "NVIDIA T4")]
    steps = [report(0, 0, 5, drawn=Drawn(60.0, 300.0)), report(1, 0, 10, drawn=Drawn(60.0, None)), report(2, 0, 4)]
    energy = account(stages, steps)
    # On node b nothing can be read: a CPU and a GPU, four seconds busy and six idle.
    assert [(spent.joules, spent.estimated) for spent in energy.stages] == [
        (20 + 300, False), (40, False), (40 + 6 + 800 + 120, True),
    ]  # fmt: skip


def test_the_meter_of_a_stage_that_was_started_anew_goes_on_from_the_old_one() -> None:
    drawn = [Drawn(10.0, None), Drawn(30.0, None), Drawn(5.0, None)]
    steps = [[report(0, step, 1, step=step, drawn=each)] for step, each in enumerate(drawn)]
    assert account([Holding("a", 1, None)], *steps).all.joules == 35


def test_money_is_told_where_every_device_has_a_price() -> None:
    stages = [Holding("a", 2, None), Holding("a", 1, "NVIDIA T4")]
    steps = [report(0, 0, 1800), report(1, 1800, 1800)]
    energy = account(stages, steps, price={"cpu": 0.04, "NVIDIA T4": 0.5}, currency="EUR")
    assert [spent.money for spent in energy.stages] == [0.08, 0.5]
    assert energy.all.money == pytest.approx(0.58)
    partly = account(stages, steps, price={"cpu": 0.04})
    assert (partly.all.money, partly.unpriced) == (None, ("gpu",))
    assert "no price for gpu in energy.price" in sentence(partly.to_json())


def test_metrics_say_in_their_names_what_is_an_estimate() -> None:
    spent = [Spent(3000.0, True, 0.002, None), Spent(1000.0, False, 0.001, 0.5)]
    energy = Energy(Spent(4000.0, True, 0.003, None), tuple(spent), 2000, 10.0, 473.0, "Ember", "USD", ())
    assert energy.metrics() == {
        "energy/joules_estimated": 4000.0,
        "energy/kg_co2_estimated": 0.003,
        "energy/joules_estimated_per_1000_tokens": 2000.0,
        "energy/kg_co2_estimated_per_1000_tokens": 0.0015,
        "energy/stage_0/joules_estimated": 3000.0,
        "energy/stage_0/kg_co2_estimated": 0.002,
        "energy/stage_1/joules": 1000.0,
        "energy/stage_1/kg_co2": 0.001,
        "energy/stage_1/money": 0.5,
    }


def test_people_read_one_line() -> None:
    def line(estimated: bool, money: float | None) -> str:
        spent = Spent(7200.0, estimated, 0.0001, money)
        return sentence(Energy(spent, (spent,), 2000, 10.0, 50.0, "energy.carbon_intensity", "EUR", ()).to_json())

    assert line(True, None) == (
        "estimated 2 Wh, estimated 0.1 g CO2 (50 g/kWh, energy.carbon_intensity); per 1,000 tokens estimated 3.6e+03 J"
    )
    assert line(False, 0.5) == (
        "2 Wh, 0.1 g CO2 (50 g/kWh, energy.carbon_intensity), 0.5 EUR; per 1,000 tokens 3.6e+03 J, 0.25 EUR"
    )


def test_a_gpu_that_the_plan_asked_for_and_the_node_has_not_counts_as_the_cpus_that_stand_in() -> None:
    stages = [
        {"device": "gpu", "cpus": 0.5, "gpu": None, "node": "a"},
        {"device": "t4", "cpus": 1.0, "gpu": "NVIDIA T4", "node": "b"},
    ]
    assert holdings(stages) == [Holding("a", 0.5, None), Holding("b", 1.0, "NVIDIA T4", "t4")]


def test_plans_one_after_the_other_make_one_account_of_all_their_stages() -> None:
    before = account([Holding("a", 1, None), Holding("b", 1, None)], [report(0, 100, 4), report(1, 100, 2)])
    after = account([Holding("a", 1, None)], [report(0, 120, 6)])
    whole = added([before, after])
    assert [spent.joules for spent in whole.stages] == [40, 22, 60]
    assert (whole.all.joules, whole.seconds, whole.num_tokens) == (122, 10, 1000)
    assert whole.all.kg_co2 == pytest.approx(before.all.kg_co2 + after.all.kg_co2)
    assert added([before]) == before
