"""Whether what a config says about replicas and parameter servers goes together."""

from __future__ import annotations

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan.plan import Plan
from pipelines.plan_settings import PlanConfig


def check_sharing(config: Config) -> None:
    """Refuse contradictions, settings that would be ignored, and what parameter servers cannot do.

    Raises:
        UserError: says what was found, and what to change.
    """
    plan = config.plan
    if plan.servers == 0:
        if plan.replicas not in {1, "auto"}:
            raise UserError(
                f"plan.replicas={plan.replicas} needs parameter servers to share the weights, but plan.servers is 0. "
                "Set plan.servers=1 or more."
            )
        if plan.sharing != "sync":
            raise UserError(
                f"plan.sharing={plan.sharing} is about parameter servers, but plan.servers is 0. Set plan.servers=1 or "
                "more, or leave plan.sharing out."
            )
    if plan.replicas == "auto" and plan.stages != "auto":
        raise UserError(
            f"plan.replicas=auto is found together with the stages, but plan.stages is {plan.stages}. Set "
            "plan.stages=auto, or say how many replicas there are."
        )
    if plan.stages == "auto" and plan.replicas != 1 and plan.minimise != "time":
        raise UserError(
            f"plan.minimise={plan.minimise} is made least for one replica only, but plan.replicas is {plan.replicas}. "
            "Use plan.minimise=time, or plan.replicas=1."
        )
    if plan.staleness and plan.sharing != "bounded":
        raise UserError(
            f"plan.staleness={plan.staleness} has no effect with plan.sharing={plan.sharing}. Use "
            "plan.sharing=bounded, or leave plan.staleness out."
        )
    if plan.shares is not None and plan.sharing == "async":
        raise UserError(
            "plan.shares has no effect with plan.sharing=async: whole steps go to whichever replica is free. Leave it "
            "out, or use plan.sharing=sync or bounded."
        )
    if plan.shares is not None and plan.replicas == "auto":
        raise UserError(
            "plan.shares does not go together with plan.replicas=auto, which finds them. Leave it out, or say how many "
            "replicas there are."
        )
    if plan.shares is not None and len(plan.shares) != plan.replicas:
        raise UserError(
            f"plan.shares names {len(plan.shares)} shares for {plan.replicas} replicas. Name one for each, or leave it "
            "out."
        )
    if plan.servers == 0:
        return
    if config.adapter is not None and config.adapter.method == "adalora":
        raise UserError(
            "adapter.method=adalora does not go together with plan.servers: its ranks are allotted by the stages, over "
            "all gradients. Use plan.servers=0 and plan.replicas=1, or adapter.method=lora."
        )
    for name, device in config.devices.items():
        if device.model_fields_set & {"optimizer", "betas", "rate_factor"}:
            raise UserError(
                f"devices.{name} names an optimizer or its settings, but with plan.servers the servers update all "
                "parameters, with train's. Leave them out, or use plan.servers=0 and plan.replicas=1."
            )
    if "float16" in {config.train.precision, *(device.precision for device in config.devices.values())}:
        raise UserError(
            "train.precision=float16 does not go together with plan.servers: its loss scale is kept by the stages. Use "
            "train.precision=bfloat16 or float32, or plan.servers=0 and plan.replicas=1."
        )


def settled(config: PlanConfig, plan: Plan) -> PlanConfig:
    """A config of `stages: auto` with what the plan found of replicas, shares and servers.

    One replica that was found best does without servers, and so has nobody to share with.
    """
    found: dict[str, object] = {"replicas": len(plan.replicas), "shares": plan.shares}
    if not plan.server_nodes:
        found |= {"servers": 0, "sharing": "sync", "staleness": 0}
    return config.model_copy(update=found)
