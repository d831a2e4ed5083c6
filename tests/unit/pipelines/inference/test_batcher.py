"""Requests that share passes. Models here are held up by the test, and say what they were asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from pipelines.inference.batcher import Batcher, Overloaded, Pass
from pipelines.inference.pass_cost import PassCost
from pipelines.inference.predictor import Reading, Text

pytestmark = pytest.mark.timeout(60)

COST = PassCost(fixed=10, per_token=1, per_square=0, best_tokens=200)


class Gate:
    """Answers with the length of each text, one pass at a time, when the test lets it; fails on "nuts"."""

    def __init__(self, *, closed: bool = False) -> None:
        self.passes: list[list[str]] = []
        self.busy = threading.Semaphore(0)
        """Released when a pass begins."""
        self._closed = closed
        self._go = threading.Semaphore(0)

    def read(self, inputs: Sequence[Text]) -> list[Reading]:
        return [Reading(given, (given,) if given.text else (), len(given.text)) for given in inputs]

    def answer(self, readings: Sequence[Reading]) -> list[int]:
        texts = [reading.given.text for reading in readings]
        if texts == [""]:
            return [0]
        self.passes.append(texts)
        self.busy.release()
        if self._closed:
            assert self._go.acquire(timeout=30)
        if "nuts" in texts:
            raise RuntimeError(f"cannot read {texts}")
        return [len(text) for text in texts]

    def let_pass(self, times: int = 1) -> None:
        self._go.release(times)


def batcher(gate: Gate, **settings: Any) -> Batcher:
    given: dict[str, Any] = {"most": 8, "wait": 0.0, "patience": 1e9} | settings
    return Batcher(gate, COST, **given)


async def read_by_now(made: Batcher) -> None:
    """Returns when all requests made until now have been read: they are read in their order, and this is one more."""
    await asyncio.sleep(0)
    await made.answer([Text("")])


def test_what_waits_while_the_model_is_busy_shares_passes_by_length() -> None:
    gate, told = Gate(closed=True), list[Pass]()

    async def ask() -> list[Any]:
        made = batcher(gate, told=told.append)
        first = asyncio.create_task(made.answer([Text("a" * 3)]))
        await asyncio.to_thread(gate.busy.acquire)
        rest = [asyncio.create_task(made.answer([Text("b" * length)])) for length in (90, 4, 92, 5)]
        await read_by_now(made)
        gate.let_pass(9)
        return [await one for one in (first, *rest)]

    assert asyncio.run(ask()) == [[3], [90], [4], [92], [5]]
    assert [sorted(map(len, texts)) for texts in gate.passes] == [[3], [90, 92], [4, 5]]
    assert [sorted(one.lengths) for one in told] == [[3], [90, 92], [4, 5]]


def test_the_inputs_of_one_request_are_answered_in_their_order() -> None:
    async def ask() -> list[Any]:
        return await batcher(Gate()).answer([Text("a" * length) for length in (9, 100, 8, 0, 300)])

    assert asyncio.run(ask()) == [9, 100, 8, 0, 300]


def test_an_empty_text_waits_for_nobody() -> None:
    gate = Gate(closed=True)

    async def ask() -> list[Any]:
        made = batcher(gate)
        busy = asyncio.create_task(made.answer([Text("long")]))
        await asyncio.to_thread(gate.busy.acquire)
        found = await made.answer([Text("")])
        gate.let_pass()
        await busy
        return found

    assert asyncio.run(ask()) == [0]


def test_a_failing_input_does_not_fail_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> list[Any]:
        return await batcher(Gate()).answer([Text("tea"), Text("nuts"), Text("rice")])

    assert asyncio.run(ask()) == [3, None, 4]
    assert "nuts" not in caplog.text


def test_more_than_can_be_answered_in_time_is_refused_at_once() -> None:
    gate = Gate(closed=True)

    async def ask() -> float:
        made = batcher(gate, patience=50)
        tasks = [asyncio.create_task(made.answer([Text("a" * 30)]))]
        await asyncio.to_thread(gate.busy.acquire)
        tasks.append(asyncio.create_task(made.answer([Text("b" * 60)])))
        await read_by_now(made)
        with pytest.raises(Overloaded) as refused:
            await made.answer([Text("c")])
        gate.let_pass(2)
        assert [await task for task in tasks] == [[30], [60]]
        assert await asyncio.create_task(_late(made, gate)) == [1]
        return refused.value.seconds

    assert asyncio.run(ask()) == 70


async def _late(made: Batcher, gate: Gate) -> list[Any]:
    gate.let_pass()
    return await made.answer([Text("d")])


def test_who_goes_away_is_not_computed_for() -> None:
    gate = Gate(closed=True)

    async def ask() -> None:
        made = batcher(gate)
        first = asyncio.create_task(made.answer([Text("first")]))
        await asyncio.to_thread(gate.busy.acquire)
        gone = asyncio.create_task(made.answer([Text("gone!")]))
        stays = asyncio.create_task(made.answer([Text("stays")]))
        await read_by_now(made)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.let_pass(2)
        assert [await first, await stays] == [[5], [5]]

    asyncio.run(ask())
    assert gate.passes == [["first"], ["stays"]]


def test_after_a_shared_pass_the_next_waits_a_little_for_company() -> None:
    gate = Gate(closed=True)

    async def ask() -> None:
        # As long as it takes: what is waited for is the company, and then the pass is full.
        made = batcher(gate, wait=30.0, most=2)
        first = asyncio.create_task(made.answer([Text("a"), Text("b")]))
        await asyncio.to_thread(gate.busy.acquire)
        gate.let_pass()
        await first
        one = asyncio.create_task(made.answer([Text("c")]))
        await read_by_now(made)
        assert len(gate.passes) == 1
        two = asyncio.create_task(made.answer([Text("d")]))
        gate.let_pass()
        await asyncio.gather(one, two)

    asyncio.run(ask())
    assert [sorted(texts) for texts in gate.passes] == [["a", "b"], ["c", "d"]]
