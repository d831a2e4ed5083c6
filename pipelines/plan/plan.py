"""Which chunk sits on which device, where a person says how many stages there are. Pure: from units and config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.model.units import Units
from pipelines.plan.holders import stage_parameters
from pipelines.plan.local import Local, local_of
from pipelines.plan.partition import cut_at
from pipelines.plan_settings import PlanConfig

UNMEASURED = "1f1b"
"""The schedule where nothing was measured that would tell which is the fastest."""

LOOKUP = 1 / 32
"""Cost of a value of an embedding table against one of a matrix: it is updated, but not multiplied with."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage: one or more chunks on one device."""

    stage: int
    chunks: tuple[tuple[int, int], ...]
    """Of each, its first unit and the unit behind its last."""
    units: tuple[str, ...]
    """Their names; a block of which both halves are here goes by its own."""
    num_parameters: int
    num_trained: int
    """Those of its parameters that are trained; one that stages share counts on each of them."""
    device: str
    """`cpu`, `gpu`, or the type that the planner chose."""
    kind: str
    """`cpu` or `gpu`."""
    cpus: float
    share: float
    """Its part of the estimated cost of a step."""
    node: str | None = None
    """Ray's id of the node that it must sit on; anywhere when None."""
    busy: float | None = None
    """The predicted part of a step that it works."""
    needs: int | None = None
    """Predicted bytes of weights, gradients, optimizer state and micro-batches under way."""
    limit: int | None = None
    """Bytes that its device may fill."""
    local: Local | None = None
    """How it computes; None where that was not asked for."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One replica: the whole model on its stages."""

    stages: tuple[StagePlan, ...]
    schedule: str

    @property
    def bounds(self) -> list[int]:
        """The first unit of every chunk, and the number of units."""
        return [0, *sorted(end for stage in self.stages for _, end in stage.chunks)]

    @property
    def stage_of(self) -> list[int]:
        """The stage of every chunk."""
        owners = {first: stage.stage for stage in self.stages for first, _ in stage.chunks}
        return [owners[first] for first in self.bounds[:-1]]


@dataclass(frozen=True, slots=True)
class Plan:
    """One replica, or several, which may be cut alike or not."""

    replicas: tuple[Cut, ...]
    seconds: float | None = None
    """Predicted of a step; None where nothing was measured."""
    least: str | None = None
    """What it makes least, and how little that is, where it is not the time."""
    left_out: tuple[str, ...] = ()
    """Of every device that is not used, why."""
    instead: str | None = None
    """What is predicted to be faster, and is no pipeline."""
    shares: tuple[float, ...] | None = None
    """For each replica, how much of a step it gets against the others; as the config has it when None."""
    server_nodes: tuple[str, ...] = ()
    """Of each parameter server, Ray's id of the node that it must sit on; anywhere where there are none here."""
    why: str | None = None
    """Why there are as many replicas, where that was asked."""
    micro_batches: int | None = None
    """Of a batch, as the planner took them; None where nothing was planned."""
    recompute: bool | None = None
    """Whether blocks are run again, as the planner took it; None where nothing was planned."""
    left_open: tuple[str, ...] = ()
    """Of these two, why, where the config left them to the planner."""

    @property
    def stages(self) -> tuple[StagePlan, ...]:
        """Of all replicas, one after the other."""
        return tuple(stage for cut in self.replicas for stage in cut.stages)

    @property
    def schedule(self) -> str:
        """Its name; where replicas have different ones, that of each."""
        first, *others = (cut.schedule for cut in self.replicas)
        return ", ".join([first, *others]) if set(others) - {first} else first

    def to_json(self) -> dict[str, Any]:
        several = len(self.replicas) > 1
        stages = [
            asdict(stage) | ({"replica": r} if several else {})
            for r, cut in enumerate(self.replicas)
            for stage in cut.stages
        ]
        others = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "replicas"}
        return {"stages": stages, "schedule": self.schedule} | others


def unit_costs(units: Units, trained: Mapping[str, int] | None) -> list[float]:
    """What a step costs on each unit, in values of its parameters that a product goes over.

    A trained matrix is gone over three times: forward, and for the gradients of input and weight. What is frozen
    has no weight gradient, and nothing goes back to where nothing before is trained.

    Args:
        trained: the trained parameters' numbers of values by name; None for all parameters.
    """
    costs = []
    learnt = False
    for k, unit in enumerate(units.all):
        share = unit.size if trained is None else sum(trained.get(name, 0) for name in unit.parameters)
        learnt |= share > 0
        costs.append((unit.size * (2 if learnt else 1) + share) * (LOOKUP if k == 0 else 1.0))
    return costs


