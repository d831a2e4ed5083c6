"""Unit times, corrected by whole steps that were rehearsed, and how much what is alike differs in these. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from pipelines.plan.measured import Shape, Times, times_at


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A step of one stage that holds the whole model. Seconds."""

    shapes: tuple[Shape, ...]
    """Of its micro-batches."""
    forward: tuple[float, ...]
    """Of each of them; so is `backward`."""
    backward: tuple[float, ...]
    weights: tuple[float, ...]
    """Of each part that their weight gradients are computed in."""


def corrected(times: Sequence[Times], ran: Sequence[Rehearsed]) -> tuple[Times, ...]:
    """All times, scaled by one factor for each kind of action, so that what ran is predicted to take as long."""
    found = [times_at(tuple(times), shape) for step in ran for shape in step.shapes]
    forward = _factor((step.forward for step in ran), map(_forward, found))
    backward = _factor((step.backward for step in ran), map(_backward, found))
    weights = _factor((step.weights for step in ran), (sum(one.weights) for one in found))
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


def variation(times: Sequence[Times], ran: Sequence[Rehearsed]) -> float:
    """The standard deviation of what forwards and backwards took, over what they were to take, within a step.

    What a whole step took more or less than others is no part of it: no stage waits for another one for that.
    0 where no step had two micro-batches.
    """
    squares, free = 0.0, 0
    for step in ran:
        found = [times_at(tuple(times), shape) for shape in step.shapes]
        for took, thought in (
            (step.forward, map(_forward, found)),
            (step.backward, map(_backward, found)),
        ):
            shares = [one / other for one, other in zip(took, thought, strict=True) if other > 0]
            if shares:
                mean = fmean(shares)
                squares += math.fsum((share / mean - 1) ** 2 for share in shares)
                free += len(shares) - 1
    return math.sqrt(squares / free) if free else 0.0


def _forward(times: Times) -> float:
    """Of all units, as one stage."""
    return times.stage_forward + sum(times.forward)


def _backward(times: Times) -> float:
    """The same."""
    return times.stage_backward + sum(times.backward)


def _factor(spent: Iterable[Sequence[float]], predicted: Iterable[float]) -> float:
    thought = math.fsum(predicted)
    return math.fsum(seconds for step in spent for seconds in step) / thought if thought > 0 else 1.0
