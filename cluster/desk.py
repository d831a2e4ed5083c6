"""Where the workers of a data parallel run leave what they have to tell, and the driver fetches it.

    worker 0, 1, ...   tell(message) ->  desk  <- news()   driver
                       <- whether to stop     <- stop()

Ray Train's own reports reach whoever called it only when the run is over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from cluster.actors import Seat
from pipelines.train.events import StageReport


@dataclass(frozen=True, slots=True)
class Started:
    """A worker is ready for its first step."""

    worker: int
    num_workers: int
    seat: Seat
    first_step: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a worker did in a step; `report.stage` is its number, `report.loss` its part of the loss."""

    num_workers: int
    report: StageReport


@dataclass(frozen=True, slots=True)
class Answered:
    """A worker's part of the answers to a split, by row."""

    worker: int
    num_workers: int
    split: str
    step: int
    answers: dict[int, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is whole."""

    checkpoint: Path


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that whoever watches the run should know."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker met what another try would meet again."""

    error: Exception


Message = Started | Stepped | Answered | Saved | Noted | Failed


class DeskShell:
    """One for a run."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._arrived = asyncio.Event()
        self._stop = False

    async def tell(self, message: Message) -> bool:
        """Leave a message; returns whether the run is to stop."""
        self._messages.append(message)
        self._arrived.set()
        return self._stop

    async def news(self) -> list[Message]:
        """All messages since the last call, in their order, as soon as there is one."""
        await self._arrived.wait()
        self._arrived.clear()
        messages, self._messages = self._messages, []
        return messages

    async def stop(self) -> None:
        """Ask the workers to save a checkpoint and end."""
        self._stop = True


# Any: as in cluster/actors.py.
DeskActor: Any = ray.remote(DeskShell)
