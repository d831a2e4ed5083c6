"""Measure every unit of a model alone on this process's device, by the very code that trains it.

Stages whose chunks are one unit each, and then one of which all these units are one chunk, tell what a unit takes and
what a pass through a stage takes whatever its units (pipelines/plan/unit_times.py).

Units that are alike are measured at up to three places and share the median. What goes into a unit is what the units
before it gave. Weights are random: times do not depend on them. At last whole steps are rehearsed, and all times
corrected by what these took (pipelines/train/rehearse.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pipelines.plan.corrected import corrected, variation
from pipelines.plan.measured import Shape, Times
from pipelines.plan.unit_times import apart, groups, scaled, spread
from pipelines.train.device import HALVES, Device
from pipelines.train.owned import global_norm
from pipelines.train.rehearse import rehearse
from pipelines.train.stage import Stage
from pipelines.train.subject import Subject, sized
from pipelines.train.watch import Watch

PLACES = 3
"""At how many places units that are alike are measured."""
MICRO_BATCHES = 4
"""In a round: weight gradients of several are computed together, as in a step."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 9
PATIENCE = 3.0
"""Seconds for one shape, after the least number of rounds."""
FILLED = 0.6
"""The part of a device's memory that weights may take while they are measured."""

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Found:
    """On one type of device."""

    times: tuple[Times, ...]
    update: tuple[float, ...]
    held: tuple[int, ...]
    varies: float = 0.0
    """As in MeasuredType; 0 where no whole step was rehearsed."""


@dataclass
class _Samples:
    """Seconds, of one chunk in one shape."""

    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    """A micro-batch."""
    update: list[float] = field(default_factory=list)
    kept: int = 0
    noted: int = 0
    back: int = 0
    """Bytes of gradients for the chunk before."""
    moments: int = 0


