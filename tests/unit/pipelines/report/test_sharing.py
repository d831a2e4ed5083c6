"""Staleness and waves, as they are told."""

from __future__ import annotations

from pipelines.config import Config
from pipelines.report.observer import Beginning, StepNumbers
from pipelines.report.plan_table import plan_table
from pipelines.report.sharing import metrics, summary


def numbers(*, staleness: tuple[int, ...] = (), waves: tuple[int, ...] = ()) -> StepNumbers:
    return StepNumbers(1, 1, 0.5, 1.0, 1e-3, 10, [], 1.0, 1.0, 0, [], staleness, waves)


def test_each_step_tells_how_stale_its_waves_were_and_who_ran_them() -> None:
    assert metrics(numbers(staleness=(0, 3), waves=(2, 0))) == {
        "staleness/mean": 1.5, "staleness/max": 3.0, "waves/replica_0": 2.0, "waves/replica_1": 0.0,
    }  # fmt: skip


def test_the_summary_is_of_all_waves() -> None:
    steps = [numbers(staleness=(0, 3), waves=(2, 0)), numbers(staleness=(1, 0), waves=(1, 1))]
    assert summary(steps) == {"staleness": {"mean": 1.0, "max": 3}, "waves_per_replica": [3, 1]}


def test_without_parameter_servers_nothing_is_told() -> None:
    assert metrics(numbers()) == {}
    assert summary([numbers()]) == {}


def test_the_plan_shows_replicas_and_servers() -> None:
    stage = {"stage": 0, "units": ["model"], "num_parameters": 2_000_000, "num_trained": 2_000_000, "share": 1.0}
    plan = {
        "stages": [{**stage, "replica": r, "assigned": "CPU, 1 thread"} for r in range(2)],
        "servers": [{"server": 0, "parameters": 2_000_000, "pieces": 3, "assigned": "CPU, 1 thread"}],
    }
    assert plan_table(Beginning(1, 0, 1, plan, {}, ["O"], Config())).split("\n") == [
        "replica 0  stage 0     2.0 M parameters  100% of the work  CPU, 1 thread: model",
        "replica 1  stage 0     2.0 M parameters  100% of the work  CPU, 1 thread: model",
        "parameter server 0     2.0 M parameters in 3 pieces  CPU, 1 thread",
    ]
