"""Whole steps of a run, on one device: what its micro-batches take there, one behind the other.

Units that are measured alone, always in the same shape, find more in caches than in a run, where micro-batches differ
and several are under way. What a rehearsal takes tells by how much, and how much actions that are alike differ
(pipelines/plan/corrected.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import cycle

from torch import Tensor

from pipelines.plan.corrected import Rehearsed
from pipelines.plan.measured import Shape
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.schedules import make_schedule
from pipelines.train.device import Device
from pipelines.train.owned import global_norm
from pipelines.train.stage import Stage
from pipelines.train.subject import Subject, sized
from pipelines.train.watch import Watch

PATIENCE = 8.0
"""Seconds of a device that is not slowed on purpose."""
ENOUGH = 12
"""Steps."""


def rehearse(
    subject: Subject,
    device: Device,
    example: Mapping[str, Tensor],
    steps: Sequence[Sequence[Shape]],
    *,
    patience: float = PATIENCE,
) -> list[Rehearsed]:
    """The steps that count.

    Args:
        example: any micro-batch.
        steps: the shapes of the micro-batches of some steps.
        patience: seconds, after which no other step begins; the first one counts only if it took longer. Twelve
            steps are enough, however quick they are.
    """
    stage = Stage(subject.spec([0, len(subject.units)], [0]), device)
    subject.fill(stage)
    batches = {shape: sized(example, shape) for step in steps for shape in step}
    ran: list[Rehearsed] = []
    begun, patience = time.monotonic(), patience * device.slowdown
    for number, shapes in enumerate(cycle(steps)):
        here: dict[str, list[float]] = {kind: [] for kind in ("forward", "backward", "weights")}
        _step(stage, [batches[shape] for shape in shapes], here)
        done = number == ENOUGH or time.monotonic() - begun > patience
        # The first step warms up, unless there is no time for another one.
        if number or done:
            ran.append(Rehearsed(tuple(shapes), *map(tuple, here.values())))
        if done:
            break
    return ran


def _step(stage: Stage, batches: Sequence[Mapping[str, Tensor]], spent: Mapping[str, list[float]]) -> None:
    (actions,) = make_schedule("1f1b", Pipeline((0,)), len(batches))
    for action in actions:
        i = action.micro_batch
        if i is None:
            norm = global_norm(stage.squared_norms())
            stage.update(1, norm if math.isfinite(norm) else 1.0)
            continue
        with Watch(stage.device, spent[action.kind]):
            if action.kind == "forward":
                stage.forward(0, 0, i, batches[i], [], 1.0)
            elif action.kind == "backward":
                stage.backward(0, i, [])
            else:
                stage.weights(0, i)
    stage.take_loss()
