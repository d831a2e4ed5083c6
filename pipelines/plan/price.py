"""What computing costs in energy, carbon dioxide and money. Pure: seconds, watts and prices in, totals out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.device_settings import EnergyConfig
from pipelines.errors import UserError
from pipelines.plan.measured import MeasuredType

WORLD = 473.0
"""Grams of CO2 a kilowatt-hour: the world's average of 2024 (Ember, Global Electricity Review 2025)."""

SECONDS_PER_HOUR = 3600.0
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Watts:
    """What a device draws."""

    idle: float
    busy: float


DEFAULT_WATTS = {"cpu": Watts(0.74, 3.5), "gpu": Watts(40.0, 350.0)}
"""Of one CPU: a whole server's power at rest and at full load, over its hardware threads, as Cloud Carbon Footprint has
it for the processors of AWS (SPECpower). Of one GPU: the 350 W that NVIDIA designs an H100 PCIe for, and about a ninth
of it at rest; a card of another class should be entered in the config."""


def watts_of(energy: EnergyConfig, names: Sequence[str], size: float = 1.0) -> Watts:
    """What a device draws: by the first of its names that the config or the defaults have a figure for.

    Args:
        names: its type's own name, then `cpu` or `gpu`.
        size: how many CPUs it is; 1 for a GPU.
    """
    known = DEFAULT_WATTS | {name: Watts(part.idle, part.busy) for name, part in energy.watts.items()}
    one = next(known[name] for name in names if name in known)
    return Watts(one.idle * size, one.busy * size)


def price_of(energy: EnergyConfig, names: Sequence[str], size: float = 1.0) -> float | None:
    """What a device costs an hour; None where the price list does not know it. Arguments as `watts_of`."""
    one = next((energy.price[name] for name in names if name in energy.price), None)
    return None if one is None else one * size


def watts_by_type(energy: EnergyConfig, types: Sequence[MeasuredType]) -> dict[str, Watts]:
    """What one device of each type draws; a GPU with the CPUs that serve it."""
    found = {}
    for each in types:
        cpus = watts_of(energy, (each.name, each.chip, "cpu") if each.kind == "cpu" else ("cpu",), each.threads)
        gpu = watts_of(energy, (each.name, each.chip, "gpu")) if each.kind == "gpu" else Watts(0.0, 0.0)
        found[each.name] = Watts(cpus.idle + gpu.idle, cpus.busy + gpu.busy)
    return found


def price_by_type(energy: EnergyConfig, types: Sequence[MeasuredType]) -> dict[str, float]:
    """What an hour of one device of each type costs.

    Raises:
        UserError: the price list lacks a type.
    """
    found = {}
    for each in types:
        price = price_of(energy, (each.name, each.chip, each.kind), each.threads if each.kind == "cpu" else 1.0)
        if price is None:
            raise UserError(
                f"There is no price for devices of type {each.name!r}. Give one for an hour of "
                f"{'one of its CPUs' if each.kind == 'cpu' else 'one of them'}: energy.price.{each.name}, or "
                f"energy.price.{each.kind} for all that have no price of their own."
            )
        found[each.name] = price
    return found


def joules(busy: Mapping[str, float], count: Mapping[str, int], seconds: float, watts: Mapping[str, Watts]) -> float:
    """What devices draw in `seconds` in which they are held, by type.

    `joules({"cpu": 6}, {"cpu": 2}, 4, {"cpu": Watts(idle=1, busy=10)}) == 62`: 6 s at 10 W and 2 s at 1 W.

    A device that is left out draws nothing here: somebody else may use it.

    Args:
        busy: seconds of computing, of all devices of a type together; the rest they are idle.
        count: how many devices of a type are used.
        watts: of one device of a type.
    """
    held = {name: number * seconds for name, number in count.items() if number}
    return sum(
        busy.get(name, 0.0) * watts[name].busy + max(0.0, whole - busy.get(name, 0.0)) * watts[name].idle
        for name, whole in held.items()
    )


def money(count: Mapping[str, int], seconds: float, price: Mapping[str, float]) -> float:
    """What devices cost in `seconds` in which they are held, busy or not.

    `money({"cpu": 4, "gpu": 1}, 1800, {"cpu": 0.05, "gpu": 2}) == 1.1`.

    Args:
        count: how many devices of a type are used.
        price: of an hour of one device of a type.
    """
    return sum(number * price[name] for name, number in count.items() if number) * seconds / SECONDS_PER_HOUR


def kg_co2(joules: float, energy: EnergyConfig) -> float:
    """Kilograms of CO2 for so many joules from the grid."""
    intensity = WORLD if energy.carbon_intensity is None else energy.carbon_intensity
    return joules / JOULES_PER_KWH * intensity / 1000
