"""A registry in memory, and an endpoint that follows it while many ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pipelines.errors import UserError
from pipelines.serve_settings import ServeConfig, TrialConfig
from pipelines.versions.follower import Follower, open_first
from pipelines.versions.golden import Golden
from pipelines.versions.switch import Switch
from pipelines.versions.wanted import Challenger, Wanted
from tests.unit.pipelines.versions.lanes import Clock, FakeLane, FakeLanes, ref

GATE = TrialConfig(min_requests=20, min_seconds=0, max_error_ratio=0.05, watch_seconds=1000)


class FakeRegistry:
    """Aliases and refusals in memory, as RegistryView keeps them in MLflow; can be out of reach."""

    def __init__(self, champion: int) -> None:
        self.aliases = {"champion": str(champion)}
        self.refused: dict[str, str] = {}
        self.shown: dict[str, dict[str, Any]] = {}
        self.share: float | None = None
        self.gate = GATE
        self.is_there = True

    def read(self, served: str | None = None) -> Wanted:
        self._reach()
        champion, challenger, previous = (self.aliases.get(name) for name in ("champion", "challenger", "previous"))
        assert champion is not None
        found = Challenger(ref(challenger), self.share, self.gate) if challenger not in (None, champion) else None
        named = {champion, challenger, served}
        return Wanted(
            ref(champion), found, ref(previous) if previous else None,
            {version: why for version, why in self.refused.items() if version in named},
        )  # fmt: skip

    def promote(self, version: str, *, only_challenger: bool) -> None:
        self._reach()
        assert only_challenger
        if self.aliases.get("challenger") == version:
            self.aliases |= {"previous": self.aliases["champion"], "champion": version}
            del self.aliases["challenger"]

    def remember(self, previous: str) -> None:
        self._reach()
        self.aliases["previous"] = previous

    def roll_back(self, why: str, *, version: str, to: str) -> None:
        self._reach()
        self.refused[version] = why
        if self.aliases["champion"] == version:
            self.aliases["champion"] = to
            self.aliases.pop("previous", None)

    def refuse(self, version: str, why: str) -> None:
        self._reach()
        self.refused[version] = why
        if self.aliases.get("challenger") == version:
            del self.aliases["challenger"]

    def show(self, version: str, facts: dict[str, Any]) -> None:
        self._reach()
        self.shown[version] = facts

    def _reach(self) -> None:
        if not self.is_there:
            raise UserError("MLflow cannot be used")


class Endpoint:
    """A switch and its follower over fake versions, asked by many all the time."""

    def __init__(self, registry: FakeRegistry, *lanes: FakeLane, golden: list[Golden], clock: Clock) -> None:
        self.registry, self.lanes, self.clock = registry, FakeLanes(*lanes), clock
        self.golden, self.answered, self.failed = golden, [0], list[BaseException]()
        self.versions: list[str] = []

    async def start(self, settings: ServeConfig) -> None:
        lane = await open_first(self.registry, self.lanes)
        self.switch = Switch(lane, patience=0.05, clock=self.clock)
        self.follower = Follower(
            self.switch, self.registry, self.lanes, lambda _: self.golden, settings, clock=self.clock
        )

    async def ask_for_ever(self) -> None:
        while True:
            try:
                self.versions.append((await self.switch.answer(["a", "b"])).version)
            except Exception as error:
                self.failed.append(error)

    async def look(self) -> None:
        await self.follower.look()
        await self.follower.judge()

    async def rounds(self, n: int, *, requests: int = 60) -> None:
        """So many looks, with requests before each."""
        for _ in range(n):
            await self.asked(requests)
            await self.look()

    async def asked(self, n: int) -> None:
        until = len(self.versions) + n
        while len(self.versions) < until:
            await asyncio.sleep(0)

    @property
    def champion(self) -> str:
        return self.switch.champion.ref.version

    @property
    def challenger(self) -> str | None:
        return None if self.switch.trial is None else self.switch.trial.lane.ref.version

    @property
    def standby(self) -> str | None:
        return None if self.switch.standby is None else self.switch.standby.ref.version

    @property
    def latest(self) -> set[str]:
        """Who has answered lately."""
        return set(self.versions[-20:])


@asynccontextmanager
async def endpoint(
    registry: FakeRegistry, *lanes: FakeLane, golden: list[Golden] | None = None, clock: Clock | None = None
) -> AsyncIterator[Endpoint]:
    """Four ask at once, all the time, and every request of theirs must be answered."""
    made = Endpoint(registry, *lanes, golden=golden or [], clock=clock or Clock())
    await made.start(ServeConfig(trial=GATE))
    async with asyncio.timeout(60):
        asking = [asyncio.create_task(made.ask_for_ever()) for _ in range(4)]
        try:
            await made.asked(20)
            yield made
            await made.asked(20)
            await made.follower.settled()
        finally:
            for one in asking:
                one.cancel()
    assert made.failed == []
    # What is not served is not loaded.
    assert made.lanes.open_now == {made.champion, made.challenger, made.standby} - {None}


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]
