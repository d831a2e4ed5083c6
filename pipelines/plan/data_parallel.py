"""What a step of plain data parallel will take on like devices, from the measurements that pipelines are planned by.

    worker 0   pass pass ·          | gradients go round |  update        · waits for the one that has most
    worker 1   pass pass pass       | in a ring          |  update

Whole steps, and no overlap of the ring with the last backward: on CPUs both want the same cores, and on GPUs it is the
prudent side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.plan.deal import deal
from pipelines.plan.devices import Device
from pipelines.plan.measured import Link, Measured, Shape, costs_of


@dataclass(frozen=True, slots=True)
class DataStep:
    """A predicted step; seconds."""

    passes: float
    """Forwards and backwards of the worker that has most of them."""
    ring: float
    """Until the gradients of all are summed on all."""
    update: float

    @property
    def seconds(self) -> float:
        return self.passes + self.ring + self.update


@dataclass(frozen=True, slots=True)
class Even:
    """A number of like devices, each with the whole model."""

    type: str
    num_workers: int
    seconds: float
    """Predicted of a step, in the mean."""


def ring_seconds(num_bytes: float, num_workers: int, link: Link) -> float:
    """Until `num_bytes` on each of the workers are summed on each of them.

    Each sends one part in n of them 2 (n - 1) times to the next: Patarasuk and Yuan 2009, Bandwidth Optimal All-reduce
    Algorithms for Clusters of Workstations, section 3.
    """
    return 2 * (num_workers - 1) * (link.latency + num_bytes / num_workers / link.bandwidth)


def gradient_bytes(trained: Mapping[str, int], tables: Mapping[str, int], *, tokens: float, itemsize: int) -> float:
    """Bytes of gradients that each worker puts into the sum.

    Args:
        trained: numbers of values of all trained parameters, by name.
        tables: widths of those that are trained by the rows that were looked up; their rows go with their numbers.
        tokens: sub-words that a worker looks up in a step.
        itemsize: bytes of a value.
    """
    dense = sum(size for name, size in trained.items() if name not in tables)
    rows = {name: min(trained[name] / width, tokens) for name, width in tables.items()}
    return dense * itemsize + sum(count * (tables[name] * itemsize + 8) for name, count in rows.items())


def predict(
    measured: Measured, name: str, num_workers: int, shapes: Sequence[Shape], *, num_bytes: float, on_node: int = 1
) -> DataStep:
    """A step whose micro-batches have these shapes, on devices of the type `name`.

    Args:
        num_bytes: of the gradients.
        on_node: how many of the workers share a node, where most do.
    """
    kind, whole = measured.type(name), len(measured.units)
    costs = {shape: costs_of(measured, name, shape, 0, whole) for shape in set(shapes)}
    passes = [costs[shape].forward + costs[shape].backward + costs[shape].weights for shape in shapes]
    rate = kind.rates[min(on_node, len(kind.rates)) - 1]
    longest = max(sum(passes[i] for i in hand) for hand in deal(passes, num_workers)) / rate
    update = sum(kind.update) / rate
    if num_workers == 1:
        return DataStep(longest, 0.0, update)
    link = measured.link(name, name, same_node=on_node == num_workers)
    return DataStep(longest, ring_seconds(num_bytes, num_workers, link), update)


def fastest(
    measured: Measured,
    devices: Sequence[Device],
    steps: Sequence[Sequence[Shape]],
    num_bytes: Mapping[str, float],
) -> Even | None:
    """The best number of workers of the best type; None where no type has two devices that the whole model fits on.

    Args:
        devices: what there is; nodes are filled one after the other.
        steps: the shapes of the micro-batches of some steps.
        num_bytes: of the gradients, by kind of device.
    """
    best: Even | None = None
    for kind in measured.types:
        mine = [device for device in devices if device.type == kind.name]
        if _needs(measured, kind.name, steps) > kind.memory:
            continue
        by_node = sorted(Counter(device.node for device in mine).items(), key=lambda item: (-item[1], item[0]))
        for num_workers in range(2, len(mine) + 1):
            on_node = min(by_node[0][1], num_workers)
            found = fmean(
                predict(
                    measured, kind.name, num_workers, shapes, num_bytes=num_bytes[kind.kind], on_node=on_node
                ).seconds
                for shapes in steps
            )
            if best is None or found < best.seconds:
                best = Even(kind.name, num_workers, found)
    return best


def _needs(measured: Measured, name: str, steps: Sequence[Sequence[Shape]]) -> int:
    """Bytes: all that is held, and one micro-batch on its way."""
    shapes = {shape for step in steps for shape in step}
    costs = [costs_of(measured, name, shape, 0, len(measured.units)) for shape in shapes]
    return sum(measured.held) + max(cost.kept + cost.noted for cost in costs)


def advice(even: Even | None, seconds: float | None, kinds: Mapping[str, str]) -> str | None:
    """What to tell who planned a pipeline of so many seconds a step; None where it is the faster one.

    Args:
        kinds: `cpu` or `gpu` by type of device.
    """
    if even is None or seconds is None or even.seconds >= seconds:
        return None
    return (
        f"Plain data parallel is predicted to be {seconds / even.seconds:.2f} times as fast: {even.seconds:.3f} s a "
        f"step with {even.num_workers} workers on {even.type}. For it use plan.strategy=data "
        f"plan.workers={even.num_workers} plan.devices={kinds[even.type]}."
    )
