"""Who of some actors is lost: dead, or not answering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError


@dataclass(frozen=True, slots=True)
class Lost:
    """One that was lost, and has been replaced."""

    who: str
    by_spare: bool = False
    """Whether an actor took its place that was ready; else a new process did."""


def lost_of(actors: Sequence[Any], seconds: float) -> list[int]:
    """The numbers of those that are dead, or do not answer a ping in so many seconds; those are ended.

    A ping is answered when all calls before it are done, or failed.
    """
    pings = {actor.ping.remote(): number for number, actor in enumerate(actors)}
    done, silent = ray.wait(list(pings), num_returns=len(pings), timeout=seconds)
    lost = [pings[ref] for ref in silent]
    for number in lost:
        ray.kill(actors[number])
    for ref in done:
        try:
            ray.get(ref)
        except RayError:
            lost.append(pings[ref])
    return sorted(lost)
