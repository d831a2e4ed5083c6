"""The follower and a real registry: orders given elsewhere, verdicts written back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.serve_settings import ServeConfig, TrialConfig
from pipelines.versions.follower import Follower, open_first
from pipelines.versions.registry_view import RegistryView
from pipelines.versions.show import rows_of
from pipelines.versions.switch import Switch
from tests.unit.pipelines.versions.lanes import Clock, FakeLane, FakeLanes

pytestmark = pytest.mark.timeout(120)


def test_what_is_ordered_in_the_registry_is_served_and_what_comes_of_it_is_told_there(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(store)
    client.create_registered_model("m")
    for _ in range(3):
        client.create_model_version("m", tmp_path.as_uri())
    client.set_registered_model_alias("m", "champion", "1")
    settings = ServeConfig(trial=TrialConfig(min_requests=10, min_seconds=0))
    people = RegistryView("m", "champion", store)

    async def work() -> None:
        clock = Clock()
        lanes = FakeLanes(*(FakeLane(n, clock=clock) for n in range(1, 4)))
        registry = RegistryView("m", "champion", store, settings.trial)
        switch = Switch(await open_first(registry, lanes), patience=1, clock=clock)
        follower = Follower(switch, registry, lanes, lambda _: [], settings, clock=clock)

        async def asked() -> set[str]:
            found = {(await switch.answer([str(n)])).version for n in range(30)}
            await asyncio.sleep(0.01)
            await follower.judge()
            return found

        people.try_version("2", share=0.5)
        await follower.look()
        assert await asked() == {"1", "2"}
        await follower.look()
        assert await asked() == {"2"}
        assert people.read().champion.version == "2"
        lanes.lanes["2"].error = RuntimeError("secret")
        assert "2" not in await asked()
        await follower.look()
        assert people.read().champion.version == "1"
        people.promote("3")
        await follower.look()
        assert await asked() == {"3"}
        people.roll_back("by hand")
        await follower.look()
        assert await asked() == {"1"}
        await follower.settled()
        states = {row["version"]: row["state"] for row in rows_of(people.versions(), champion="champion")}
        assert states["1"] == "served"
        assert states["2"].startswith("refused: it failed on 30 of ")
        assert states["3"] == "refused: by hand"

    asyncio.run(work())
