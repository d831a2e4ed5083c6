"""Predicted steps of plain data parallel, by numbers that can be added in the head."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.plan.data_parallel import DataStep, Even, advice, fastest, gradient_bytes, predict, ring_seconds
from pipelines.plan.devices import Device
from pipelines.plan.measured import Link
from tests.unit.pipelines.plan.measured_example import FAST, LARGE, MEASURED, SLOW, SMALL


def device(kind: str, node: str) -> Device:
    return Device(kind, "cpu", node, cpus=1, gpus=0, memory=2**31, chip="", threads=1)


def test_a_ring_of_four_sends_six_parts_of_a_quarter() -> None:
    link = Link(("a", "a"), latency=0.001, bandwidth=1e6)
    assert ring_seconds(4e6, 4, link) == pytest.approx(6 * (0.001 + 1.0))
    assert ring_seconds(4e6, 1, link) == 0


def test_tables_that_are_trained_by_rows_send_the_rows_that_were_looked_up_with_their_numbers() -> None:
    trained = {"table": 1000 * 16, "layer": 100}
    assert gradient_bytes(trained, {}, tokens=50, itemsize=4) == 16_100 * 4
    assert gradient_bytes(trained, {"table": 16}, tokens=50, itemsize=4) == 100 * 4 + 50 * (16 * 4 + 8)
    assert gradient_bytes(trained, {"table": 16}, tokens=5000, itemsize=4) == 100 * 4 + 1000 * (16 * 4 + 8)


def test_a_step_is_the_passes_of_whoever_has_most_the_ring_and_the_update() -> None:
    # Forward 7 + 1 ms, backward 9 + 2 ms, weight gradients 5 ms; twice as long but for the stage's own 3 ms when large.
    assert predict(MEASURED, "fast", 1, [SMALL], num_bytes=0) == DataStep(
        pytest.approx(0.024), 0.0, pytest.approx(0.004)
    )
    found = predict(MEASURED, "fast", 2, [LARGE, SMALL, SMALL], num_bytes=1e6, on_node=2)
    assert found.passes == pytest.approx(0.048)
    assert found.ring == pytest.approx(2 * (0.0001 + 0.0005))
    assert found.seconds == pytest.approx(0.048 + 0.0012 + 0.004)


def test_workers_of_one_node_slow_each_other_and_those_of_two_nodes_wait_for_the_network() -> None:
    # Three times 21 ms and the stage's 3 ms; at half the speed where two share a node.
    together = predict(MEASURED, "slow", 2, [SMALL, SMALL], num_bytes=1e6, on_node=2)
    apart = predict(MEASURED, "slow", 2, [SMALL, SMALL], num_bytes=1e6, on_node=1)
    assert (together.passes, together.update) == (pytest.approx(0.132), pytest.approx(0.024))
    assert (apart.passes, apart.update) == (pytest.approx(0.066), pytest.approx(0.012))
    assert together.ring == pytest.approx(2 * (0.0001 + 0.0005))
    assert apart.ring == pytest.approx(2 * (0.002 + 0.005))


def test_the_fastest_number_of_like_devices_is_found_where_the_model_fits() -> None:
    steps = [[SMALL] * 4]
    devices = [device("slow", "a"), device("slow", "b"), device("fast", "c")]
    found = fastest(MEASURED, devices, steps, {"cpu": 1e6, "gpu": 1e6})
    assert found == Even("slow", 2, pytest.approx(0.132 + 0.014 + 0.012))
    small = replace(MEASURED, types=(FAST, replace(SLOW, memory=20_000)))
    assert fastest(small, devices, steps, {"cpu": 1e6, "gpu": 1e6}) is None


def test_it_is_told_only_where_it_is_faster_than_the_pipeline() -> None:
    even, kinds = Even("slow", 2, 0.1), {"slow": "cpu"}
    assert advice(even, 0.1, kinds) is None
    assert advice(None, 0.1, kinds) is None
    assert advice(even, 0.15, kinds) == (
        "Plain data parallel is predicted to be 1.50 times as fast: 0.100 s a step with 2 workers on slow. For it use "
        "plan.strategy=data plan.workers=2 plan.devices=cpu."
    )
