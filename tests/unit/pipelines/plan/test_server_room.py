"""Parameter servers take CPUs that no device has, and else those whose loss is least."""

from __future__ import annotations

import pytest

from pipelines.errors import UserError
from pipelines.plan.devices import Device
from pipelines.plan.server_room import keep_room, told_room

SPEED = {"fast": 4.0, "slow": 1.0, "card": 20.0}


def device(type: str, node: str) -> Device:
    kind = "gpu" if type == "card" else "cpu"
    return Device(type, kind, node, 1.0, int(kind == "gpu"), 2**30, "chip", 1)  # type: ignore[arg-type]


DEVICES = [device("fast", "a"), device("fast", "a"), device("slow", "b"), device("slow", "b")]


def test_cpus_that_no_device_has_go_first() -> None:
    left, nodes = keep_room(DEVICES, {"a": 0.25, "b": 0.5}, SPEED, num_servers=2, cpus=0.25)
    assert left == DEVICES
    assert nodes == ("b", "b")


def test_where_there_are_none_the_slowest_devices_make_room() -> None:
    left, nodes = keep_room(DEVICES, {"a": 0.0, "b": 0.0}, SPEED, num_servers=2, cpus=1)
    assert [one.node for one in left] == ["a", "a"]
    assert nodes == ("b", "b")
    assert told_room(DEVICES, left) == [
        "2 of 2 slow kept free for parameter servers (plan.servers, plan.cpus_per_server)."
    ]


def test_two_servers_share_the_cpu_of_one_device() -> None:
    left, nodes = keep_room(DEVICES, {}, SPEED, num_servers=2, cpus=0.5)
    assert [one.type for one in left] == ["fast", "fast", "slow"]
    assert nodes == ("b", "b")


def test_a_server_of_many_cpus_takes_several_devices_of_one_node_and_no_gpu() -> None:
    devices = [*DEVICES, device("card", "b")]
    left, nodes = keep_room(devices, {"b": 0.5}, SPEED, num_servers=1, cpus=2.5)
    assert [one.type for one in left] == ["fast", "fast", "card"]
    assert nodes == ("b",)


def test_servers_that_find_no_room_or_leave_none_are_refused() -> None:
    with pytest.raises(UserError, match=r"1 parameter servers of 3 CPUs .* fit on no node"):
        keep_room(DEVICES, {}, SPEED, num_servers=1, cpus=3)
    with pytest.raises(UserError, match="leave no device for a stage"):
        keep_room(DEVICES, {}, SPEED, num_servers=4, cpus=1)
