"""The line between a front and a worker, over real connections."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from pipelines.inference.groups import WorkerLost
from pipelines.inference.predictor import Text
from pipelines.line.keys import LineKeys
from pipelines.line.line import SILENT, Line, PassFailed
from pipelines.line.messages import MOST_BYTES, Answered, Asked, Leaving, frame, plain, receive, typed
from pipelines.line.station import Station
from pipelines.traces.spans import UNTRACED, Traced

pytestmark = pytest.mark.timeout(60)

KEYS = LineKeys.new()
HOST = "127.0.0.1"


class Worker:
    """Answers each pass with its own inputs, when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.may: dict[str, asyncio.Event] = {}
        self.came = asyncio.Event()

    def let(self, uri: str) -> None:
        self.may.setdefault(uri, asyncio.Event()).set()

    async def compute(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        self.came.set()
        if asked.uri == "fails":
            raise KeyError("quotes a text")
        await self.may.setdefault(asked.uri, asyncio.Event()).wait()
        return Answered(asked.number, asked.inputs, [len(one or "") for one in asked.inputs], 0.25)

    async def has(self, number: int) -> None:
        while len(self.asked) < number:
            self.came.clear()
            await self.came.wait()


Check = Callable[[Worker, Station], Awaitable[None]]


def run(check: Check, *, loop: str = "uvloop") -> None:
    async def whole() -> None:
        worker = Worker()
        station = await Station.open(worker.compute, KEYS, host=HOST)
        await check(worker, station)
        for uri in [*worker.may]:
            worker.let(uri)
        await station.leave()

    (uvloop.run if loop == "uvloop" else asyncio.run)(whole())


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_answers_come_back_to_whoever_asked_in_any_order(loop: str) -> None:
    async def check(worker: Worker, station: Station) -> None:
        line = await Line.open(station.address, KEYS)
        first, second = (
            asyncio.create_task(line.ask(uri, [uri, "é\ud800", None], Traced("7", ("parent",)))) for uri in ("a", "b")
        )
        await worker.has(2)
        assert line.num_out == 2
        worker.let("b")
        assert (await second).outputs == ["b", "é\ud800", None]
        assert not first.done()
        worker.let("a")
        assert await first == Answered(0, ["a", "é\ud800", None], [1, 2, 0], 0.25)
        assert [(one.uri, one.version, one.traceparents) for one in worker.asked] == [
            ("a", "7", ["parent"]),
            ("b", "7", ["parent"]),
        ]
        assert line.num_out == 0
        line.close()

    run(check, loop=loop)


def test_a_pass_that_fails_fails_alone_and_its_error_says_no_text() -> None:
    async def check(worker: Worker, station: Station) -> None:
        line = await Line.open(station.address, KEYS)
        with pytest.raises(PassFailed, match=r"^KeyError$"):
            await line.ask("fails", [], UNTRACED)
        worker.let("a")
        assert (await line.ask("a", [], UNTRACED)).outputs == []
        assert line.takes_on
        line.close()

    run(check)


def test_what_a_worker_had_when_it_ended_is_lost_at_once() -> None:
    async def whole() -> None:
        accepted: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(
            lambda _, writer: accepted.append(writer), HOST, 0, ssl=KEYS.context(server=True)
        )
        ended: list[str] = []
        line = await Line.open(server.sockets[0].getsockname()[:2], KEYS, lambda: ended.append("ended"))
        asked = asyncio.create_task(line.ask("a", ["x"], UNTRACED))
        while not accepted or not line.num_out:
            await asyncio.sleep(0)
        accepted[0].transport.abort()
        with pytest.raises(WorkerLost):
            await asked
        assert ended == ["ended"]
        assert not line.takes_on
        with pytest.raises(WorkerLost):
            await line.ask("a", ["x"], UNTRACED)
        server.close()

    uvloop.run(whole())


def test_a_worker_that_leaves_answers_what_it_has_and_takes_on_nothing_more() -> None:
    async def check(worker: Worker, station: Station) -> None:
        told = asyncio.Event()
        line = await Line.open(station.address, KEYS, told.set)
        asked = asyncio.create_task(line.ask("a", ["x"], UNTRACED))
        await worker.has(1)
        leaving = asyncio.create_task(station.leave())
        await told.wait()
        assert not line.takes_on
        with pytest.raises(WorkerLost):
            await line.ask("a", ["x"], UNTRACED)
        assert not leaving.done()
        worker.let("a")
        assert (await asked).outputs == ["x"]
        await leaving
        with pytest.raises(ConnectionRefusedError):
            await Line.open(station.address, KEYS)

    run(check)


def test_whoever_does_not_have_the_keys_is_not_heard() -> None:
    async def check(worker: Worker, station: Station) -> None:
        with pytest.raises(ssl.SSLError):
            await Line.open(station.address, LineKeys.new())
        # Who does not look at the worker's certificate, and shows another one.
        other = LineKeys.new().context(server=False)
        other.verify_mode = ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(*station.address, ssl=other)
        writer.write(frame(Asked(0, "a", [], "", [])))
        with pytest.raises((ssl.SSLError, asyncio.IncompleteReadError, ConnectionError)):
            await receive(reader)
        # Who speaks no TLS at all.
        reader, writer = await asyncio.open_connection(*station.address)
        writer.write(frame(Asked(0, "a", [], "", [])))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
            await receive(reader)
        writer.close()
        assert worker.asked == []

    run(check)


@pytest.mark.parametrize(
    "sent",
    [
        (MOST_BYTES + 1).to_bytes(4, "big"),
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x01{",
        b"\x00\x00\x00\x02\xff\xff",
        frame(Leaving()),
        frame(Answered(0, [], [], 0.0)),
    ],
)
def test_what_is_no_question_closes_the_line(sent: bytes) -> None:
    async def check(worker: Worker, station: Station) -> None:
        reader, writer = await asyncio.open_connection(*station.address, ssl=KEYS.context(server=False))
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()
        line = await Line.open(station.address, KEYS)
        worker.let("a")
        assert (await line.ask("a", [], UNTRACED)).outputs == []
        line.close()

    run(check)


def test_a_question_from_a_worker_closes_the_line() -> None:
    async def whole() -> None:
        async def asks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(frame(Asked(0, "a", [], "", [])))

        server = await asyncio.start_server(asks, HOST, 0, ssl=KEYS.context(server=True))
        ended = asyncio.Event()
        line = await Line.open(server.sockets[0].getsockname()[:2], KEYS, ended.set)
        await ended.wait()
        assert not line.takes_on
        server.close()

    uvloop.run(whole())


def test_the_system_ends_a_line_to_a_node_that_is_silent() -> None:
    """As far as a test without a second machine can see it: that the system was asked to."""

    async def check(worker: Worker, station: Station) -> None:  # noqa: ARG001
        line = await Line.open(station.address, KEYS)
        connection = line._writer.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count = (
            connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        )
        assert idle + interval * count == SILENT
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SILENT * 1000
        line.close()

    run(check)


def test_keys_are_not_shown() -> None:
    assert repr(KEYS) == "LineKeys(...)"
    assert KEYS.key not in repr([KEYS]).encode()


def test_too_long_a_message_is_not_sent() -> None:
    with pytest.raises(ValueError, match="longer than the"):
        frame(Asked(0, "a", ["x" * (MOST_BYTES + 1)], "", []))


def test_numbers_that_are_none_come_back_as_they_went() -> None:
    async def whole() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(frame(Answered(0, [math.inf, -math.inf, math.nan, 0.1], [], 0.0)))
        found = await receive(reader)
        assert isinstance(found, Answered)
        assert found.outputs[:2] == [math.inf, -math.inf]
        assert math.isnan(found.outputs[2])
        assert found.outputs[3] == 0.1

    asyncio.run(whole())


def test_values_keep_their_kind() -> None:
    sent = [Text("a"), None, Text("")]
    assert typed(plain(sent, Text), Text) == sent
    with pytest.raises(ValueError, match="text"):
        typed([{"other": 1}], Text)
