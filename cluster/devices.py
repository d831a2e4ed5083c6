"""What the cluster's nodes offer, as Ray knows it and as a short look at each node tells."""

from __future__ import annotations

import math
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.placement import KEPT, TYPE_LABEL
from cluster.waiting import wait_for
from pipelines.errors import UserError
from pipelines.plan.devices import Device, Node, check_types, chip_name, devices_of
from pipelines.train.chip import multiplies_bfloat16

SLOWDOWN_LABEL = "motley.slowdown"
ACCELERATOR_LABEL, ACCELERATOR_RESOURCE = "ray.io/accelerator-type", "accelerator_type:"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a node tells."""

    cpu: str
    bfloat16: bool
    gpu: str | None
    gpu_memory: int


def discover(cpus_per_stage: float, *, timeout: float) -> list[Device]:
    """Every device that a stage with so many CPUs may be pinned to, whether it is free or not.

    A node with the label `motley.device=none` is kept for something else.

    Raises:
        UserError: a label that makes no sense, or a cluster without a single such device.
        TimeoutError: a node did not answer.
    """
    alive = offering()
    looks = {f"node {node['NodeID'][:8]}": _look.options(scheduling_strategy=on(node["NodeID"])) for node in alive}
    calls = {
        who: look.remote(node["Resources"].get("GPU", 0) >= 1)
        for (who, look), node in zip(looks.items(), alive, strict=True)
    }
    seen: list[Seen] = wait_for(calls, to="tell what it has", timeout=timeout)
    devices = [
        device
        for node, sight in zip(alive, seen, strict=True)
        for device in devices_of(_node(node, sight), cpus_per_stage)
    ]
    if not devices:
        most = max((node["Resources"].get("CPU", 0) for node in alive), default=0)
        raise UserError(
            f"No node has the {cpus_per_stage:g} CPUs of one stage (plan.cpus_per_stage): the largest has {most:g}. "
            "Ask for fewer."
        )
    check_types(devices)
    return sorted(devices, key=lambda device: (device.type, device.node))


def spare_cpus(devices: Sequence[Device]) -> dict[str, float]:
    """CPUs of each node, by Ray's id, that none of its devices has."""
    spare = {node["NodeID"]: float(node["Resources"].get("CPU", 0)) for node in offering()}
    for device in devices:
        spare[device.node] = spare.get(device.node, 0.0) - device.cpus
    return spare


def offering() -> list[dict[str, Any]]:
    """The nodes, as Ray knows them, that are not kept for something else."""
    return [node for node in ray.nodes() if node["Alive"] and node["Labels"].get(TYPE_LABEL) != KEPT]


def on(node: str) -> NodeAffinitySchedulingStrategy:
    """On that node and no other."""
    return NodeAffinitySchedulingStrategy(node, soft=False)


def slowdown_here() -> float:
    """How much the node of this actor or task is slowed on purpose, by its label.

    Raises:
        UserError: the label is no number of 1 or more.
    """
    # A label has one value, whatever Ray's annotation says.
    labels: Any = ray.get_runtime_context().get_node_labels()
    return _slowdown(labels)


def _slowdown(labels: Mapping[str, str]) -> float:
    value = labels.get(SLOWDOWN_LABEL, "1")
    with suppress(ValueError):
        if 1 <= (number := float(value)) < math.inf:
            return number
    raise UserError(f"The node label {SLOWDOWN_LABEL} is {value!r}: give a number of 1 or more, or take it away.")


def _node(node: Mapping[str, Any], seen: Seen) -> Node:
    labels, resources = node["Labels"], node["Resources"]
    named = [key for key in resources if key.startswith(ACCELERATOR_RESOURCE)]
    accelerator = labels.get(ACCELERATOR_LABEL) or (named[0].removeprefix(ACCELERATOR_RESOURCE) if named else None)
    return Node(
        id=node["NodeID"],
        cpus=resources.get("CPU", 0),
        gpus=int(resources.get("GPU", 0)),
        memory=int(resources.get("memory", 0)),
        cpu=seen.cpu,
        bfloat16=seen.bfloat16,
        accelerator=accelerator,
        gpu=seen.gpu,
        gpu_memory=seen.gpu_memory,
        label=labels.get(TYPE_LABEL),
        slowdown=_slowdown(labels),
    )


def _see(has_gpus: bool) -> Seen:
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpuinfo = ""
    gpu, gpu_memory = _gpu() if has_gpus else (None, 0)
    cpu = chip_name(cpuinfo, platform.machine())
    return Seen(cpu, multiplies_bfloat16(cpuinfo) is not False, gpu, gpu_memory)


def _gpu() -> tuple[str | None, int]:
    """Name and bytes of the machine's first GPU; (None, 0) where Ray was told of one that is not there."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, 0
    asked = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    name, _, mebibytes = done.stdout.split("\n", 1)[0].rpartition(",")
    if done.returncode or not mebibytes.strip().isdigit():
        return None, 0
    return name.strip(), int(mebibytes) * 2**20


_look: Any = ray.remote(num_cpus=0)(_see)
