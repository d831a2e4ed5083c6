"""From a prepared run to a plan: find devices, measure what is not known of them, choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from statistics import fmean

from cluster.devices import spare_cpus
from cluster.measuring import Tell
from cluster.preparation import Preparation
from cluster.profiling import all_micro_batches, devices_for, known, prepared, shape_of, survey
from pipelines.config import Config
from pipelines.data.batches import Step
from pipelines.model.load import DTYPES
from pipelines.plan.choose import Choice, Chooser
from pipelines.plan.data_parallel import advice, fastest, gradient_bytes
from pipelines.plan.forecast import Forecast
from pipelines.plan.left_open import Work, best, numbers, recomputes, with_recompute
from pipelines.plan.measured import Measured, Shape
from pipelines.plan.measured_cache import default_folder
from pipelines.plan.objective import told
from pipelines.plan.plan import Cut, with_local
from pipelines.plan.predict import Predictor, Seating, largest_shape, mean_shape
from pipelines.plan.replicate import Replicator
from pipelines.train.adversarial import rounds_of

SAMPLE = 12
"""Steps of an epoch that a plan is judged by."""


def plan(config: Config, *, again: bool = False, tell: Tell | None = None) -> Choice:
    """Everything jobs/plan.py does, as a function.

    Raises:
        UserError: data, model or cluster are not what the config needs, or the model does not fit.
    """
    with prepared(config) as run:
        return plan_run(run, again=again, tell=tell)


def plan_run(run: Preparation, *, again: bool = False, tell: Tell | None = None) -> Choice:
    """The plan of a run that is prepared, and of which no stage was started.

    Args:
        again: whether what is known of devices from earlier is measured once more.

    Raises:
        UserError: the model does not fit as often as asked, or plan.place or plan.at_most leave no way.
    """
    config = run.config
    devices = devices_for(config)
    tried = {number: run.epoch(0, micro_batches=number) for number in numbers(config.train)}
    works = [_work(number, steps) for number, steps in tried.items()]
    micro_batches = [micro_batch for steps in tried.values() for step in steps for micro_batch in step.micro_batches]
    surveyed: dict[bool, Measured] = {}

    def planner(recompute: bool) -> Chooser | Replicator:
        given = with_recompute(config, recompute=recompute)
        measured = surveyed[recompute] = survey(given, run, devices, micro_batches, again=again, tell=tell)
        chooser = Chooser(
            measured, devices, run.model.units, config.plan, run.model.trained, config.energy,
            rounds=rounds_of(config.train),
        )  # fmt: skip
        if not config.plan.servers:
            return chooser
        # Embeddings go by rows: to the servers those of a step, and back those that were ever looked up. All numbers of
        # micro-batches have the same rows.
        once = [[shape for step in tried[works[0].micro_batches] for shape in map(shape_of, step.micro_batches)]]
        num_bytes = fmean(_gradient_bytes(config, run, looked_up)["cpu"] for looked_up in (works[0].steps, once))
        spare = spare_cpus(devices)
        return Replicator(chooser, measured, devices, config.plan, spare=spare, num_bytes=num_bytes)

    recompute = recomputes(config.train, blocks=bool(run.model.units.blocks))
    choice = best(planner, works, recompute, lambda value: told(config.plan.minimise, value, config.energy.currency))
    (steps,) = (work.steps for work in works if work.micro_batches == choice.plan.micro_batches)
    assert choice.plan.recompute is not None
    measured = surveyed[choice.plan.recompute]
    precisions = {kind.name: kind.precision for kind in measured.types}
    # Advice is for what may be had.
    refused = config.train.adversarial is not None
    even = None if refused else fastest(measured, devices, steps, _gradient_bytes(config, run, steps))
    instead = advice(even, choice.plan.seconds, {kind.name: kind.kind for kind in measured.types})
    return replace(choice, plan=replace(with_local(choice.plan, config, precisions), instead=instead))


def _gradient_bytes(config: Config, run: Preparation, steps: Sequence[Sequence[Shape]]) -> dict[str, float]:
    """Of plain data parallel, by kind of device: on CPUs embeddings go by the rows that were looked up."""
    tokens = fmean(sum(shape.rows * shape.width for shape in step) for step in steps)
    itemsize = DTYPES[config.model.dtype].itemsize
    tables = run.model.tables() if config.train.weight_decay == 0 else {}
    return {
        "cpu": gradient_bytes(run.model.trained, tables, tokens=tokens, itemsize=itemsize),
        "gpu": gradient_bytes(run.model.trained, {}, tokens=tokens, itemsize=itemsize),
    }


def forecast_of(config: Config, run: Preparation, cut: Cut, nodes: Sequence[str]) -> Forecast | None:
    """Of one replica that a person cut, by what is known of the devices from earlier; None where that is not enough.

    Args:
        nodes: Ray's id of the node of every stage.
    """
    # Only to look for what was measured would take longer than to see that nothing was.
    if not default_folder().is_dir():
        return None
    devices = devices_for(config)
    there = {(device.kind, device.node): device.type for device in devices}
    places = list(zip((stage.kind for stage in cut.stages), nodes, strict=True))
    types = [there[place] for place in places if place in there]
    used = [device for device in devices if device.type in types]
    measured = known(config, run, used) if len(types) == len(places) else None
    if measured is None:
        return None
    seating = Seating(tuple(cut.bounds), tuple(cut.stage_of), tuple(types), tuple(nodes))
    ordinary = mean_shape(list(map(shape_of, all_micro_batches(run))))
    predictor = Predictor(measured, seating, ordinary, rounds=rounds_of(config.train))
    return Forecast((predictor,), (cut.schedule,))


def _work(number: int, epoch: Sequence[Step]) -> Work:
    """Some steps, spread over an epoch, whose batches are cut into so many pieces."""
    steps = [tuple(map(shape_of, step.micro_batches)) for step in epoch]
    every = max(1, len(steps) // SAMPLE)
    return Work(number, tuple(steps[::every]), largest_shape(chain.from_iterable(steps)))
