"""What may be searched, as Ray Tune draws from it."""

from __future__ import annotations

from typing import Any

from ray import tune

from pipelines.search.space import Choice, Range


def domain(one: Choice | Range) -> Any:
    """As Ray Tune has it; its upper ends of whole numbers are left out."""
    if isinstance(one, Choice):
        return tune.choice(list(one.values))
    if one.whole:
        low, high = int(one.low), int(one.high) + 1
        return tune.lograndint(low, high) if one.by_logarithm else tune.randint(low, high)
    return tune.loguniform(one.low, one.high) if one.by_logarithm else tune.uniform(one.low, one.high)
