"""How much work there is, said in the way in which Ray Serve counts it: calls under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

TICK = 0.25
"""Seconds that a call lasts: several of them lie in the shortest time that Ray Serve looks back."""


async def tell_demand(handle: Any, num_asked: Callable[[], int], most: int) -> None:
    """Keep as many calls to a group of workers under way as it has passes, for as long as this runs.

    Passes have lines of their own; Ray Serve adds and ends workers by these calls, which compute nothing. One that
    waits, since there is no worker, has Ray Serve start one.

    Args:
        handle: of the group.
        num_asked: its passes.
        most: calls that are ever under way.
    """
    await asyncio.gather(*(_keep(handle, n, num_asked) for n in range(most)))


async def _keep(handle: Any, others: int, num_asked: Callable[[], int]) -> None:
    """One call after the other while there are more passes than `others`, for which there are calls already."""
    while True:
        if num_asked() > others:
            try:
                await handle.busy.remote(TICK)
            except (RayError, RayServeException):
                # Lost with its worker.
                await asyncio.sleep(TICK)
        else:
            await asyncio.sleep(TICK)
