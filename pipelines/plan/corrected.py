"""Unit times, corrected by whole steps that were rehearsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.plan.measured import Shape, Times, times_at


def corrected(times: Sequence[Times], ran: Sequence[Shape], spent: Mapping[str, float]) -> tuple[Times, ...]:
    """All times, scaled by one factor for each kind of action, so that what ran is predicted to take as long.

    Args:
        ran: one for each micro-batch.
        spent: what these took together: `forward`, `backward` and `weights`, in seconds.
    """
    found = [times_at(tuple(times), shape) for shape in ran]
    forward = _factor(spent["forward"], sum(one.stage_forward + sum(one.forward) for one in found))
    backward = _factor(spent["backward"], sum(one.stage_backward + sum(one.backward) for one in found))
    weights = _factor(spent["weights"], sum(sum(one.weights) for one in found))
    return tuple(
        replace(
            one,
            forward=tuple(seconds * forward for seconds in one.forward),
            backward=tuple(seconds * backward for seconds in one.backward),
            weights=tuple(seconds * weights for seconds in one.weights),
            stage_forward=one.stage_forward * forward,
            stage_backward=one.stage_backward * backward,
        )
        for one in times
    )


def _factor(spent: float, predicted: float) -> float:
    return spent / predicted if predicted > 0 else 1.0
