"""Everything that the best pipeline over unlike devices depends on: numbers only, no model, no cluster."""

from __future__ import annotations

from dataclasses import dataclass

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
