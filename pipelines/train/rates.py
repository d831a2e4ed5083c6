"""Layer-wise learning rates: the farther from the answer, the smaller (Howard and Ruder 2018, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pipelines.model.units import Units

RATE = "rate"
"""In a group of an optimizer, what the run's learning rate is multiplied by there."""


def rates_of(units: Units, decay: float) -> dict[str, float]:
    """What the learning rate of each parameter is multiplied by: `decay` once for each block between it and the head.

    What stands before the first block counts as one more block, the head as none. A parameter that several units share
    goes by the first of them. `rates_of(units, 0.5)` of two blocks: embeddings 0.125, blocks 0.25 and 0.5, head 1.

    Args:
        decay: above 0, at most 1.
    """
    depth_of = {path: depth for depth, path in enumerate(units.blocks, 1)}
    last, behind = len(units.all) - 1, len(units.blocks) + 1
    rates: dict[str, float] = {}
    depth = 0
    for number, unit in enumerate(units.all):
        depth = depth_of.get(unit.block or unit.name, behind if number == last else depth)
        for name in unit.parameters:
            rates.setdefault(name, decay ** (behind - depth))
    return rates


def split_groups(optimizer: torch.optim.Optimizer, rate_of: Mapping[int, float]) -> None:
    """Give parameters with unlike rates groups of their own; before the optimizer has any state.

    Args:
        rate_of: by the parameter's id; 1 for those that are not there.
    """
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        by_rate: dict[float, list[torch.Tensor]] = {}
        for parameter in group["params"]:
            by_rate.setdefault(rate_of.get(id(parameter), 1.0), []).append(parameter)
        groups += [{**group, "params": parameters, RATE: rate} for rate, parameters in by_rate.items()]
    optimizer.param_groups[:] = groups
