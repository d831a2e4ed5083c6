"""What a stage reports of one step: numbers and times, never tensors or text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.train.meter import Drawn
from pipelines.train.poison import Poison

Kind = Literal["forward", "backward", "weights", "update"]
"""`weights` computes the weight gradients of the micro-batches up to the named one; `update` belongs to the step."""


@dataclass(frozen=True, slots=True)
class Event:
    """One action of one stage; times are seconds since the epoch."""

    kind: Kind
    micro_batch: int | None
    start: float
    end: float
    chunk: int = 0
    """Counted in the order of the model, as in Action."""


@dataclass(frozen=True, slots=True)
class Update:
    """How a step's update went; the same on every stage."""

    grad_norm: float
    """The global norm of all gradients, before clipping and without the loss scale."""
    loss_scale: float | None = None
    """What the step's loss was multiplied by; None where nothing is scaled."""
    skipped: bool = False
    """A number was not finite: no weight was changed, and the next loss is scaled by less, if it is scaled."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """What stage `stage` did in step `step`."""

    stage: int
    step: int
    events: tuple[Event, ...]
    loss: float | None
    """The step's loss (from the stage that holds the last chunk)."""
    grad_norm: float
    """The global norm of all gradients, before clipping; the same on every stage."""
    bytes_sent: int
    penalties: tuple[float, ...] = ()
    """What is added to the loss for the sake of this stage's weights: by an adapter, or to hold them back."""
    loss_scale: float | None = None
    """As in Update, like the next one."""
    skipped: bool = False
    poison: Poison | None = None
    """The first that this stage saw of what is not finite; None of a sound step, or where a smaller scale will help."""
    drawn: Drawn | None = None
    """What counters of its node and its GPU came to since it was built."""
    adversarial_loss: float | None = None
    """The same loss with the table of embeddings moved (pipelines/train/adversarial.py), where `loss` is told."""
    compression_error: float | None = None
    """The largest relative error of any tensor that it sent (pipelines/train/compress.py); None where all were sent
    as they are."""

    @property
    def busy(self) -> float:
        """Seconds of computing."""
        return sum(event.end - event.start for event in self.events)


def step_loss(reports: Sequence[StageReport]) -> float:
    """The loss of a step from what all of its stages report: the last chunk's, and what is added for weights' sake."""
    (loss,) = (report.loss for report in reports if report.loss is not None)
    return added((loss, *(part for report in reports for part in report.penalties)))


def added(parts: Iterable[float]) -> float:
    """Their sum, exactly rounded; NaN or infinite where one of them is, or it is too large for a number."""
    listed = list(parts)
    try:
        return math.fsum(listed)
    except (OverflowError, ValueError):
        # Of infinities with both signs, and of sums beyond the largest number, fsum says nothing.
        return sum(listed)