class Bench:
    """Measures one model on one device."""

    def __init__(
        self,
        subject: Subject,
        device: Device,
        example: Batch,
        shapes: Sequence[Shape],
        *,
        memory: int,
        rounds: int = MOST_ROUNDS,
        steps: Sequence[Sequence[Shape]] = (),
    ) -> None:
        """
        Args:
            example: any micro-batch; those of the shapes are made of it.
            steps: shapes of the micro-batches of some steps, which are rehearsed where the whole model fits.
            memory: bytes that the device may fill. Every unit must fit.
            rounds: how often everything is measured at most.
        """
        self._most_rounds = rounds
        self._subject, self._device, self._shapes = subject, device, shapes
        sizes = [subject.likely_bytes(n) for n in range(len(subject.units))]
        self._example, self._steps = example, steps if rehearses(subject, memory) else ()
        self._batches = {shape: sized(example, shape) for shape in shapes}
        self._groups = groups(sizes, memory * FILLED)
        self._alike: dict[Any, list[int]] = {}
        for n in range(len(subject.units)):
            self._alike.setdefault(subject.likeness(n), []).append(n)
        self._places = {n for units in self._alike.values() for n in spread(units, PLACES)}
        self._samples: dict[tuple[Shape, int], _Samples] = {}
        self._whole: dict[tuple[Shape, int], _Samples] = {}
        self._crossing: dict[Shape, dict[int, int]] = {shape: {} for shape in shapes}

    @property
    def num_parts(self) -> int:
        """How often `run` stops."""
        parts = sum(1 if end - first == 1 else 2 for first, end in self._groups) * len(self._shapes)
        return parts + bool(self._steps)

    def run(self) -> Generator[None, None, Found]:
        """Measure; stops after every part, so that progress can be told."""
        carried: dict[Shape, list[Tensor]] = {shape: [] for shape in self._shapes}
        for number, (first, end) in enumerate(self._groups):
            entered = dict(carried)
            stage = self._stage(list(range(len(self._subject.units) + 1)), first, end)
            for shape in self._shapes:
                inputs, carried[shape] = self._sweep(stage, shape, carried[shape], first, end)
                self._rounds(stage, shape, inputs, self._samples)
                yield
            del stage
            if end - first == 1:
                self._whole |= {(shape, number): self._samples[shape, first] for shape in self._shapes}
                continue
            bounds = sorted({0, first, end, len(self._subject.units)})
            stage = self._stage(bounds, first, end)
            for shape in self._shapes:
                self._rounds(stage, shape, {bounds.index(first): entered[shape]}, self._whole, number)
                yield
            del stage
        found = self._found()
        if not self._steps:
            return found
        ran = rehearse(self._subject, self._device, self._example, self._steps)
        yield
        return replace(found, times=corrected(found.times, ran), varies=variation(found.times, ran))

    # -- what runs ------------------------------------------------------------------------------

    def _stage(self, bounds: Sequence[int], first: int, end: int) -> Stage:
        """A stage with the chunks from unit `first` to `end - 1`; another one, that nobody builds, has the others."""
        stage_of = [0 if first <= start < end else 1 for start in bounds[:-1]]
        stage = Stage(self._subject.spec(bounds, stage_of), self._device)
        self._subject.fill(stage)
        return stage

    def _sweep(
        self, stage: Stage, shape: Shape, received: list[Tensor], first: int, end: int
    ) -> tuple[dict[int, list[Tensor]], list[Tensor]]:
        """What goes into every unit that is measured, and what comes out of the last one."""
        inputs = {}
        for n in range(first, end):
            if n in self._places:
                inputs[n] = received
            if n < len(self._subject.units) - 1:
                received = [
                    self._device.give(tensor) for tensor in stage.evaluate(n, self._batches[shape], _copies(received))
                ]
                self._crossing[shape][n] = sum(tensor.nbytes for tensor in received)
        return inputs, received

    def _rounds(
        self,
        stage: Stage,
        shape: Shape,
        inputs: Mapping[int, list[Tensor]],
        into: dict[tuple[Shape, int], _Samples],
        number: int | None = None,
    ) -> None:
        """Measure chunks in turn, so that none finds its weights where the round before left them."""
        for chunk, received in inputs.items():
            into[shape, chunk if number is None else number] = self._bytes(stage, chunk, shape, received)
        begun = time.monotonic()
        for done in range(self._most_rounds):
            if done >= LEAST_ROUNDS and time.monotonic() - begun > PATIENCE:
                break
            for chunk, received in inputs.items():
                samples = into[shape, chunk if number is None else number]
                self._round(stage, chunk, shape, received, samples)

    def _round(self, stage: Stage, chunk: int, shape: Shape, received: list[Tensor], samples: _Samples) -> None:
        batch = self._batches[shape]
        for i in range(MICRO_BATCHES):
            given = _copies(received)
            with Watch(self._device, samples.forward):
                sent = stage.forward(0, chunk, i, batch, given, 1.0)
            gradients = gradients_for(stage, chunk, sent)
            with Watch(self._device, samples.backward):
                stage.backward(chunk, i, gradients)
        seconds: list[float] = []
        with Watch(self._device, seconds):
            stage.weights(chunk, MICRO_BATCHES - 2)
            stage.weights(chunk, MICRO_BATCHES - 1)
        samples.weights.append(seconds[0] / MICRO_BATCHES)
        self._update(stage, samples)

    def _update(self, stage: Stage, samples: _Samples) -> None:
        with Watch(self._device, samples.update):
            for owner in stage.spec.borrowed:
                stage.exchange.borrowed_gradients(owner)
            stage.exchange.sum_places()
            norm = global_norm(stage.squared_norms())
            stage.update(1, norm if math.isfinite(norm) else 1.0)

    def _bytes(self, stage: Stage, chunk: int, shape: Shape, received: list[Tensor]) -> _Samples:
        """What two micro-batches keep and leave, and what an update makes; warms up, too."""
        samples, batch = _Samples(), self._batches[shape]
        saved: list[dict[int, Any]] = []
        for i in (0, 1):
            given = _copies(received)
            here: dict[int, Any] = {}

            def pack(tensor: Tensor, here: dict[int, Any] = here) -> Tensor:
                here[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                sent = stage.forward(0, chunk, i, batch, given, 1.0)
            # Not what it sent: in a longer chunk that is what the next unit was given.
            for tensor in given:
                pack(tensor)
            saved.append(here)
        # What both have is no micro-batch's: weights, masks, positions.
        if stage.spec.trains(chunk):
            samples.kept = sum(storage.nbytes() for at, storage in saved[1].items() if at not in saved[0])
        saved.clear()
        for i in (0, 1):
            back = stage.backward(chunk, i, gradients_for(stage, chunk, sent))
        samples.back = sum(tensor.nbytes for tensor in back)
        left = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in stage.noted()}
        samples.noted = sum(left.values()) // 2
        left.clear()
        stage.weights(chunk, 1)
        self._update(stage, samples)
        samples.update.clear()
        names = set(self._first_held(*stage.spec.bounds[chunk : chunk + 2]))
        samples.moments = sum(
            value.nbytes for key, value in stage.named_moments() if key.rpartition("/")[0] in names
        )  # fmt: skip
        return samples

    # -- what comes of it -----------------------------------------------------------------------

    def _first_held(self, first: int, end: int) -> list[str]:
        """Parameters of units that no unit before them has: their owner keeps the optimizer's state."""
        before = set(self._subject.units.parameters(0, first))
        return [name for name in self._subject.units.parameters(first, end) if name not in before]

    def _found(self) -> Found:
        times = tuple(self._times(shape) for shape in self._shapes)
        updates = []
        for n in range(len(self._subject.units)):
            updates.append(
                median(s for shape in self._shapes for at in self._measured(n) for s in self._samples[shape, at].update)
            )
        for number, (first, end) in enumerate(self._groups):
            whole = median(s for shape in self._shapes for s in self._whole[shape, number].update)
            updates[first:end] = scaled(updates[first:end], whole)
        return Found(times, tuple(updates), tuple(map(self._held, range(len(self._subject.units)))))

    def _measured(self, n: int) -> list[int]:
        """Where units like unit `n` were measured."""
        return [at for at in self._alike[self._subject.likeness(n)] if at in self._places]

    def _times(self, shape: Shape) -> Times:
        like = [[self._samples[shape, at] for at in self._measured(n)] for n in range(len(self._subject.units))]
        parts = {
            name: [median(second for samples in found for second in getattr(samples, name)) for found in like]
            for name in ("forward", "backward", "weights")
        }
        wholes = {
            name: [median(getattr(self._whole[shape, number], name)) for number in range(len(self._groups))]
            for name in parts
        }
        stage_forward, forward = apart(parts["forward"], wholes["forward"], self._groups)
        stage_backward, backward = apart(parts["backward"], wholes["backward"], self._groups)
        weights = parts["weights"]
        for (first, end), whole in zip(self._groups, wholes["weights"], strict=True):
            weights[first:end] = scaled(weights[first:end], whole)
        return Times(
            shape,
            forward=tuple(forward),
            backward=tuple(backward),
            weights=tuple(weights),
            stage_forward=stage_forward,
            stage_backward=stage_backward,
            kept=tuple(max(samples.kept for samples in found) for found in like),
            noted=tuple(max(samples.noted for samples in found) for found in like),
            crossing=tuple(
                (self._crossing[shape][n], max(samples.back for samples in behind)) for n, behind in enumerate(like[1:])
            ),
        )

    def _held(self, n: int) -> int:
        subject = self._subject
        names = subject.units.all[n].parameters
        held = sum(subject.num_bytes(name) * (2 if name in subject.trained else 1) for name in names)
        if subject.train.precision in HALVES:
            # Trained matrices are cast once a step.
            held += sum(
                math.prod(subject.shapes[p]) * 2 for p in names if p in subject.trained and len(subject.shapes[p]) == 2
            )
        return held + max(self._samples[self._shapes[0], at].moments for at in self._measured(n))


def rehearses(subject: Subject, memory: int) -> bool:
    """Whether a device that may fill so many bytes has room for whole steps, on one stage with all of the model."""
    return sum(map(subject.likely_bytes, range(len(subject.units)))) <= memory * FILLED


def _copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    """As from another process: a model may change in place what it is given."""
    return [tensor.clone() for tensor in tensors]


def gradients_for(stage: Stage, chunk: int, sent: Iterable[Tensor]) -> list[Tensor]:
    """What the next chunk would send back for what this one sent."""
    if not stage.spec.trains(chunk):
        return []
    return [torch.full_like(tensor, 1e-3) for tensor in sent if tensor.is_floating_point()]
