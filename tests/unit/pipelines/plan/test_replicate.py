"""Several replicas, each planned for its own devices, and whether they are better than one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from pipelines.errors import UserError
from pipelines.plan.choose import Choice, Chooser
from pipelines.plan.devices import Device
from pipelines.plan.measured import Link, Measured, MeasuredType
from pipelines.plan.replicate import Replicator
from pipelines.plan_settings import PlanConfig
from tests.unit.pipelines.plan.test_choose import BLOCKS, STEPS, UNITS, choose, kind

HELD = 100_000


def replicate(
    types: list[MeasuredType],
    counts: list[int],
    *,
    num_bytes: int = 0,
    spare: float = 1.0,
    steps: Any = STEPS,
    node: str | None = None,
    **plan: Any,
) -> Choice:
    """A plan for devices that are a node each (or all on `node`), and one more node with room for servers."""
    names = [one.name for one in types]
    links = tuple(Link((a, b), 1e-4, 1e9) for a, b in product(names, repeat=2) if a <= b)
    measured = Measured("Model", tuple(one.name for one in UNITS.all), (HELD,) * len(UNITS), tuple(types), links, {})
    devices = [
        Device(one.name, one.kind, node or f"{one.name}-{n}", 1.0, 0, one.memory, one.chip, 1)
        for one, count in zip(types, counts, strict=True)
        for n in range(count)
    ]
    config = PlanConfig.model_validate({"replicas": 2, "servers": 1} | plan)
    chooser = Chooser(measured, devices, UNITS, config, None)
    planner = Replicator(chooser, measured, devices, config, spare={"room": spare}, num_bytes=num_bytes)
    return planner.choose(steps)


def devices_of(choice: Choice) -> list[list[str]]:
    return [[stage.device for stage in cut.stages] for cut in choice.plan.replicas]


def test_the_faster_replica_gets_more_of_every_step() -> None:
    choice = replicate([kind("fast", 1), kind("slow", 3)], [1, 1])
    assert devices_of(choice) == [["fast"], ["slow"]]
    assert choice.plan.shares == (6.0, 2.0)
    assert [len(cut.stages[0].units) for cut in choice.plan.replicas] == [BLOCKS + 2] * 2
    assert choice.plan.server_nodes == ("room",)


def test_a_step_takes_as_long_as_the_slowest_replica_and_then_the_exchange() -> None:
    free = replicate([kind("fast", 1), kind("slow", 3)], [1, 1])
    fast, slow = (choose([one], [1]).forecast for one in (kind("fast", 1), kind("slow", 3)))
    slowest = max(fast.seconds(STEPS[0][:6]), slow.seconds(STEPS[0][:2]))
    # 0.1 ms there and 0.1 ms back.
    assert free.plan.seconds == pytest.approx(slowest + 2e-4)
    # 10 MB a direction for each of two replicas, over one server's link of 1 GB a second.
    loaded = replicate([kind("fast", 1), kind("slow", 3)], [1, 1], num_bytes=10_000_000)
    assert loaded.plan.seconds == pytest.approx(slowest + 2e-4 + 4e-2)
    assert loaded.forecast.seconds(STEPS[0]) == pytest.approx(loaded.plan.seconds)
    assert loaded.simulated.seconds == pytest.approx(slowest)


def test_replicas_on_one_node_slow_each_other() -> None:
    crowded = [replace(kind("fast", 1), rates=(1.0, 0.5))]
    apart, together = replicate(crowded, [2]), replicate(crowded, [2], node="one")
    assert apart.plan.seconds is not None
    assert together.plan.seconds == pytest.approx(2 * (apart.plan.seconds - 2e-4) + 2e-4)


def test_equal_devices_make_equal_replicas_of_two_stages() -> None:
    choice = replicate([kind("fast", 1)], [4])
    assert devices_of(choice) == [["fast"] * 2] * 2
    assert choice.plan.shares == (4.0, 4.0)
    nodes = [stage.node for stage in choice.plan.stages]
    assert sorted(map(str, nodes)) == ["fast-0", "fast-1", "fast-2", "fast-3"]
    assert len(choice.actions) == len(choice.simulated.times) == 4


def test_whether_one_replica_were_better_is_said() -> None:
    two = [kind("fast", 1)], [2]
    several = replicate(*two, replicas="auto", num_bytes=10**6)
    assert len(several.plan.replicas) == 2
    why = several.plan.why
    assert why is not None
    assert why.startswith("2 replicas are predicted to take ")
    assert "0.004 s of it to exchange weights and gradients with 1 parameter server; one replica over all" in why
    one = replicate(*two, replicas="auto", num_bytes=10**10)
    assert len(one.plan.replicas) == 1
    assert one.plan.server_nodes == ()
    assert one.plan.why is not None
    assert one.plan.why.startswith("2 replicas are predicted to take 40.")
    asked = replicate(*two, num_bytes=10**10)
    assert len(asked.plan.replicas) == 2


def test_a_model_that_fits_once_has_one_replica() -> None:
    tight = [kind("small", 1, memory=5 * HELD + 8 * 5 * 1500)]
    one = replicate(tight, [2], replicas="auto")
    assert len(one.plan.replicas) == 1
    assert one.plan.why is not None
    assert "There is no way to have 2 replicas" in one.plan.why
    with pytest.raises(UserError, match="There is no way to have 2 replicas: each holds the whole model"):
        replicate(tight, [2])


def test_there_are_no_more_replicas_than_micro_batches() -> None:
    with pytest.raises(UserError, match=r"There is no way to have 3 replicas: .* \(2 in the mean\)"):
        replicate([kind("fast", 1)], [3], replicas=3, steps=[step[:2] for step in STEPS])


def test_servers_take_a_device_where_no_other_cpu_is_free() -> None:
    choice = replicate([kind("fast", 1), kind("slow", 3)], [2, 1], spare=0.0)
    assert devices_of(choice) == [["fast"], ["fast"]]
    assert choice.plan.server_nodes == ("slow-0",)
    assert choice.plan.left_out == (
        "1 of 1 slow kept free for parameter servers (plan.servers, plan.cpus_per_server).",
    )
    alone = replicate([kind("fast", 1), kind("slow", 3)], [2, 1], spare=0.0, replicas=1)
    assert devices_of(alone) == [["fast", "fast"]]
    assert alone.plan.server_nodes == ("slow-0",)


def test_one_replica_with_servers_exchanges_too() -> None:
    alone, served = choose([kind("fast", 1)], [2]), replicate([kind("fast", 1)], [2], replicas=1, num_bytes=10**7)
    assert alone.plan.seconds is not None
    assert served.plan.seconds == pytest.approx(alone.plan.seconds + 2e-4 + 2e-2)
    assert served.forecast.seconds(STEPS[0]) == pytest.approx(served.plan.seconds)


def test_a_device_that_would_slow_its_replica_is_left_out_with_the_reason() -> None:
    choice = replicate([kind("fast", 1), kind("useless", 1000)], [2, 1])
    assert devices_of(choice) == [["fast"], ["fast"]]
    (reason,) = choice.plan.left_out
    assert reason.startswith("replica 0: 1 of 1 useless left out: with one more of them a step would take ")


def test_shares_that_a_person_gives_go_the_largest_to_the_fastest() -> None:
    choice = replicate([kind("fast", 1), kind("slow", 3)], [1, 1], shares=[1, 3])
    assert devices_of(choice) == [["slow"], ["fast"]]
    assert choice.plan.shares == (1.0, 3.0)


def test_where_nobody_waits_speeds_add_up() -> None:
    choice = replicate([kind("fast", 1), kind("slow", 3)], [1, 1], sharing="async")
    fast, slow = (choose([one], [1]).forecast.seconds(STEPS[0]) for one in (kind("fast", 1), kind("slow", 3)))
    assert choice.plan.shares is None
    assert choice.plan.seconds == pytest.approx(1 / (1 / (fast + 2e-4) + 1 / (slow + 2e-4)))
    bounded = replicate([kind("fast", 1), kind("slow", 3)], [1, 1], sharing="bounded", staleness=1)
    assert bounded.plan.shares is None
    assert bounded.plan.seconds == pytest.approx(1 / (1 / (fast + 4e-4) + 1 / (slow + 4e-4)), rel=0.01)


def test_the_plan_as_json_tells_each_stages_replica() -> None:
    plan = replicate([kind("fast", 1), kind("slow", 3)], [1, 1]).plan.to_json()
    assert [(stage["replica"], stage["stage"], stage["device"]) for stage in plan["stages"]] == [
        (0, 0, "fast"),
        (1, 0, "slow"),
    ]
    assert plan["shares"] == (6.0, 2.0)
    assert plan["server_nodes"] == ("room",)
