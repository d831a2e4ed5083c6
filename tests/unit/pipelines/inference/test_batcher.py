"""Requests that share passes. Workers here are held up by the test, and say what they were asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from pipelines.inference.batcher import Batcher, Overloaded, Pass
from pipelines.inference.groups import Computed, Group, WorkerLost
from pipelines.inference.pass_cost import PassCost
from pipelines.inference.predictor import Text

pytestmark = pytest.mark.timeout(60)

COST = PassCost(fixed=10, per_token=1, per_square=0, best_tokens=60)
"""A byte is taken for a quarter of a sub-word."""


class Workers:
    """Answer with the length of each text when the test lets them; end on "deadly", each time that they meet it."""

    def __init__(self, *, closed: bool = False) -> None:
        self.passes: list[list[str]] = []
        self.traceparents: list[tuple[str, ...]] = []
        self.begun = asyncio.Semaphore(0)
        self._closed = closed
        self._go = asyncio.Semaphore(0)

    async def run(self, inputs: list[Text], traceparents: tuple[str, ...] = ()) -> Computed:
        texts = [one.text for one in inputs]
        self.passes.append(texts)
        self.traceparents.append(traceparents)
        self.begun.release()
        if self._closed:
            await self._go.acquire()
        if "deadly" in texts:
            raise WorkerLost
        if "broken" in texts:
            raise RuntimeError("of the worker")
        return Computed([len(text) for text in texts], [2 + len(text) // 4 for text in texts], 0.0, "w")

    def let_pass(self, times: int = 1) -> None:
        for _ in range(times):
            self._go.release()

    def batcher(self, **settings: Any) -> Batcher:
        given: dict[str, Any] = {"most": 8, "wait": 0.0, "patience": 1e9, "cost": COST} | settings
        alike = {name: given.pop(name) for name in ("cost", "workers", "ahead") if name in given}
        return Batcher([Group(self.run, **alike)], **given)


def letters(letter: str, quarters: int) -> Text:
    """Of so many sub-words, two special ones not counted."""
    return Text(letter * 4 * quarters)


async def asked(made: Batcher, *inputs: Text) -> asyncio.Task[list[Any]]:
    """A request that waits in the batcher by now."""
    task = asyncio.create_task(made.answer(list(inputs)))
    await asyncio.sleep(0)
    return task


def test_what_waits_while_the_worker_is_busy_shares_passes_by_length() -> None:
    told = list[Pass]()

    async def ask() -> tuple[list[Any], list[list[str]]]:
        workers = Workers(closed=True)
        made = workers.batcher(told=told.append)
        first = await asked(made, letters("a", 1))
        await workers.begun.acquire()
        rest = [await asked(made, letters("b", quarters)) for quarters in (22, 2, 23, 1)]
        assert made.num_waiting == 4
        workers.let_pass(9)
        return [await one for one in (first, *rest)], workers.passes

    found, passes = asyncio.run(ask())
    assert found == [[4], [88], [8], [92], [4]]
    assert [sorted(map(len, texts)) for texts in passes] == [[4], [88, 92], [4, 8]]
    assert [sorted(one.computed.outputs) for one in told] == [[4], [88, 92], [4, 8]]


def test_the_inputs_of_one_request_are_answered_in_their_order() -> None:
    async def ask() -> list[Any]:
        return await Workers().batcher().answer([Text("a" * length) for length in (9, 100, 8, 0, 3000)])

    assert asyncio.run(ask()) == [9, 100, 8, 0, 3000]


def test_as_many_passes_at_once_as_there_are_workers() -> None:
    async def ask() -> int:
        workers = Workers(closed=True)
        made = workers.batcher(workers=lambda: 3)
        tasks = [await asked(made, Text(str(n))) for n in range(3)]
        for _ in range(3):
            await workers.begun.acquire()
        late = await asked(made, Text("late"))
        await asyncio.sleep(0)
        there = len(workers.passes)
        workers.let_pass(9)
        await asyncio.gather(*tasks, late)
        return there

    assert asyncio.run(ask()) == 3


def test_a_busy_worker_gets_a_second_pass_when_much_waits() -> None:
    async def ask() -> list[list[str]]:
        workers = Workers(closed=True)
        made = workers.batcher(most=2)
        tasks = [await asked(made, Text("a"))]
        await workers.begun.acquire()
        tasks += [await asked(made, Text(letter)) for letter in "bcd"]
        await asyncio.sleep(0)
        assert len(workers.passes) == 1
        tasks.append(await asked(made, Text("e")))
        await workers.begun.acquire()
        there = list(workers.passes)
        workers.let_pass(9)
        await asyncio.gather(*tasks)
        return there

    assert asyncio.run(ask()) == [["a"], ["b", "c"]]


def test_a_worker_gets_its_next_pass_when_it_ought_to_be_done_with_the_last() -> None:
    cost = PassCost(fixed=0.05, per_token=0.0, per_square=0, best_tokens=60)

    async def ask() -> list[list[str]]:
        workers = Workers(closed=True)
        made = workers.batcher(cost=cost)
        tasks = [await asked(made, Text("a"))]
        await workers.begun.acquire()
        tasks += [await asked(made, Text(letter)) for letter in "bc"]
        await asyncio.sleep(0)
        assert len(workers.passes) == 1
        # Nobody has answered, and it is sent all the same.
        await workers.begun.acquire()
        tasks.append(await asked(made, Text("d")))
        # Of the second pass nothing is known before the first one is done with.
        for _ in range(3):
            await asyncio.sleep(0)
        there = list(workers.passes)
        workers.let_pass(9)
        await asyncio.gather(*tasks)
        return there

    assert asyncio.run(ask()) == [["a"], ["b", "c"]]


def test_where_more_waits_than_may_a_busy_worker_is_sent_a_second_pass_at_once() -> None:
    async def ask() -> list[list[str]]:
        workers = Workers(closed=True)
        made = workers.batcher(ahead=15)
        tasks = [await asked(made, Text("a"))]
        await workers.begun.acquire()
        # 10 to start a pass, and 3 for this.
        tasks.append(await asked(made, Text("b")))
        await asyncio.sleep(0)
        assert len(workers.passes) == 1
        tasks.append(await asked(made, Text("c")))
        await workers.begun.acquire()
        there = list(workers.passes)
        workers.let_pass(9)
        await asyncio.gather(*tasks)
        return there

    assert asyncio.run(ask()) == [["a"], ["b", "c"]]


def test_what_a_lost_worker_had_is_computed_again() -> None:
    lost = list[int]()

    async def ask() -> list[Any]:
        workers = Workers()
        calls = 0

        async def run(inputs: list[Text], _: tuple[str, ...]) -> Computed:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise WorkerLost
            return await workers.run(inputs)

        return await Batcher([Group(run, COST)], most=8, wait=0, patience=1e9, lost=lost.append).answer(
            [Text("a"), Text("bc")]
        )

    assert asyncio.run(ask()) == [1, 2]
    assert lost == [2]


def test_only_the_input_that_ends_workers_fails() -> None:
    async def ask() -> tuple[list[Any], list[list[str]]]:
        workers = Workers()
        return await workers.batcher().answer([Text("tea"), Text("deadly"), Text("rice")]), workers.passes

    found, passes = asyncio.run(ask())
    assert found == [3, None, 4]
    assert sorted(texts for texts in passes if len(texts) == 1) == [["deadly"], ["rice"], ["tea"]]


def test_a_worker_that_cannot_compute_fails_its_pass_and_no_other() -> None:
    async def ask() -> list[Any]:
        made = Workers().batcher()
        with pytest.raises(RuntimeError, match="a pass failed: RuntimeError"):
            await made.answer([Text("broken")])
        return await made.answer([Text("whole")])

    assert asyncio.run(ask()) == [5]


def test_more_than_can_be_answered_in_time_is_refused_at_once() -> None:
    async def ask() -> float:
        workers = Workers(closed=True)
        made = workers.batcher(patience=50)
        tasks = [await asked(made, letters("a", 10))]
        await workers.begun.acquire()
        tasks.append(await asked(made, letters("b", 50)))
        with pytest.raises(Overloaded) as refused:
            await made.answer([Text("c")])
        workers.let_pass(9)
        assert [await task for task in tasks] == [[40], [200]]
        assert await made.answer([Text("d")]) == [1]
        return refused.value.seconds

    assert asyncio.run(ask()) == 62


def test_who_goes_away_is_not_computed_for() -> None:
    async def ask() -> list[list[str]]:
        workers = Workers(closed=True)
        made = workers.batcher()
        first = await asked(made, Text("first"))
        await workers.begun.acquire()
        gone, stays = await asked(made, Text("gone!")), await asked(made, Text("stays"))
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert made.num_waiting == 1
        workers.let_pass(2)
        assert [await first, await stays] == [[5], [5]]
        return workers.passes

    assert asyncio.run(ask()) == [["first"], ["stays"]]


def test_after_a_shared_pass_the_next_waits_a_little_for_company() -> None:
    async def ask() -> list[list[str]]:
        workers = Workers(closed=True)
        # As long as it takes: what is waited for is the company, and then the pass is full.
        made = workers.batcher(wait=30.0, most=2)
        first = await asked(made, Text("a"), Text("b"))
        await workers.begun.acquire()
        workers.let_pass()
        await first
        one = await asked(made, Text("c"))
        await asyncio.sleep(0)
        assert len(workers.passes) == 1
        two = await asked(made, Text("d"))
        workers.let_pass()
        await asyncio.gather(one, two)
        return workers.passes

    assert [sorted(texts) for texts in asyncio.run(ask())] == [["a", "b"], ["c", "d"]]


def test_the_length_of_texts_is_learnt_from_what_passes_had() -> None:
    async def ask() -> list[list[str]]:
        workers = Workers(closed=True)

        async def run(inputs: list[Text], _: tuple[str, ...]) -> Computed:
            computed = await workers.run(inputs)
            # A sub-word for every byte.
            return Computed(computed.outputs, [2 + len(one.text) for one in inputs], 0.0, "w")

        made = Batcher([Group(run, COST)], most=8, wait=0, patience=1e9)
        workers.let_pass(200)
        for _ in range(200):
            await made.answer([Text("x" * 100)])
        workers.passes.clear()
        busy = await asked(made, Text("busy"))
        while not workers.passes:
            await asyncio.sleep(0)
        # 22 sub-words each: by the first estimate all would fit into a pass of 60, by what was learnt none.
        rest = [await asked(made, Text("y" * 40)) for _ in range(2)]
        workers.let_pass(9)
        await asyncio.gather(busy, *rest)
        return workers.passes

    assert [len(texts) for texts in asyncio.run(ask())] == [1, 1, 1]


def test_of_unlike_groups_each_computes_by_its_own_costs() -> None:
    async def ask() -> tuple[list[Any], list[list[str]], list[list[str]]]:
        fast, slow = Workers(closed=True), Workers(closed=True)
        made = Batcher(
            # 60 sub-words are five such texts; 24 are two.
            [Group(slow.run, replace(COST, per_token=2, best_tokens=24)), Group(fast.run, COST)],
            most=8, wait=0, patience=1e9,
        )  # fmt: skip
        tasks = [await asked(made, letters("a", 10)) for _ in range(10)]
        await fast.begun.acquire()
        await slow.begun.acquire()
        there = len(fast.passes[0]), len(slow.passes[0])
        assert there == (1, 1)
        slow.let_pass(9)
        fast.let_pass(9)
        return await asyncio.gather(*tasks), fast.passes, slow.passes

    found, fast, slow = asyncio.run(ask())
    assert found == [[40]] * 10
    assert max(map(len, fast)) == 5
    assert max(map(len, slow)) <= 2
