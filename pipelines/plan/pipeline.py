"""What a schedule is made for: which stage holds which chunk, and, where they are known, seconds and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.plan.actions import Action


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds. A micro-batch's times are those of `sizes` times the ones here."""

    forward: tuple[float, ...]
    """Of one micro-batch, by chunk; so are the next two."""
    backward: tuple[float, ...]
    weights: tuple[float, ...]
    update: tuple[float, ...]
    """By stage."""
    latency: tuple[float, ...] = ()
    """Of a message over the boundary behind each chunk but the last; none where empty. Not within a stage."""
    activations: tuple[float, ...] = ()
    """For how long the activations of a micro-batch occupy the link over each boundary: bytes over bandwidth."""
    gradients: tuple[float, ...] = ()
    """The same of what comes back."""
    sizes: tuple[float, ...] = ()
    """What each micro-batch costs against the one measured; all the same where empty."""

    def size(self, i: int) -> float:
        return self.sizes[i] if self.sizes else 1.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes."""

    kept: tuple[int, ...]
    """Of one micro-batch from its forward to its backward, by chunk."""
    noted: tuple[int, ...]
    """What stays of it until its weight gradients are computed, by chunk."""
    limit: tuple[int, ...] | None = None
    """The most that each stage may hold of both together."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Stages that share a node slow each other."""

    of: tuple[int, ...]
    """The node of each stage."""
    rates: tuple[tuple[float, ...], ...]
    """By node: the speed of a device when 1, 2, ... devices of the node work at once. With more at work than there are
    numbers, the node does as much in sum as with that many."""

    def rate(self, node: int, working: int) -> float:
        rates = self.rates[node]
        return rates[working - 1] if working <= len(rates) else rates[-1] * len(rates) / working


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Chunks in the order of the model, each on a stage; a stage may hold several, in any order."""

    stage_of: tuple[int, ...]
    costs: Costs | None = None
    memory: Memory | None = None
    nodes: Nodes | None = None
    """None where no stage slows another."""

    @property
    def num_stages(self) -> int:
        return max(self.stage_of) + 1

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of each stage's chunks."""
        return tuple(tuple(c for c, stage in enumerate(self.stage_of) if stage == j) for j in range(self.num_stages))

    @staticmethod
    def of(schedule: Schedule) -> Pipeline:
        """The one that a schedule was made for."""
        stages = {
            action.chunk: j for j, actions in enumerate(schedule) for action in actions if action.kind == "forward"
        }
        return Pipeline(tuple(stages[c] for c in range(len(stages))))


Schedule = list[list[Action]]
"""For each stage, its actions in one step."""
