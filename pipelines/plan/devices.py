"""What a cluster offers: devices that a stage may be pinned to, and their types. Pure: from numbers and names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class Device:
    """A slice of a node's CPUs, or a GPU with the CPUs that feed it."""

    type: str
    """Those of a type are interchangeable."""
    kind: Literal["cpu", "gpu"]
    node: str
    """Ray's id of its node."""
    cpus: float
    gpus: int
    memory: int
    """Bytes that are there for it."""
    chip: str
    threads: int
    slowdown: float = 1.0
    """As in pipelines/train/device.py."""
    bfloat16: bool = True
    """Whether its chip multiplies bfloat16 itself."""
    logical: bool = False
    """A GPU that Ray was told of and that the machine has not: the stage computes on the CPU."""

    def __str__(self) -> str:
        slowed = f", slowed {self.slowdown:g}x" if self.slowdown != 1 else ""
        instead = ", computed on the CPU" if self.logical else ""
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}" if self._on_cpu else ""
        return f"{self.chip}{threads}{instead}{slowed}"

    @property
    def _on_cpu(self) -> bool:
        return self.kind == "cpu" or self.logical


@dataclass(frozen=True, slots=True)
class Node:
    """What one node has."""

    id: str
    cpus: float
    gpus: int
    memory: int
    """Bytes that Ray may give away."""
    cpu: str
    """The processor's name."""
    bfloat16: bool
    accelerator: str | None = None
    """Ray's word for the type of its GPUs."""
    gpu: str | None = None
    """The GPUs' name; None where the machine has none, whatever Ray was told."""
    gpu_memory: int = 0
    """Bytes of each."""
    label: str | None = None
    """What its owner calls its type of device."""
    slowdown: float = 1.0


def devices_of(node: Node, cpus_per_stage: float) -> list[Device]:
    """The node's GPUs, each with a slice of its CPUs, and one device for every other slice."""
    slices = int(node.cpus / cpus_per_stage + 1e-9)
    if not slices:
        return []
    gpus = min(node.gpus, slices)
    threads = max(1, int(cpus_per_stage))
    share = node.memory // slices
    logical = node.gpu is None
    devices = [
        Device(
            type=_name(node, "gpu", threads),
            kind="gpu",
            node=node.id,
            cpus=cpus_per_stage,
            gpus=1,
            memory=share if logical else node.gpu_memory,
            chip=node.gpu or node.cpu,
            threads=threads,
            slowdown=node.slowdown,
            bfloat16=node.bfloat16 or not logical,
            logical=logical,
        )
    ] * gpus
    return devices + [
        Device(
            type=_name(node, "cpu", threads),
            kind="cpu",
            node=node.id,
            cpus=cpus_per_stage,
            gpus=0,
            memory=share,
            chip=node.cpu,
            threads=threads,
            slowdown=node.slowdown,
            bfloat16=node.bfloat16,
        )
    ] * (slices - gpus)


def check_types(devices: Sequence[Device]) -> None:
    """Refuse one name for devices that are not alike.

    Raises:
        UserError: says which.
    """
    seen: dict[str, Device] = {}
    for device in devices:
        first = seen.setdefault(device.type, device)
        if str(device) != str(first):
            raise UserError(
                f"Nodes with the label motley.device={device.type} have unlike devices: {first} (node {first.node}) "
                f"and {device} (node {device.node}). Give them different labels, or none."
            )


def precision_of(device: Device, wanted: str) -> str:
    """What it computes in: a CPU without instructions for bfloat16 is a hundred times slower in it than in float32."""
    return "float32" if wanted == "bfloat16" and not device.bfloat16 else wanted


def chip_name(cpuinfo: str, otherwise: str) -> str:
    """The processor's name by Linux's /proc/cpuinfo; `otherwise` where that tells none, as on Arm."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return " ".join(found[1].split()) if found else otherwise


def _name(node: Node, kind: str, threads: int) -> str:
    """The owner's name for its GPUs if it has any and else for its CPUs, or one made of what is known."""
    if node.label is not None:
        return node.label if kind == "gpu" or not node.gpus else f"{node.label}-cpu"
    on_cpu = kind == "cpu" or node.gpu is None
    chip = node.cpu if kind == "cpu" else node.accelerator or node.gpu or node.cpu
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((R|TM)\)|@.*|\bCPU\b", "", chip).lower()).strip("-")
    of_threads = f"-{threads}t" if on_cpu else ""
    slowed = f"-slowed-{node.slowdown:g}" if node.slowdown != 1 else ""
    return f"{kind}-{slug}{of_threads}{slowed}"
