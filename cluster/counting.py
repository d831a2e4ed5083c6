"""How often callers asked, counted once for all replicas of an endpoint.

replica 1 --take--.
                   >--- Counter (one replica of its own, no CPU)
replica 2 --take--'
"""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from pipelines.inference.credentials import Unavailable
from pipelines.inference.limits import Ask, Buckets
from pipelines.inference.rate import Rate


class Counter:
    """One that is started anew counts from the beginning: callers may then ask a little more often."""

    def __init__(self) -> None:
        self._buckets = Buckets()

    async def take(self, who: str, rate: Rate, n: int) -> float:
        return self._buckets.take(who, rate, n)


def counter() -> serve.Application:
    """To be handed to the replicas that share it."""
    return serve.deployment(name="Counter", num_replicas=1, ray_actor_options={"num_cpus": 0})(Counter).bind()


def asking(handle: Any) -> Ask:
    """How a replica asks the counter that it was handed."""

    async def ask(who: str, rate: Rate, n: int) -> float:
        try:
            wait: float = await handle.take.remote(who, rate, n)
        except (RayError, RayServeException) as error:
            raise Unavailable(f"its count of requests cannot be reached ({type(error).__name__})") from None
        return wait

    return ask
