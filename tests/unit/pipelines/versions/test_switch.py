"""Who answers a request, and who answers it where that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipelines.inference.batcher import Overloaded
from pipelines.inference.deadlines import Deadline, deadline, due
from pipelines.versions.switch import Answered, Switch
from tests.unit.pipelines.versions.lanes import Clock, FakeLane, Said, soon


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(limited())


def lanes(clock: Clock | None = None) -> tuple[FakeLane, FakeLane]:
    return FakeLane(1, clock=clock), FakeLane(2, clock=clock, seconds=0.03)


def broken(_: str) -> str | None:
    return None


def test_the_champion_answers_and_is_named() -> None:
    async def work() -> None:
        switch = Switch(FakeLane(1), patience=9)
        assert await switch.answer(["a", "b"]) == Answered("1", [Said("a"), Said("b")])

    run(work)


@pytest.mark.parametrize(("share", "expected"), [(0.1, 100), (0.25, 250), (1.0, 1000), (0.003, 3)])
def test_a_candidate_answers_just_the_share_that_it_was_given(share: float, expected: int) -> None:
    async def work() -> None:
        champion, challenger = lanes()
        switch = Switch(champion, patience=9)
        switch.try_out(challenger, share)
        found = [(await switch.answer(["a"])).version for _ in range(1000)]
        assert found.count("2") == expected

    run(work)


def test_in_the_shadow_the_champion_answers_and_does_not_wait_for_the_candidate() -> None:
    async def work() -> None:
        clock = Clock()
        champion, challenger = lanes(clock)
        challenger.says = lambda text: "x" if text == "odd" else text
        challenger.hold.clear()
        switch = Switch(champion, patience=9, clock=clock)
        switch.try_out(challenger, None)
        trial = switch.trial
        assert trial is not None
        assert (await switch.answer(["a", "odd"])).version == "1"
        assert trial.challenger.counts.requests == 0
        challenger.hold.set()
        await soon(lambda: trial.challenger.counts.requests == 1)
        found = trial.challenger.counts
        assert (found.errors, found.compared, found.agreement) == (0, 1, 0.5)
        assert trial.champion.counts.times == (pytest.approx(0.01),)

    run(work)


def test_a_candidate_that_is_busy_is_not_asked_and_that_is_counted() -> None:
    async def work() -> None:
        champion, challenger = lanes()
        challenger.hold.clear()
        switch = Switch(champion, patience=9, most_aside=2)
        switch.try_out(challenger, None)
        for _ in range(5):
            await switch.answer(["a"])
        assert switch.trial is not None
        assert switch.trial.not_compared == 3
        challenger.hold.set()
        await soon(lambda: not challenger.inside)
        assert len(challenger.asked) == 2

    run(work)


def test_what_is_asked_aside_has_no_deadline_of_the_request_that_is_over() -> None:
    async def work() -> None:
        champion, challenger = lanes()
        found = list[Deadline | None]()

        def say(text: str) -> str:
            found.append(deadline())
            return text

        champion.says = challenger.says = say
        switch = Switch(champion, patience=9)
        switch.try_out(challenger, None)
        with due(by := Deadline(9)):
            await switch.answer(["a"])
        await soon(lambda: len(found) == 2)
        assert found == [by, None]

    run(work)


@pytest.mark.parametrize("how", ["error", "none", "too few", "hangs"])
def test_no_request_fails_because_of_a_candidate(how: str) -> None:
    async def work() -> None:
        champion, challenger = lanes()
        if how == "error":
            challenger.error = RuntimeError("secret")
        elif how == "none":
            challenger.says = broken
        elif how == "too few":

            async def short(_: list[str]) -> list[Said | None]:
                return []

            challenger.answer = short  # type: ignore[method-assign,assignment]
        else:
            challenger.hold.clear()
        switch = Switch(champion, patience=0.01)
        switch.try_out(challenger, 1.0)
        assert await switch.answer(["a"]) == Answered("1", [Said("a")])
        assert switch.trial is not None
        counts = switch.trial.challenger.counts
        assert (counts.requests, counts.errors) == (1, 1)

    run(work)


def test_what_no_version_can_answer_is_nobodys_failure() -> None:
    async def work() -> None:
        champion, challenger = lanes()
        champion.says = challenger.says = lambda text: None if text == "bad" else text
        for share in (1.0, None):
            switch = Switch(champion, patience=9)
            switch.try_out(challenger, share)
            assert await switch.answer(["a", "bad"]) == Answered("1", [Said("a"), None])
            trial = switch.trial
            assert trial is not None
            await soon(lambda trial=trial: trial.challenger.counts.requests == 1)  # type: ignore[misc]
            assert trial.challenger.counts.errors == 0

    run(work)


def test_the_former_champion_answers_what_the_new_one_fails_on() -> None:
    async def work() -> None:
        old, new = lanes()
        new.says = lambda text: None if text == "hard" else text
        switch = Switch(old, patience=9)
        switch.change(new, standby=True)
        assert await switch.answer(["hard", "a"]) == Answered("1", [Said("hard"), Said("a")])
        assert await switch.answer(["a"]) == Answered("2", [Said("a")])
        assert (switch.tally.counts.requests, switch.tally.counts.errors) == (2, 1)
        new.error = RuntimeError()
        assert (await switch.answer(["a"])).version == "1"
        assert (switch.tally.counts.requests, switch.tally.counts.errors) == (3, 2)
        # Alone it must say so itself.
        switch.dismiss()
        with pytest.raises(RuntimeError):
            await switch.answer(["a"])
        assert await Switch(FakeLane(3, says=broken), patience=9).answer(["a"]) == Answered("3", [None])

    run(work)


def test_a_change_loses_nothing_that_is_in_flight() -> None:
    async def work() -> None:
        old, new = lanes()
        old.hold.clear()
        switch = Switch(old, patience=9)
        early = [asyncio.ensure_future(switch.answer([str(i)])) for i in range(5)]
        await soon(lambda: old.inside == 5)
        switch.change(new, standby=False)
        assert (await switch.answer(["late"])).version == "2"
        drained = asyncio.ensure_future(switch.drained(old))
        await asyncio.sleep(0)
        assert not drained.done()
        old.hold.set()
        assert [(await one).version for one in early] == ["1"] * 5
        await drained
        assert old.inside == 0

    run(work)


def test_what_is_in_flight_on_a_champion_that_fails_is_answered_by_the_next() -> None:
    async def work() -> None:
        old, new = lanes()
        old.hold.clear()
        switch = Switch(old, patience=9)
        early = asyncio.ensure_future(switch.answer(["a"]))
        await soon(lambda: old.inside == 1)
        switch.change(new, standby=False)
        old.error = RuntimeError()
        old.hold.set()
        assert await early == Answered("2", [Said("a")])

    run(work)


def test_too_much_work_is_no_fault_of_a_candidate() -> None:
    async def work() -> None:
        champion, challenger = lanes()
        challenger.error = Overloaded(3.0, 2.0)
        for share in (1.0, None):
            switch = Switch(champion, patience=9)
            switch.try_out(challenger, share)
            assert (await switch.answer(["a"])).version == "1"
            await soon(lambda: not challenger.inside)
            await asyncio.sleep(0)
            assert switch.trial is not None
            assert switch.trial.challenger.counts.requests == 0
        champion.error = Overloaded(3.0, 2.0)
        with pytest.raises(Overloaded):
            await switch.answer(["a"])

    run(work)


def test_who_goes_away_counts_for_nobody() -> None:
    async def work() -> None:
        champion, challenger = lanes()
        challenger.hold.clear()
        switch = Switch(champion, patience=9)
        switch.try_out(challenger, 1.0)
        gone = asyncio.ensure_future(switch.answer(["a"]))
        await soon(lambda: challenger.inside == 1)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert switch.trial is not None
        assert switch.trial.challenger.counts.requests == 0
        await switch.drained(challenger)
        assert champion.asked == []

    run(work)
