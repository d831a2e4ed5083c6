"""What a run's model takes on this cluster's devices: everything jobs/profile.py does, as a function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor

from cluster.devices import discover
from cluster.measuring import Survey, Tell, versions
from cluster.preparation import Preparation
from cluster.session import connected
from cluster.waiting import wait_for
from pipelines.config import Config
from pipelines.data.batches import MicroBatch
from pipelines.data.pack import merge
from pipelines.errors import UserError
from pipelines.plan.devices import Device
from pipelines.plan.left_open import UNPLANNED, numbers, with_recompute
from pipelines.plan.local import check_names, local_of, local_trains
from pipelines.plan.measured import Measured, Shape, shapes_to_measure
from pipelines.plan.measured_cache import Cache, default_folder
from pipelines.train.known import Known
from pipelines.train.subject import Subject

REHEARSED = 3
"""Steps."""


def profile(config: Config, *, again: bool = False, correct: bool = False, tell: Tell | None = None) -> Measured:
    """Measure the config's model on every type of device of the cluster, as far as it is not known.

    Args:
        again: whether what is known from earlier is measured once more.
        correct: whether it is corrected instead, by whole steps that are rehearsed once more.

    Raises:
        UserError: data, model or cluster are not what the config needs.
    """
    with prepared(config) as run:
        # Of what is left open, the number of micro-batches only changes which shapes are measured.
        config = with_recompute(run.config, recompute=False)
        micro_batches = [one for number in numbers(config.train) for one in all_micro_batches(run, number)]
        return survey(config, run, devices_for(config), micro_batches, again=again, correct=correct, tell=tell)


@contextmanager
def prepared(config: Config) -> Iterator[Preparation]:
    """A run with data and model, in a cluster while this lasts.

    Raises:
        UserError: data or model are not what the config needs.
    """
    with connected():
        run = Preparation(config)
        try:
            run.read()
            run.encode()
            yield run
        finally:
            run.close()


def survey(
    config: Config,
    run: Preparation,
    devices: Sequence[Device],
    micro_batches: Sequence[MicroBatch],
    *,
    again: bool = False,
    correct: bool = False,
    tell: Tell | None = None,
) -> Measured:
    """The same for a run that is prepared. No stage may have been started: the devices must be free.

    Args:
        config: says whether blocks are run again.
        micro_batches: all that are to be planned for.
        again: as of `profile`; so is `correct`.
    """
    largest = max(micro_batches, key=lambda micro_batch: micro_batch.num_padded_tokens)
    return Survey(
        known=_known(config, run, devices),
        example=_fetched(run, largest, timeout=config.plan.timeout),
        shapes=shapes_to_measure(map(shape_of, micro_batches)),
        steps=_to_rehearse(run),
        timeout=config.plan.timeout,
        again=again,
        correct=correct,
        tell=tell,
    ).run(devices)


def _to_rehearse(run: Preparation) -> list[list[Shape]]:
    """Some steps, small ones and large ones."""
    number = min(numbers(run.config.train), key=lambda n: abs(n - UNPLANNED))
    steps = [[shape_of(one) for one in step.micro_batches] for step in run.epoch(0, micro_batches=number)]
    steps.sort(key=lambda shapes: sum(shape.rows * shape.width for shape in shapes))
    return [steps[(2 * k + 1) * len(steps) // (2 * REHEARSED)] for k in range(REHEARSED)]


def known(config: Config, run: Preparation, devices: Sequence[Device]) -> Measured | None:
    """What is known of these devices from earlier; None if anything is not."""
    return _known(config, run, devices).of(devices)


def _known(config: Config, run: Preparation, devices: Sequence[Device]) -> Known:
    trains = {
        device.type: local_trains(config.train, [local_of(config, device.type, device.kind)])[0] for device in devices
    }
    return Known(Cache(default_folder(), versions()), subject_of(config, run), trains)


def devices_for(config: Config) -> list[Device]:
    """The cluster's devices, with as many threads as the config has them use.

    Raises:
        UserError: the config names a type or a kind of device that there is not.
    """
    found = discover(config.plan.cpus_per_stage, timeout=config.plan.timeout)
    kind = config.plan.devices if isinstance(config.plan.devices, str) else None
    devices = [device for device in found if kind in (None, device.kind)]
    if not devices:
        raise UserError(
            f"plan.devices is {kind}, but the cluster offers only: {', '.join(sorted({d.type for d in found}))}."
        )
    check_names(config, [device.type for device in devices])
    threads = {device.type: local_of(config, device.type, device.kind).threads for device in devices}
    return [replace(device, threads=threads[device.type] or device.threads) for device in devices]


def all_micro_batches(run: Preparation, number: int | None = None) -> list[MicroBatch]:
    """Of an epoch; those of others are of about the same shapes.

    Args:
        number: pieces of each batch; the config's when left out.
    """
    return [micro_batch for step in run.epoch(0, micro_batches=number) for micro_batch in step.micro_batches]


def shape_of(micro_batch: MicroBatch) -> Shape:
    """Its rows and its width."""
    return Shape(micro_batch.num_lines, micro_batch.width)


def subject_of(config: Config, run: Preparation) -> Subject:
    """What of a run is measured."""
    model = run.model
    names = (*model.units.parameters(0, len(model.units)), *model.units.constants)
    return Subject(
        units=model.units,
        head=run.head(),
        model_class=model.model_class,
        model_config=model.config,
        dtype=config.model.dtype,
        train=config.train,
        trained=frozenset(model.trained),
        shapes={name: tuple(value.shape) for name, value in model.weights(names).items()},
        adapter=model.adapter(num_steps=run.num_steps),
    )


def _fetched(run: Preparation, micro_batch: MicroBatch, *, timeout: float) -> dict[str, Tensor]:
    """A micro-batch as the stages would get it."""
    refs = {f"data shard {s}": ref for s, ref in enumerate(run.data.hand_out("train", [micro_batch]))}
    parts = wait_for(refs, to="hand out a micro-batch", timeout=timeout)
    return merge([packed for (packed,) in parts], run.model.padding)
