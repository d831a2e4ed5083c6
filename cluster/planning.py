"""From a prepared run to a plan: find devices, measure what is not known of them, choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cluster.devices import discover
from cluster.measuring import Tell
from cluster.preparation import Preparation
from cluster.profiling import shape_of, survey
from cluster.session import connect, disconnect
from pipelines.config import Config
from pipelines.plan.choose import Choice, Chooser
from pipelines.plan.local import check_names
from pipelines.plan.measured import Shape
from pipelines.plan.plan import with_local

SAMPLE = 12
"""Steps of an epoch that a plan is judged by."""


def plan(config: Config, *, again: bool = False, tell: Tell | None = None) -> Choice:
    """Everything jobs/plan.py does, as a function.

    Raises:
        UserError: data, model or cluster are not what the config needs, or the model does not fit.
    """
    started_here = connect()
    try:
        run = Preparation(config)
        try:
            run.read()
            run.encode()
            return plan_run(config, run, again=again, tell=tell)
        finally:
            run.close()
    finally:
        if started_here:
            disconnect()


def plan_run(config: Config, run: Preparation, *, again: bool = False, tell: Tell | None = None) -> Choice:
    """The plan of a run that is prepared, and of which no stage was started.

    Args:
        again: whether what is known of devices from earlier is measured once more.

    Raises:
        UserError: the model does not fit, or plan.place or plan.at_most leave no way.
    """
    devices = discover(config.plan.cpus_per_stage, timeout=config.plan.timeout)
    check_names(config, [device.type for device in devices])
    measured = survey(config, run, devices, again=again, tell=tell)
    chooser = Chooser(measured, devices, run.model.units, config.plan, run.model.trained)
    choice = chooser.choose(sample_steps(run))
    precisions = {kind.name: kind.precision for kind in measured.types}
    return replace(choice, plan=with_local(choice.plan, config, precisions))


def sample_steps(run: Preparation) -> Sequence[Sequence[Shape]]:
    """The shapes of the micro-batches of some steps, spread over an epoch."""
    steps = run.epoch(0)
    every = max(1, len(steps) // SAMPLE)
    return [[shape_of(micro_batch) for micro_batch in step.micro_batches] for step in steps[::every]]
