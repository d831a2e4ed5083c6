"""Everything that the best pipeline over unlike devices depends on: numbers only, no model, no cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.plan.measured import Measured, Shape

Seconds = tuple[tuple[float, ...], ...]
"""By device type, then by unit."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`n` units in a row, `K` types of device with `count[k]` devices each, `m` micro-batches a step.

    Stage `j` on type `k` with units `a` to `b - 1`, and `s` stages behind it, takes for a micro-batch, in seconds,

        pass_j  = fixed[k] + sum of forward[k] and backward[k] over its units
        later_j = sum of weights[k]                                  weight gradients, which nobody waits for

    for a step `m (pass_j + later_j) + sum of update[k]`, and the whole pipeline about

        sum over j of (pass_j + link_j)  +  max over j of ((m - 1) pass_j + m later_j + update_j)

    where link_j is what a micro-batch's activations and gradients take over the boundary behind stage `j`. The sum is
    the way of one micro-batch there and back, the maximum what the slowest stage adds to it (Zheng et al., Alpa, 2022,
    section 5.1, has it for whole stages without the split of the backward). It needs, in bytes,

        sum of held[k] + min(m, s + 1) sum of kept[k] + m sum of noted[k]   <=   memory[k].
    """

    types: tuple[str, ...]
    count: tuple[int, ...]
    memory: tuple[int, ...]
    """Bytes of each device of a type that a stage may fill."""
    forward: Seconds
    backward: Seconds
    """Of the gradients that go back to the unit before."""
    weights: Seconds
    update: Seconds
    """Once a step."""
    fixed: tuple[float, ...]
    """What every micro-batch costs a stage of a type beside its units, there and back together."""
    held: tuple[tuple[int, ...], ...]
    """Bytes of weights, gradients and optimizer state."""
    kept: tuple[tuple[int, ...], ...]
    """Bytes of a micro-batch from its forward to its backward."""
    noted: tuple[tuple[int, ...], ...]
    """Bytes of a micro-batch that stay until the end of the step, for its weight gradients."""
    crossing: tuple[tuple[int, int], ...]
    """Bytes over boundary `k`, behind unit `k`: of activations, and of gradients back (0 where none are needed)."""
    latency: Seconds
    """Seconds of an empty message between devices of two types."""
    per_byte: Seconds
    num_micro_batches: int
    may_cut: tuple[bool, ...]
    """Whether a stage may end behind unit `k`; one entry fewer than units."""
    allowed: tuple[tuple[bool, ...], ...]
    """By type, then by unit: whether the unit may sit there."""


def make_problem(
    measured: Measured,
    types: Sequence[str],
    count: Sequence[int],
    shape: Shape,
    *,
    num_micro_batches: int,
    largest: Shape | None = None,
    allowed: Sequence[Sequence[bool]] | None = None,
    may_cut: Sequence[bool] | None = None,
) -> Problem:
    """The problem of placing the measured model on devices of these types.

    Links are those from node to node where both ways were measured: the planner does not know who sits where.

    Args:
        types: names of types that were measured.
        count: how many devices of each there are.
        shape: what all micro-batches are taken to be like.
        largest: what there must be room for; `shape` when left out.
        allowed: by type, then by unit, whether it may sit there; anywhere when left out.
        may_cut: whether a stage may end behind each unit but the last; behind any when left out.

    Raises:
        ValueError: nothing was measured of a type, or of the way between two.
    """
    kinds = [measured.type(name) for name in types]
    times = [measured.times_at(name, shape) for name in types]
    most = [measured.times_at(name, largest or shape) for name in types]
    links = [[measured.link(one, other) for other in types] for one in types]
    units = len(measured.units)
    return Problem(
        types=tuple(types),
        count=tuple(count),
        memory=tuple(kind.memory for kind in kinds),
        forward=tuple(time.forward for time in times),
        backward=tuple(time.backward for time in times),
        weights=tuple(time.weights for time in times),
        update=tuple(kind.update for kind in kinds),
        fixed=tuple(time.stage_forward + time.stage_backward for time in times),
        held=(measured.held,) * len(kinds),
        kept=tuple(time.kept for time in most),
        noted=tuple(time.noted for time in most),
        crossing=times[0].crossing,
        latency=tuple(tuple(link.latency for link in row) for row in links),
        per_byte=tuple(tuple(1 / link.bandwidth for link in row) for row in links),
        num_micro_batches=num_micro_batches,
        may_cut=tuple(may_cut) if may_cut is not None else (True,) * (units - 1),
        allowed=tuple(map(tuple, allowed)) if allowed is not None else ((True,) * units,) * len(kinds),
    )
