"""Where parameter servers sit, and which devices are kept free for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipelines.errors import UserError
from pipelines.plan.devices import Device

CLOSE = 1e-9
"""CPUs: sums of the same numbers in another order differ by less."""


def keep_room(
    devices: Sequence[Device],
    spare: Mapping[str, float],
    speed: Mapping[str, float],
    *,
    num_servers: int,
    cpus: float,
) -> tuple[list[Device], tuple[str, ...]]:
    """The devices that are left, and the node of every server.

    A server goes to the node with the most CPUs that no device has. Where no node has enough, devices make room: of the
    node where the least speed is lost, its slowest CPU devices (GPUs only where there is nothing else).

    Args:
        spare: CPUs of each node that no device has.
        speed: of each type of device, against the others.
        cpus: of each server.

    Raises:
        UserError: a server fits on no node, or no device would be left.
    """
    left, spare = list(devices), dict(spare)
    nodes: list[str] = []
    for _ in range(num_servers):
        node = max(spare, key=lambda node: (spare[node], node), default=None)
        if node is None or spare[node] < cpus - CLOSE:
            offers = [
                offer
                for node in dict.fromkeys(device.node for device in left)
                if (offer := _offer(left, node, cpus - spare.get(node, 0.0), speed)) is not None
            ]
            if not offers:
                raise UserError(
                    f"plan.servers={num_servers} parameter servers of {cpus:g} CPUs (plan.cpus_per_server) fit on no "
                    "node beside the stages. Ask for fewer CPUs for each server, or for fewer servers."
                )
            given = min(offers, key=lambda offer: (sum(d.kind == "gpu" for d in offer), _lost(offer, speed)))
            node = given[0].node
            for device in given:
                left.remove(device)
                spare[node] = spare.get(node, 0.0) + device.cpus
        spare[node] -= cpus
        nodes.append(node)
    if not left:
        raise UserError(
            f"plan.servers={num_servers} parameter servers of {cpus:g} CPUs (plan.cpus_per_server) leave no device for "
            "a stage. Ask for fewer CPUs for each server or stage (plan.cpus_per_stage), or for fewer servers."
        )
    return left, tuple(nodes)


def told_room(before: Sequence[Device], after: Sequence[Device]) -> list[str]:
    """Of every type with devices that make room, how many, in a sentence."""
    had, has = (Counter(device.type for device in devices) for devices in (before, after))
    return [
        f"{had[name] - has[name]} of {had[name]} {name} kept free for parameter servers (plan.servers, "
        "plan.cpus_per_server)."
        for name in had
        if has[name] < had[name]
    ]


def _offer(left: Sequence[Device], node: str, cpus: float, speed: Mapping[str, float]) -> list[Device] | None:
    """The devices of a node that make room for so many CPUs; None if all of them do not."""
    there = [device for device in left if device.node == node]
    there.sort(key=lambda device: (device.kind == "gpu", speed[device.type]))
    given: list[Device] = []
    while cpus > CLOSE:
        if not there:
            return None
        given.append(there.pop(0))
        cpus -= given[-1].cpus
    return given


def _lost(devices: Sequence[Device], speed: Mapping[str, float]) -> float:
    return sum(speed[device.type] for device in devices)
