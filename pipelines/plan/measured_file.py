"""What was measured, as YAML that a person can read and edit: milliseconds, megabytes a second, units by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from pipelines.errors import UserError
from pipelines.plan.measured import Link, Measured, MeasuredType, Shape, Times
from pipelines.section import Section
from pipelines.yaml_text import parse, reason, shown

Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0)]


class _Unit(Section):
    forward_ms: Number
    backward_ms: Number
    weights_ms: Number
    kept: Bytes
    noted: Bytes
    sends: Bytes = 0
    returns: Bytes = 0


class _Shape(Section):
    rows: int = Field(ge=1)
    width: int = Field(ge=1)
    stage_forward_ms: Number
    stage_backward_ms: Number
    units: dict[str, _Unit]


class _Type(Section):
    name: str
    kind: Literal["cpu", "gpu"]
    chip: str
    threads: int = Field(ge=1)
    precision: str
    memory: Bytes
    process: Bytes
    rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    varies: Number = 0.0
    update_ms: dict[str, Number]
    shapes: tuple[_Shape, ...] = Field(min_length=1)


class _Link(Section):
    between: tuple[str, str]
    same_node: bool
    latency_us: Number
    megabytes_per_second: float = Field(gt=0)


class _File(Section):
    model: str
    versions: dict[str, str]
    held: dict[str, Bytes]
    types: tuple[_Type, ...]
    links: tuple[_Link, ...]


HEAD = """\
# What each unit of the model takes on each type of device, measured. Times of a micro-batch are in milliseconds, of
# updates in milliseconds a step; everything else is bytes.
#   held: weights, gradients and optimizer state      kept: of a micro-batch, from its forward to its backward
#   noted: of a micro-batch, until its weight gradients are computed (weights_ms)
#   memory: what a stage may fill, without the libraries of its process (process)
#   sends, returns: over the boundary behind the unit, activations and gradients
#   rates: the speed of a device when 1, 2, ... devices of its node work at once
#   varies: the standard deviation of what is alike, as a part of what it takes
"""


def to_yaml(measured: Measured) -> str:
    """`from_yaml` reads it back, with times to four digits of a millisecond."""
    names = measured.units
    tree = {
        "model": measured.model,
        "versions": dict(measured.versions),
        "held": dict(zip(names, measured.held, strict=True)),
        "types": [_of_type(kind, names) for kind in measured.types],
        "links": [
            {
                "between": list(link.ends),
                "same_node": link.same_node,
                "latency_us": round(link.latency * 1e6, 2),
                "megabytes_per_second": round(link.bandwidth / 1e6, 3),
            }
            for link in measured.links
        ],
    }
    return HEAD + yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=200, allow_unicode=True)


def from_yaml(text: str, where: Path) -> Measured:
    """
    Raises:
        UserError: not such a file; says what is wrong.
    """
    try:
        read = _File.model_validate(parse(text))
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {reason(error)}.") from None
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise UserError(
            f"{where} is no measurement as `python -m jobs.profile` writes it: {key!r} is {shown(problem['input'])}: "
            f"{problem['msg'][0].lower()}{problem['msg'][1:]}. Mend it, or delete the file to measure again."
        ) from None
    names = tuple(read.held)
    types = []
    for kind in read.types:
        parts: dict[str, Mapping[str, Any]] = {"update_ms": kind.update_ms}
        parts |= {f"shape {shape.rows} x {shape.width}": shape.units for shape in kind.shapes}
        for part, given in parts.items():
            if tuple(given) != names:
                odd = sorted(set(names).symmetric_difference(given)) or "their order"
                raise UserError(
                    f"{where}: {part} of {kind.name} does not list the units that `held` lists (look at {odd}). Mend "
                    "it, or delete the file to measure again."
                )
        types.append(_to_type(kind))
    links = tuple(
        Link(link.between, link.latency_us / 1e6, link.megabytes_per_second * 1e6, link.same_node)
        for link in read.links
    )
    return Measured(read.model, names, tuple(read.held.values()), tuple(types), links, read.versions)


def _of_type(kind: MeasuredType, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": kind.name,
        "kind": kind.kind,
        "chip": kind.chip,
        "threads": kind.threads,
        "precision": kind.precision,
        "memory": kind.memory,
        "process": kind.process,
        "rates": [round(rate, 4) for rate in kind.rates],
        "varies": round(kind.varies, 4),
        "update_ms": dict(zip(names, map(_ms, kind.update), strict=True)),
        "shapes": [_of_times(times, names) for times in kind.times],
    }


def _of_times(times: Times, names: tuple[str, ...]) -> dict[str, Any]:
    units: dict[str, Any] = {}
    for n, name in enumerate(names):
        units[name] = {
            "forward_ms": _ms(times.forward[n]),
            "backward_ms": _ms(times.backward[n]),
            "weights_ms": _ms(times.weights[n]),
            "kept": times.kept[n],
            "noted": times.noted[n],
        }
        if n < len(times.crossing):
            units[name] |= {"sends": times.crossing[n][0], "returns": times.crossing[n][1]}
    return {
        "rows": times.shape.rows,
        "width": times.shape.width,
        "stage_forward_ms": _ms(times.stage_forward),
        "stage_backward_ms": _ms(times.stage_backward),
        "units": units,
    }


def _to_type(kind: _Type) -> MeasuredType:
    return MeasuredType(
        name=kind.name,
        kind=kind.kind,
        chip=kind.chip,
        threads=kind.threads,
        precision=kind.precision,
        memory=kind.memory,
        process=kind.process,
        times=tuple(map(_to_times, kind.shapes)),
        update=tuple(ms / 1e3 for ms in kind.update_ms.values()),
        rates=kind.rates,
        varies=kind.varies,
    )


def _to_times(shape: _Shape) -> Times:
    units = list(shape.units.values())
    return Times(
        shape=Shape(shape.rows, shape.width),
        forward=tuple(unit.forward_ms / 1e3 for unit in units),
        backward=tuple(unit.backward_ms / 1e3 for unit in units),
        weights=tuple(unit.weights_ms / 1e3 for unit in units),
        stage_forward=shape.stage_forward_ms / 1e3,
        stage_backward=shape.stage_backward_ms / 1e3,
        kept=tuple(unit.kept for unit in units),
        noted=tuple(unit.noted for unit in units),
        crossing=tuple((unit.sends, unit.returns) for unit in units[:-1]),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)
