"""Which chunk sits on which device, where a person says how many stages there are. Pure: from units and config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from pipelines.config import Config, PlanConfig
from pipelines.errors import UserError
from pipelines.model.units import Units
from pipelines.plan.local import Local, local_of
from pipelines.plan.partition import cut_at

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
class Plan:
    stages: tuple[StagePlan, ...]
    schedule: str
    seconds: float | None = None
    """Predicted of a step; None where nothing was measured."""
    least: str | None = None
    """What it makes least, and how little that is, where it is not the time."""
    left_out: tuple[str, ...] = ()
    """Of every device that is not used, why."""
    instead: str | None = None
    """What is predicted to be faster, and is no pipeline."""

    @property
    def bounds(self) -> list[int]:
        """The first unit of every chunk, and the number of units."""
        return [0, *sorted(end for stage in self.stages for _, end in stage.chunks)]

    @property
    def stage_of(self) -> list[int]:
        """The stage of every chunk."""
        owners = {first: stage.stage for stage in self.stages for first, _ in stage.chunks}
        return [owners[first] for first in self.bounds[:-1]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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

    Args:
        trained: the trained parameters' numbers of values by name; all parameters when left out.

    Raises:
        UserError: more stages than units, a cut that makes no chunks, or a wrong number of devices.
    """
    assert config.stages != "auto"
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
    return Plan(tuple(stages), UNMEASURED if config.schedule == "auto" else config.schedule)


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
    return replace(
        plan,
        stages=tuple(
            replace(stage, local=local_of(config, stage.device, stage.kind, precision=known.get(stage.device)))
            for stage in plan.stages
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


def stage_parameters(units: Units, bounds: Sequence[int], stage_of: Sequence[int], j: int) -> tuple[str, ...]:
    """Names of the parameters that the chunks of stage `j` need, each once, in a stable order.

    Args:
        bounds: the first unit of every chunk, and the number of units.
        stage_of: the stage of every chunk.
    """
    chunks = [units.parameters(*span) for span, stage in zip(pairwise(bounds), stage_of, strict=True) if stage == j]
    return tuple(dict.fromkeys(name for names in chunks for name in names))


def shared_parameters(units: Units, bounds: Sequence[int], stage_of: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The parameters that several stages need, with these stages; the first of them owns and updates it.

    Args:
        bounds: the first unit of every chunk, and the number of units.
        stage_of: the stage of every chunk.
    """
    holders: dict[str, list[int]] = {}
    for (first, end), stage in zip(pairwise(bounds), stage_of, strict=True):
        for name in units.parameters(first, end):
            stages = holders.setdefault(name, [])
            if stage not in stages:
                stages.append(stage)
    return {name: tuple(stages) for name, stages in holders.items() if len(stages) > 1}


def borrowed_and_lent(
    shared: Mapping[str, tuple[int, ...]], j: int
) -> tuple[dict[int, tuple[str, ...]], dict[int, tuple[str, ...]]]:
    """What stage `j` borrows, by owner, and what it lends, by borrower."""
    borrowed: dict[int, tuple[str, ...]] = {}
    lent: dict[int, tuple[str, ...]] = {}
    for name, (owner, *borrowers) in shared.items():
        if j in borrowers:
            borrowed[owner] = (*borrowed.get(owner, ()), name)
        elif j == owner:
            lent |= {borrower: (*lent.get(borrower, ()), name) for borrower in borrowers}
    return dict(sorted(borrowed.items())), dict(sorted(lent.items()))
