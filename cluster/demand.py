"""How much work there is, said in the way in which Ray Serve counts it: calls under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

TICK = 0.25
"""Seconds that a call lasts: several of them lie in the shortest time that Ray Serve looks back."""


async def tell_demand(handle: Any, num_asked: Callable[[], int]) -> None:
    """Keep as many calls to a group of workers under way as it has passes, for as long as this runs.

    Passes have lines of their own; Ray Serve adds and ends workers by these calls, which compute nothing. One that
    waits, since there is no worker, is not made again: it has Ray Serve start one.

    Args:
        handle: of the group.
        num_asked: its passes.
    """
    calls: set[asyncio.Task[None]] = set()
    while True:
        for _ in range(num_asked() - len(calls)):
            calls.add(call := asyncio.get_running_loop().create_task(_call(handle)))
            call.add_done_callback(calls.discard)
        await asyncio.sleep(TICK)


async def _call(handle: Any) -> None:
    # One that is lost with its worker is made again.
    with contextlib.suppress(RayError, RayServeException):
        await handle.busy.remote(TICK)