def make_plan(units: Units, config: PlanConfig, trained: Mapping[str, int] | None = None) -> Plan:
    """The plan for a given number of stages: chunks of about equal cost, or cut where `config.cut` says.

    Blocks stay whole unless there are more stages than whole blocks: fewer values cross between blocks.
    All replicas are cut alike.

    Args:
        trained: the trained parameters' numbers of values by name; all parameters when left out.

    Raises:
        UserError: more stages than units, a cut that makes no chunks, or a wrong number of devices.
    """
    assert config.stages != "auto"
    assert config.replicas != "auto"
    if config.stages > len(units):
        names = ", ".join(unit.name for unit in units.all)
        raise UserError(
            f"plan.stages is {config.stages}, but the model has only {len(units)} units ({names}). "
            f"Ask for at most {len(units)} stages."
        )
    costs = unit_costs(units, trained)
    whole = units.between_blocks
    places = whole if config.stages <= len(whole) + 1 else range(1, len(units))
    cut = list(config.cut) if config.cut is not None else cut_at(costs, places, config.stages)
    bounds = [0, *cut, len(units)]
    stage_of = list(config.stage_of or range(config.stages))
    if len(bounds) != len(stage_of) + 1 or any(a >= b for a, b in pairwise(bounds)):
        raise UserError(
            f"plan.cut={list(cut)} does not make {len(stage_of)} chunks of {len(units)} units: give "
            f"{len(stage_of) - 1} rising numbers between 1 and {len(units) - 1}."
        )
    if set(stage_of) != set(range(config.stages)):
        raise UserError(
            f"plan.stage_of={stage_of} gives chunks to the stages {sorted(set(stage_of))}, but plan.stages is "
            f"{config.stages}: every stage from 0 to {config.stages - 1} needs at least one."
        )
    devices = stage_devices(config)
    parts = stage_parts(units, bounds, stage_of, trained)
    stages = [
        StagePlan(**part, device=device, kind=device, cpus=config.cpus_per_stage)
        for part, device in zip(parts, devices, strict=True)
    ]
    replica = Cut(tuple(stages), UNMEASURED if config.schedule == "auto" else config.schedule)
    return Plan((replica,) * config.replicas)


def stage_parts(
    units: Units, bounds: Sequence[int], stage_of: Sequence[int], trained: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """What each stage holds: the fields of StagePlan that do not depend on its device.

    Args:
        bounds: the first unit of every chunk, and the number of units.
        stage_of: the stage of every chunk.
        trained: as in `make_plan`.
    """
    costs = unit_costs(units, trained)
    parts = []
    for j in range(max(stage_of) + 1):
        chunks = [span for span, stage in zip(pairwise(bounds), stage_of, strict=True) if stage == j]
        mine = [n for first, end in chunks for n in range(first, end)]
        names = stage_parameters(units, bounds, stage_of, j)
        size = sum(units.all[n].size for n in mine)
        parts.append(
            {
                "stage": j,
                "chunks": tuple(chunks),
                "units": tuple(name for first, end in chunks for name in units.names(first, end)),
                "num_parameters": size,
                "num_trained": size if trained is None else sum(trained.get(name, 0) for name in names),
                "share": round(sum(costs[n] for n in mine) / sum(costs), 4),
            }
        )
    return parts


def with_local(plan: Plan, config: Config, measured: Mapping[str, str] | None = None) -> Plan:
    """The plan with each stage's choices, as the config has them for its device.

    Args:
        measured: the precision that types of device were measured in, where the config says nothing by type.
    """
    known = measured or {}

    def local(stage: StagePlan) -> Local:
        return local_of(config, stage.device, stage.kind, precision=known.get(stage.device))

    return replace(
        plan,
        replicas=tuple(
            replace(cut, stages=tuple(replace(stage, local=local(stage)) for stage in cut.stages))
            for cut in plan.replicas
        ),
    )


def inside_blocks(units: Units, stages: int) -> tuple[int, ...]:
    """A cut whose every boundary lies inside a block, into chunks of about equal cost.

    Raises:
        UserError: too few blocks can be divided; says why.
    """
    places = units.inside_blocks
    if 1 < stages <= len(places) + 1:
        return tuple(cut_at(unit_costs(units, None), places, stages))
    whole = "; ".join(f"{name}: {reason}" for name, reason in list(units.undivided.items())[:3])
    reason = f" Blocks that stay whole: {whole}." if whole else ""
    if not places:
        raise UserError(f"No block of this model can be divided.{reason} Cut it between blocks.")
    raise UserError(
        f"{len(places)} of this model's blocks can be divided, which makes 2 to {len(places) + 1} stages, "
        f"not {stages}.{reason} Ask for one of these numbers, or cut it between blocks."
    )


def stage_devices(config: PlanConfig) -> tuple[str, ...]:
    """`cpu` or `gpu` for each stage.

    Raises:
        UserError: the config names more or fewer devices than stages.
    """
    assert config.stages != "auto"
    devices = config.devices or "cpu"
    if isinstance(devices, str):
        return (devices,) * config.stages
    if len(devices) != config.stages:
        raise UserError(
            f"plan.devices names {len(devices)} devices for {config.stages} stages. Name one for each, or one for all."
        )
    return devices
