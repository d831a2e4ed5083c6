"""Versions that are no models: what a switch and a follower are tried with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pipelines.inference.registry import ModelRef


@dataclass(frozen=True, slots=True)
class Said:
    """What a fake version gives: it says everything in a label."""

    label: str


@dataclass(frozen=True, slots=True)
class Other:
    """What a model of another task gives."""

    value: float


class Clock:
    """Moves when told; and for each task by what was worked in it, so that times are as if all had machines enough."""

    def __init__(self) -> None:
        self.now = 0.0
        self._worked = ContextVar("worked", default=0.0)

    def __call__(self) -> float:
        return self.now + self._worked.get()

    def work(self, seconds: float) -> None:
        self._worked.set(self._worked.get() + seconds)


def ref(version: int | str) -> ModelRef:
    return ModelRef("m", str(version), f"models:/m/{version}")


class FakeLane:
    """Answers each input with a label, in an instant of real time and `seconds` of the clock's."""

    takes: type = str

    def __init__(
        self,
        version: int | str,
        *,
        says: Callable[[str], str | None] = lambda text: text,
        seconds: float = 0.01,
        clock: Clock | None = None,
        gives: type = Said,
    ) -> None:
        self.ref, self.gives = ref(version), gives
        self.says, self.seconds, self._clock = says, seconds, clock
        self.error: Exception | None = None
        self.hold = asyncio.Event()
        """Answers wait for it."""
        self.hold.set()
        self.asked: list[list[Any]] = []
        self.is_closed = False
        self.inside = 0

    async def answer(self, inputs: list[Any]) -> list[Any | None]:
        # What the whole package promises.
        assert not self.is_closed, f"version {self.ref.version} was asked after it was closed"
        self.asked.append(inputs)
        self.inside += 1
        try:
            await asyncio.sleep(0)
            await self.hold.wait()
            if self._clock is not None:
                self._clock.work(self.seconds)
            if self.error is not None:
                raise self.error
            return [None if (said := self.says(text)) is None else Said(said) for text in inputs]
        finally:
            self.inside -= 1


class FakeLanes:
    """Opens the lanes that it is given, at most two at once."""

    def __init__(self, *lanes: FakeLane) -> None:
        self.lanes = {lane.ref.version: lane for lane in lanes}
        self.errors: dict[str, Exception] = {}
        self.opened: list[str] = []
        self.open_now: set[str] = set()

    async def open(self, ref: ModelRef) -> FakeLane:
        self.opened.append(ref.version)
        await asyncio.sleep(0)
        if ref.version in self.errors:
            raise self.errors[ref.version]
        self.open_now.add(ref.version)
        assert len(self.open_now) <= 2, f"too many versions at once: {self.open_now}"
        lane = self.lanes[ref.version]
        lane.is_closed = False
        return lane

    async def close(self, lane: FakeLane) -> None:
        assert lane.inside == 0, "closed before it had answered"
        lane.is_closed = True
        self.open_now.discard(lane.ref.version)


async def soon(is_so: Callable[[], bool]) -> None:
    """Let others go on until something is so."""
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be so")
