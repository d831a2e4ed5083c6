"""The endpoint does what the registry says; whatever happens, whoever asks is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from pipelines.errors import UserError
from pipelines.inference.registry import ModelRef
from pipelines.serve_settings import ServeConfig
from pipelines.versions.follower import ATTEMPTS, Follower, open_first
from pipelines.versions.golden import Golden
from pipelines.versions.switch import Switch
from tests.unit.pipelines.versions.followed import GATE, FakeRegistry, endpoint, run
from tests.unit.pipelines.versions.lanes import Clock, FakeLane, FakeLanes, Other, ref


def test_another_version_behind_the_alias_is_served_and_the_former_one_stands_by() -> None:
    async def work() -> None:
        registry = FakeRegistry(1)
        async with endpoint(registry, FakeLane(1), FakeLane(2)) as one:
            assert one.latest == {"1"}
            registry.aliases["champion"] = "2"
            await one.rounds(2)
            assert one.latest == {"2"}
            assert registry.aliases == {"champion": "2", "previous": "1"}
            assert one.standby == "1"
            one.clock.now += 1000
            await one.rounds(1)
            assert one.standby is None

    run(work)


def test_a_person_can_go_back_while_the_former_version_is_loaded_and_later() -> None:
    async def work() -> None:
        registry = FakeRegistry(1)
        async with endpoint(registry, FakeLane(1), FakeLane(2)) as one:
            for later in (0.0, 1000.0):
                registry.aliases["champion"] = "2"
                registry.refused.clear()
                await one.rounds(2)
                one.clock.now += later
                await one.follower.judge()
                registry.roll_back("by hand", version="2", to="1")
                await one.rounds(2)
                assert one.latest == {"1"}
                # What was sent away must not come back by itself.
                assert one.standby is None
            assert one.lanes.opened == ["1", "2", "2", "1"]

    run(work)


class Heard(logging.Handler):
    """What the follower says while this lasts, whatever libraries of other tests did to all loggers."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._logger = logging.getLogger("pipelines.versions.follower")

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> list[str]:
        self._before = self._logger.level, self._logger.disabled
        self._logger.setLevel(logging.WARNING)
        self._logger.disabled = False
        self._logger.addHandler(self)
        return self.lines

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.level, self._logger.disabled = self._before


def test_a_new_champion_that_fails_goes_at_once_though_the_registry_is_out_of_reach() -> None:
    async def work() -> None:
        registry, new = FakeRegistry(1), FakeLane(2)
        async with endpoint(registry, FakeLane(1), new) as one:
            registry.aliases["champion"] = "2"
            await one.rounds(2)
            assert one.latest == {"2"}
            registry.is_there, new.error = False, RuntimeError("secret")
            await one.asked(20)
            await one.follower.judge()
            await one.asked(20)
            assert one.latest == {"1"}
            await one.rounds(3)
            assert one.latest == {"1"}
            # It may be noticed by what the follower had to tell the registry, before the version is judged.
            lost = "The registry cannot be followed; what is served stays: MLflow cannot be used"
            assert [line for line in said if line.startswith("The registry")] == [lost]
            registry.is_there = True
            await one.rounds(2)
            assert registry.aliases["champion"] == "1"
            assert "requests that the other version answers" in registry.refused["2"]
            assert said[-1:] == ["The registry can be followed again."]
            assert one.lanes.opened == ["1", "2"]

    with Heard() as said:
        run(work)


@pytest.mark.parametrize("share", [None, 0.25, 1.0])
def test_a_good_candidate_is_promoted(share: float | None) -> None:
    async def work() -> None:
        registry = FakeRegistry(1)
        registry.share = share
        async with endpoint(registry, FakeLane(1), FakeLane(2)) as one:
            registry.aliases["challenger"] = "2"
            await one.look()
            assert one.challenger == "2"
            await one.rounds(4, requests=200)
            assert one.latest == {"2"}
            assert registry.aliases == {"champion": "2", "previous": "1"}
            # It was loaded for the trial.
            assert one.lanes.opened == ["1", "2"]

    run(work)


def test_a_candidate_that_a_person_is_to_promote_waits() -> None:
    async def work() -> None:
        registry = FakeRegistry(1)
        registry.gate = GATE.model_copy(update={"promote": "hand"})
        async with endpoint(registry, FakeLane(1), FakeLane(2)) as one:
            registry.aliases["challenger"] = "2"
            await one.rounds(3)
            one.clock.now += 30
            await one.rounds(2)
            assert one.latest == {"1"}
            assert registry.shown["2"]["verdict"] == "promote"
            registry.promote("2", only_challenger=True)
            await one.rounds(2)
            assert one.latest == {"2"}

    run(work)


def failing(lane: FakeLane) -> str:
    lane.error = RuntimeError("secret")
    return "it failed on"


def slow(lane: FakeLane) -> str:
    lane.seconds = 1.0
    return "above 1.5 times"


def wrong(lane: FakeLane) -> str:
    lane.says = lambda text: text if text == "a" else "x"
    return "to 0.500, below 0.95"


