"""Which settings belong to which `plan.strategy`: one that has no effect is refused."""

from __future__ import annotations

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan_settings import PlanConfig

WORKERS, MAX_FAILURES = 2, 3
"""What `plan.workers` and `plan.max_failures` are when they are left out."""

_OF_DATA = ("workers", "max_failures")
_OF_GIVEN = ("cut", "stage_of")
"""Of strategy `pipeline` where the number of stages is given; the next ones where it is found."""
_OF_AUTO = ("place", "at_most", "minimise")
_OF_BOTH = ("strategy", "devices", "cpus_per_stage", "timeout")


def num_workers(plan: PlanConfig) -> tuple[int, int]:
    """The fewest and the most workers of strategy `data`."""
    workers = plan.workers or WORKERS
    return (workers, workers) if isinstance(workers, int) else workers


def check_strategy(config: Config) -> None:
    """Refuse settings of one strategy that were given to the other.

    Raises:
        UserError: names the setting, and what to do.
    """
    plan = config.plan
    if plan.strategy == "pipeline":
        for name in _OF_DATA:
            if (value := getattr(plan, name)) is not None:
                raise UserError(
                    f"plan.{name}={_shown(value)} has no effect with plan.strategy=pipeline, which has stages. Leave "
                    "it out, or use plan.strategy=data."
                )
        _check_stages(plan)
        return
    plain = PlanConfig(strategy="data")
    for name in PlanConfig.model_fields:
        if name in _OF_BOTH or name in _OF_DATA:
            continue
        if (value := getattr(plan, name)) != getattr(plain, name):
            raise UserError(
                f"plan.{name}={_shown(value)} has no effect with plan.strategy=data: every worker holds the whole "
                "model. Leave it out, or use plan.strategy=pipeline."
            )
    if isinstance(plan.devices, tuple):
        raise UserError(
            f"plan.devices={_shown(plan.devices)} does not go together with plan.strategy=data: Ray Train gives all "
            "workers the same. Write plan.devices=cpu or plan.devices=gpu, or use plan.strategy=pipeline, which plans "
            "for unlike devices."
        )
    fewest, most = num_workers(plan)
    if fewest > most:
        raise UserError(f"plan.workers=[{fewest}, {most}] names more workers at least than at most. Swap the two.")
    if fewest < most and plan.devices != "gpu" and plan.cpus_per_stage != int(plan.cpus_per_stage):
        raise UserError(
            f"plan.cpus_per_stage={plan.cpus_per_stage:g} does not go together with plan.workers=[{fewest}, {most}]: "
            "Ray Train counts room for elastic workers in whole CPUs. Use a whole number, or a fixed number of workers."
        )


def _check_stages(plan: PlanConfig) -> None:
    """By value: a resolved config, which names every key, is taken again."""
    plain, auto = PlanConfig(), plan.stages == "auto"
    for name in _OF_GIVEN if auto else _OF_AUTO:
        value = getattr(plan, name)
        if value == getattr(plain, name):
            continue
        if auto:
            raise UserError(
                f"plan.{name}={_shown(value)} is for a given number of stages, but plan.stages is auto. Give "
                "plan.stages a number, or say with plan.place and plan.at_most what the plan must keep."
            )
        raise UserError(
            f"plan.{name}={_shown(value)} is for a plan that is found, but plan.stages is {plan.stages}. Set "
            "plan.stages=auto, or leave it out."
        )
    if auto and isinstance(plan.devices, tuple):
        raise UserError(
            f"plan.devices={_shown(plan.devices)} names a device for each stage, but plan.stages is auto. Give "
            f"plan.stages={len(plan.devices)}, or one kind for all stages."
        )


def _shown(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
