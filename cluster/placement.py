"""Reserve what a plan asks for, or say what was asked and what there is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from pipelines.errors import UserError
from pipelines.plan.plan import Plan, stage_devices
from pipelines.plan_settings import PlanConfig

NODE_LABEL = "ray.io/node-id"
"""The label that Ray gives every node."""
TYPE_LABEL, KEPT = "motley.device", "none"
"""The label by which an owner names the devices of a node, and its value for nodes that offer none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The device that one stage wants."""

    kind: str
    """`cpu` or `gpu`."""
    cpus: float
    node: str | None = None
    """Ray's id of the node; any node will do when None."""
    threads: int | None = None
    """Of its CPU kernels; as many as CPUs when None."""


def wanted(config: PlanConfig) -> list[Wanted]:
    """The devices of a given number of stages.

    Raises:
        UserError: the config names more or fewer devices than stages.
    """
    return [Wanted(kind, config.cpus_per_stage) for kind in stage_devices(config)]


def seats_of(plan: Plan) -> list[list[Wanted]]:
    """The devices that a plan names for each replica."""
    return [
        [
            Wanted(stage.kind, stage.cpus, stage.node, None if stage.local is None else stage.local.threads)
            for stage in cut.stages
        ]
        for cut in plan.replicas
    ]


def servers_of(config: PlanConfig, nodes: Sequence[str]) -> list[Wanted]:
    """What parameter servers want.

    Args:
        nodes: where the plan wants each; none where it leaves that to Ray.
    """
    places: Sequence[str | None] = nodes or [None] * config.servers
    return [Wanted("cpu", config.cpus_per_server, node) for node in places]


def reserve(devices: Sequence[Wanted], *, may_grow: bool, timeout: float) -> PlacementGroup:
    """A placement group with one bundle for each stage: its CPUs, and a GPU where its device is `gpu`.

    Where the cluster cannot grow (`may_grow`, true for one that may have an autoscaler), too few resources
    are refused at once; otherwise they are awaited for `timeout` seconds.

    Raises:
        UserError: the cluster has not got, or does not free in time, what the plan asks for.
    """
    check_room(devices, may_grow=may_grow)
    bundles, asked = bundles_of(devices), _sums(devices)
    nodes = [{NODE_LABEL: device.node} if device.node else {TYPE_LABEL: f"!{KEPT}"} for device in devices]
    group: PlacementGroup = placement_group(bundles, strategy="PACK", bundle_label_selector=nodes)
    if not group.wait(timeout_seconds=timeout):
        remove_placement_group(group)
        raise UserError(_explain(len(devices), asked) + f" Waited {timeout:g} s (plan.timeout).")
    return group


def stands(group: PlacementGroup, devices: Sequence[Wanted], there: Collection[str], seconds: float) -> bool:
    """Whether a reservation is there, or Ray finds other nodes for what was lost of it within so many seconds.

    Args:
        there: Ray's ids of the nodes that are alive.
    """
    pinned = {device.node for device in devices if device.node is not None}
    return pinned <= set(there) and bool(group.wait(timeout_seconds=seconds))


def check_room(devices: Sequence[Wanted], *, may_grow: bool) -> None:
    """Refuse at once what a cluster that cannot grow has not got.

    Raises:
        UserError: says what was asked and what there is.
    """
    asked = _sums(devices)
    if _lacks(asked, ray.cluster_resources()) and not may_grow:
        raise UserError(_explain(len(devices), asked))


def bundles_of(devices: Sequence[Wanted]) -> list[dict[str, float]]:
    """What each device takes of its node."""
    return [{"CPU": device.cpus} if device.kind == "cpu" else {"CPU": device.cpus, "GPU": 1} for device in devices]


def _sums(devices: Sequence[Wanted]) -> dict[str, float]:
    """What all of them take together."""
    return {kind: sum(bundle.get(kind, 0) for bundle in bundles_of(devices)) for kind in ("CPU", "GPU")}


def _lacks(asked: dict[str, float], there: dict[str, float]) -> bool:
    return any(number > there.get(kind, 0) for kind, number in asked.items())


def _explain(num_stages: int, asked: dict[str, float]) -> str:
    total, free = ray.cluster_resources(), ray.available_resources()
    wants = " and ".join(f"{number:g} {kind}s" for kind, number in asked.items() if number)
    has = " and ".join(f"{total.get(kind, 0):g} {kind}s ({free.get(kind, 0):g} free)" for kind in ("CPU", "GPU"))
    return (
        f"The plan asks for {wants} ({num_stages} stages), but the cluster has {has} on "
        f"{sum(node['Alive'] for node in ray.nodes())} node(s). Lower plan.stages or plan.cpus_per_stage, change "
        "plan.devices, or add nodes."
    )