@pytest.mark.parametrize("share", [None, 0.25])
@pytest.mark.parametrize("fault", [failing, slow, wrong])
def test_a_bad_candidate_is_dropped_and_told_why(fault: Callable[[FakeLane], str], share: float | None) -> None:
    async def work() -> None:
        registry, clock = FakeRegistry(1), Clock()
        registry.share = share
        champion, challenger = FakeLane(1, clock=clock), FakeLane(2, clock=clock)
        async with endpoint(registry, champion, challenger, clock=clock) as one:
            registry.aliases["challenger"] = "2"
            await one.look()
            assert one.challenger == "2"
            said = fault(challenger)
            await one.rounds(4, requests=200)
            assert one.latest == {"1"}
            assert registry.aliases == {"champion": "1"}
            assert said in registry.refused["2"]
            assert registry.shown["2"]["verdict"] == "refuse"
            await one.rounds(3)
            # Nor is it tried again.
            assert one.lanes.opened == ["1", "2"]

    run(work)


def test_a_version_that_cannot_be_loaded_is_refused_after_some_attempts() -> None:
    async def work() -> None:
        registry = FakeRegistry(1)
        async with endpoint(registry, FakeLane(1), FakeLane(2), FakeLane(3)) as one:
            one.lanes.errors = {"2": UserError("no weights"), "3": RuntimeError("secret")}
            for version, why in (("2", "no weights"), ("3", "RuntimeError")):
                registry.aliases["champion"] = version
                await one.rounds(ATTEMPTS + 3)
                assert one.lanes.opened.count(version) == ATTEMPTS
                assert registry.refused[version] == f"it cannot be loaded: {why}"
                # Where an endpoint that starts now finds what is served.
                assert registry.aliases["previous"] == "1"
            assert one.latest == {"1"}

    run(work)


def test_a_store_that_is_out_of_reach_for_a_moment_refuses_nothing() -> None:
    async def work() -> None:
        registry = FakeRegistry(1)
        async with endpoint(registry, FakeLane(1), FakeLane(2)) as one:
            one.lanes.errors = {"2": OSError()}
            registry.aliases["challenger"] = "2"
            await one.rounds(ATTEMPTS - 1)
            one.lanes.errors = {}
            await one.look()
            assert one.challenger == "2"
            assert registry.refused == {}

    run(work)


def test_a_version_that_fails_the_golden_set_gets_no_request() -> None:
    async def work() -> None:
        registry = FakeRegistry(1)
        lanes = FakeLane(1), FakeLane(2), FakeLane(3, gives=Other), FakeLane(4)
        golden = [Golden("7"), Golden("8", {"label": "eight"})]
        async with endpoint(registry, *lanes, golden=golden) as one:
            registry.aliases |= {"champion": "2", "challenger": "3"}
            await one.rounds(3)
            assert registry.refused["2"] == "it agrees with the golden set by 0.500, below 0.9 (serve.golden_agreement)"
            assert registry.refused["3"] == "it gives Other, and the champion Said"
            assert [inputs for lane in lanes[1:3] for inputs in lane.asked] == [["7", "8"]]
            lanes[3].says = lambda text: "eight" if text == "8" else text
            registry.aliases["champion"] = "4"
            await one.rounds(2)
            assert one.latest == {"4"}

    run(work)


def test_a_trial_ends_when_the_candidate_or_the_champion_is_another() -> None:
    async def work() -> None:
        registry = FakeRegistry(1)
        registry.gate = GATE.model_copy(update={"min_requests": 10**6})
        async with endpoint(registry, *(FakeLane(n) for n in range(1, 5))) as one:
            registry.aliases["challenger"] = "2"
            await one.rounds(1)
            registry.aliases["challenger"] = "3"
            await one.rounds(1)
            assert one.challenger == "3"
            registry.share = 0.5
            await one.rounds(1)
            assert one.switch.trial is not None
            assert one.switch.trial.share == 0.5
            registry.aliases["champion"] = "4"
            await one.rounds(2)
            # One after the other: while the new champion is watched, nothing is tried.
            assert (one.champion, one.challenger, one.standby) == ("4", None, "1")
            one.clock.now += 1000
            await one.rounds(2)
            assert one.challenger == "3"
            del registry.aliases["challenger"]
            await one.rounds(1)
            assert one.challenger is None

    run(work)


def test_an_endpoint_begins_with_the_previous_version_where_the_champion_is_refused() -> None:
    async def work() -> None:
        registry, lanes = FakeRegistry(2), FakeLanes(FakeLane(1), FakeLane(2))
        registry.aliases["previous"] = "1"
        assert (await open_first(registry, lanes)).ref == ref(2)
        registry.refused["2"] = "it cannot be loaded"
        assert (await open_first(registry, lanes)).ref == ModelRef("m", "1", "models:/m/1")
        lanes.errors = {"1": UserError("no weights"), "2": RuntimeError()}
        with pytest.raises(UserError, match="no weights"):
            await open_first(registry, lanes)

    run(work)


def test_the_loops_go_on_after_a_fault_and_follow_by_themselves() -> None:
    async def work() -> None:
        registry, lanes, clock = FakeRegistry(1), FakeLanes(FakeLane(1), FakeLane(2)), Clock()
        switch = Switch(await open_first(registry, lanes), patience=1)
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await asyncio.sleep(0.001)

        follower = Follower(switch, registry, lanes, lambda _: [], ServeConfig(), clock=clock, sleep=sleep)
        registry.is_there = False
        running = asyncio.create_task(follower.run())
        await soon_really(lambda: 5 in waits)
        registry.is_there = True
        registry.aliases["champion"] = "2"
        await soon_really(lambda: switch.champion.ref.version == "2")
        running.cancel()
        assert set(waits) == {5, 1.0}
        await Follower(switch, registry, lanes, lambda _: [], ServeConfig(follow_seconds=0)).run()

    run(work)


async def soon_really(is_so: Callable[[], bool]) -> None:
    """As `soon`, where threads take part."""
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)
