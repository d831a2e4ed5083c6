"""What a plan is to make least: a step's time, the energy it takes, or what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from pipelines.device_settings import EnergyConfig
from pipelines.plan.measured import MeasuredType
from pipelines.plan.price import joules, money, price_by_type, watts_by_type
from pipelines.plan.simulate import Simulated

Minimise = Literal["time", "energy", "money"]
Objective = Callable[[Sequence[str], Simulated], float]
"""Of a step, given the type of every stage's device: seconds, joules, or money."""


def make_objective(minimise: Minimise, types: Sequence[MeasuredType], energy: EnergyConfig) -> Objective:
    """Devices that a plan leaves out draw and cost nothing: somebody else may use them.

    Raises:
        UserError: the price list lacks a type of device.
    """
    if minimise == "time":
        return _seconds
    if minimise == "energy":
        watts = watts_by_type(energy, types)

        def drawn(stages: Sequence[str], step: Simulated) -> float:
            busy = dict.fromkeys(stages, 0.0)
            for name, seconds in zip(stages, step.busy, strict=True):
                busy[name] += seconds
            return joules(busy, Counter(stages), step.seconds, watts)

        return drawn
    price = price_by_type(energy, types)
    return lambda stages, step: money(Counter(stages), step.seconds, price)


def _seconds(_: Sequence[str], step: Simulated) -> float:
    return step.seconds


def told(minimise: Minimise, value: float, currency: str) -> str:
    """A value of an objective for a person."""
    return {
        "time": f"{value:.3f} s",
        "energy": f"{value:,.1f} J",
        "money": f"{value * 1e6:,.2f} millionths of a {currency}",
    }[minimise]
