"""A front's lines to its workers, over real connections, and what Ray Serve is told of the passes on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
import uvloop
from ray.serve.exceptions import BackPressureError

from cluster.crowd import Crowd, Present
from cluster.demand import TICK, tell_demand
from cluster.lines import Lines
from pipelines.inference.groups import WorkerLost
from pipelines.line.keys import LineKeys
from pipelines.line.line import PassFailed
from pipelines.line.messages import Answered, Asked
from pipelines.line.station import Station
from pipelines.traces.spans import UNTRACED

pytestmark = pytest.mark.timeout(60)

KEYS = LineKeys.new()


class Worker:
    """Answers when it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.came = asyncio.Semaphore(0)

    async def compute(self, asked: Asked) -> Answered:
        self.came.release()
        await self.may.wait()
        if asked.uri == "fails":
            raise ValueError
        return Answered(asked.number, asked.inputs, [], 0.0)

    async def open(self) -> Station:
        return await Station.open(self.compute, KEYS, host="127.0.0.1")


def run(whole: Callable[[], Coroutine[None, None, None]]) -> None:
    uvloop.run(whole())


def test_each_pass_goes_to_the_worker_of_its_group_that_has_the_fewest() -> None:
    async def whole() -> None:
        crowd, workers = Crowd(), [Worker() for _ in range(3)]
        lines, stations = Lines(KEYS, crowd), [await worker.open() for worker in workers]
        for n, station in enumerate(stations):
            lines.hear(Present(str(n), (), group=n // 2, listens=station.address))
        asked = [asyncio.create_task(lines.ask(0, "a", [n], UNTRACED)) for n in range(4)]
        for worker in workers[:2]:
            for _ in range(2):
                await worker.came.acquire()
        assert (lines.num_asked(0), lines.num_asked(1)) == (4, 0)
        for worker in workers:
            worker.may.set()
        found = await asyncio.gather(*asked)
        assert [found.outputs for _, found in found] == [[0], [1], [2], [3]]
        assert sorted(name for name, _ in found) == ["0", "0", "1", "1"]
        assert (await lines.ask(1, "a", [], UNTRACED))[0] == "2"
        assert (lines.num_asked(0), lines.num_asked(1)) == (0, 0)
        for station in stations:
            await station.leave()

    run(whole)


def test_a_pass_waits_for_the_first_worker_that_comes() -> None:
    async def whole() -> None:
        lines, worker = Lines(KEYS, Crowd()), Worker()
        worker.may.set()
        asked = asyncio.create_task(lines.ask(0, "a", ["x"], UNTRACED))
        while not lines.num_asked(0):
            await asyncio.sleep(0)
        station = await worker.open()
        lines.hear(Present("other", (), group=1, listens=station.address))
        lines.hear(Present("one", (), listens=station.address))
        # It says every second that it is there.
        lines.hear(Present("one", (), listens=station.address))
        assert (await asked)[0] == "one"
        assert len(worker_lines(lines)) == 2
        await station.leave()

    run(whole)


def worker_lines(lines: Lines) -> list[str]:
    return [*lines._lines, *lines._opening]


def test_one_that_leaves_or_fails_is_told_and_one_that_left_is_not_counted() -> None:
    async def whole() -> None:
        crowd, worker, failed = Crowd(), Worker(), list[str]()
        lines, station = Lines(KEYS, crowd, failed=failed.append), await worker.open()
        present = Present("one", (), listens=station.address)
        crowd.hear(present)
        lines.hear(present)
        under_way = [asyncio.create_task(lines.ask(0, uri, ["x"], UNTRACED)) for uri in ("a", "fails")]
        for _ in under_way:
            await worker.came.acquire()
        leaving = asyncio.create_task(station.leave())
        while crowd.number(0):
            await asyncio.sleep(0)
        worker.may.set()
        await leaving
        assert (await under_way[0])[1].outputs == ["x"]
        with pytest.raises(PassFailed):
            await under_way[1]
        assert failed == ["one"]
        assert worker_lines(lines) == []

    run(whole)


def test_one_that_cannot_be_reached_is_tried_again_when_it_says_that_it_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def whole() -> None:
        lines, worker = Lines(KEYS, Crowd()), Worker()
        worker.may.set()
        gone = await worker.open()
        await gone.leave()
        lines.hear(Present("one", (), listens=gone.address))
        while worker_lines(lines):
            await asyncio.sleep(0)
        station = await worker.open()
        lines.hear(Present("one", (), listens=station.address))
        assert (await lines.ask(0, "a", [], UNTRACED))[0] == "one"
        await station.leave()

    run(whole)
    assert "Worker one cannot be reached at 127.0.0.1:" in caplog.text


def test_a_lost_worker_is_told_by_its_name() -> None:
    async def whole() -> None:
        failed = list[str]()
        lines, worker = Lines(KEYS, Crowd(), failed=failed.append), Worker()
        station = await worker.open()
        lines.hear(Present("one", (), listens=station.address))
        asked = asyncio.create_task(lines.ask(0, "a", [], UNTRACED))
        await worker.came.acquire()
        for writer in station._writers:
            writer.transport.abort()
        with pytest.raises(WorkerLost):
            await asked
        assert failed == ["one"]
        worker.may.set()
        await station.leave()

    run(whole)


class Handle:
    """Of a group of workers, as Ray Serve has it."""

    def __init__(self) -> None:
        self.busy = self
        self.calls: list[asyncio.Future[None]] = []
        self.seconds: list[float] = []

    def remote(self, seconds: float) -> asyncio.Future[None]:
        self.seconds.append(seconds)
        self.calls.append(call := asyncio.get_running_loop().create_future())
        return call

    @property
    def num_open(self) -> int:
        return sum(not call.done() for call in self.calls)


def test_ray_serve_sees_as_many_calls_as_there_are_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeping: list[asyncio.Event] = []
    real = asyncio.sleep

    async def settle() -> None:
        """Until all has happened that need not wait."""
        for _ in range(5):
            await real(0)

    async def look() -> None:
        """The next time that passes are counted."""
        for event in [*sleeping]:
            event.set()
        sleeping.clear()
        await settle()

    async def sleep(seconds: float) -> None:
        assert seconds == TICK
        sleeping.append(event := asyncio.Event())
        await event.wait()

    async def whole() -> None:
        handle, passes = Handle(), 0
        monkeypatch.setattr("cluster.demand.asyncio.sleep", sleep)
        telling = asyncio.create_task(tell_demand(handle, lambda: passes, 3))
        await settle()
        assert handle.calls == []
        passes = 2
        await look()
        # Without a worker they wait, and are not made again.
        await look()
        assert (handle.num_open, len(handle.calls)) == (2, 2)
        # One that is over is followed by another at once, so that Ray Serve sees no gap.
        handle.calls[0].set_result(None)
        await settle()
        assert (handle.num_open, len(handle.calls)) == (2, 3)
        # Lost with its worker.
        handle.calls[1].set_exception(BackPressureError(num_queued_requests=1, max_queued_requests=1))
        await settle()
        assert handle.num_open == 1
        passes = 4
        await look()
        assert (handle.num_open, len(handle.calls)) == (3, 5)
        passes = 0
        for call in handle.calls[2:]:
            call.set_result(None)
        await look()
        assert handle.num_open == 0
        assert set(handle.seconds) == {TICK}
        telling.cancel()

    asyncio.run(whole())
