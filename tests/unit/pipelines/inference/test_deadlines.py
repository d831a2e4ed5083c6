"""Deadlines, by every protocol. Times here are what is tested; nobody waits for them otherwise."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from pipelines.inference.api import create_api
from pipelines.inference.batcher import Batcher
from pipelines.inference.chat_turns import in_threads
from pipelines.inference.chat_writer import End, Message, Say
from pipelines.inference.class_predictor import Label, LabelPredictor
from pipelines.inference.groups import Computed, Group
from pipelines.inference.pass_cost import PassCost
from pipelines.inference.service import Limits
from pipelines.watch.watch import Watch
from tests.unit.pipelines.inference.conftest import by_version

pytestmark = pytest.mark.timeout(60)

COST = PassCost(fixed=10, per_token=0, per_square=0, best_tokens=60)
"""A pass takes ten seconds, as far as anybody knows."""
SOON = "0.02"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
BODIES: dict[str, Any] = {
    "/v1/predict": {"inputs": "x"},
    "/v2/models/m/infer": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}]},
    "/v1/explain": {"input": "x"},
    "/v1/chat/completions": CHAT,
}


class Chatty:
    """Writes until nobody listens any more."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def prompt(self, messages: Sequence[Message], most: int | None) -> tuple[list[int], int]:
        return [len(messages)], most or 9

    def write(self, prompt: Sequence[int], most: int, say: Say) -> End:
        while say("word "):
            # A sub-word takes a model some time, too.
            self.stopped.wait(0.001)
        self.stopped.set()
        return End(False, len(prompt) + most)


async def never(*_: Any) -> Any:
    await asyncio.Event().wait()


@asynccontextmanager
async def asking(
    answer: Callable[[list[Any]], Awaitable[list[Any | None]]] = never, *, seconds: float = 600, writer: Any = None
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_api(
        by_version(answer), LabelPredictor, model="m", version=lambda: "1", limits=Limits(4, 100, seconds),
        key_sha256=None, explain=never, write=in_threads(writer or Chatty()), watch=Watch(),
    )  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


def missed(metrics: str) -> dict[str, float]:
    lines = [line for line in metrics.splitlines() if line.startswith("motley_deadline_misses_total")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


@pytest.mark.parametrize("path", BODIES)
def test_what_takes_longer_than_its_caller_has_time_is_answered_504(path: str) -> None:
    async def ask() -> tuple[httpx.Response, str]:
        async with asking() as client:
            answer = await client.post(path, json=BODIES[path], headers={"Request-Timeout": SOON})
            return answer, (await client.get("/metrics")).text

    answer, metrics = asyncio.run(ask())
    error = answer.json()["error"]
    said = error["message"] if path == "/v1/chat/completions" else error
    assert answer.status_code == 504
    assert said.startswith("There was no whole answer within the 0.02 s that this request had")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert missed(metrics) == {"refused": 0, "passed": 1}
    assert f'motley_requests_total{{path="{path.replace("/m/", "/{name}/")}",status="504"}} 1.0' in metrics


@pytest.mark.parametrize("headers", [{}, {"Request-Timeout": "1000"}])
def test_no_request_has_more_time_than_the_endpoint_allows(headers: dict[str, str]) -> None:
    async def ask() -> int:
        async with asking(seconds=0.02) as client:
            return (await client.post("/v1/predict", json=BODIES["/v1/predict"], headers=headers)).status_code

    assert asyncio.run(ask()) == 504


@pytest.mark.parametrize("given", ["", "0", "-1", "soon", "nan", "inf", "1s"])
def test_what_is_no_number_of_seconds_is_refused(given: str) -> None:
    async def ask() -> httpx.Response:
        async with asking() as client:
            return await client.post("/v1/predict", json=BODIES["/v1/predict"], headers={"Request-Timeout": given})

    answer = asyncio.run(ask())
    assert answer.status_code == 400
    assert answer.json() == {"error": "Request-Timeout must be a number of seconds above 0, such as 0.5."}


class Workers:
    """One worker, which computes when the test lets it."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.begun, self.go = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.batcher = Batcher([Group(self.run, COST)], most=8, wait=0, patience=600)

    async def run(self, inputs: list[Any], _: tuple[str, ...]) -> Computed:
        self.passes.append([one.text for one in inputs])
        self.begun.release()
        await self.go.acquire()
        return Computed([Label("a", 0.5, {}) for _ in inputs], [3 for _ in inputs], 10, "w")


def test_what_is_over_while_it_waits_leaves_the_queue_before_it_costs_a_pass() -> None:
    async def ask() -> tuple[list[int], list[list[str]]]:
        workers = Workers()
        async with asking(workers.batcher.answer) as client:
            first = asyncio.create_task(client.post("/v1/predict", json={"inputs": "first"}))
            await workers.begun.acquire()
            late = await client.post("/v1/predict", json={"inputs": ["late"]}, headers={"Request-Timeout": SOON})
            assert workers.batcher.num_waiting == 0
            assert workers.batcher.seconds_waiting == 0
            workers.go.release()
            return [(await first).status_code, late.status_code], workers.passes

    assert asyncio.run(ask()) == ([200, 504], [["first"]])


def test_what_the_queue_leaves_no_time_for_is_refused_at_once_with_when_to_come_again() -> None:
    async def ask() -> tuple[httpx.Response, str, list[int]]:
        workers = Workers()
        async with asking(workers.batcher.answer) as client:

            async def predict(**headers: str) -> httpx.Response:
                return await client.post("/v1/predict", json={"inputs": "x"}, headers=headers)

            first = asyncio.create_task(predict())
            await workers.begun.acquire()
            waits = asyncio.create_task(predict())
            while not workers.batcher.num_waiting:
                await asyncio.sleep(0)
            refused = await predict(**{"Request-Timeout": "8"})
            has_time = asyncio.create_task(predict(**{"Request-Timeout": "30"}))
            while workers.batcher.num_waiting < 2:
                await asyncio.sleep(0)
            for _ in range(3):
                workers.go.release()
            others = [(await one).status_code for one in (first, waits, has_time)]
            return refused, (await client.get("/metrics")).text, others

    refused, metrics, others = asyncio.run(ask())
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    assert refused.json()["error"].startswith("10.0 s of work wait already, and this request has")
    assert missed(metrics) == {"refused": 1, "passed": 0}
    assert others == [200, 200, 200]


def test_a_stream_ends_with_an_error_and_the_model_stops_when_time_is_over() -> None:
    writer = Chatty()

    async def ask() -> tuple[httpx.Response, str]:
        async with asking(writer=writer) as client:
            headers = {"Request-Timeout": "0.2"}
            answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True}, headers=headers)
            assert await asyncio.to_thread(writer.stopped.wait, 30)
            return answer, (await client.get("/metrics")).text

    answer, metrics = asyncio.run(ask())
    *events, error, done = [one.removeprefix("data: ") for one in answer.text.split("\n\n") if one]
    assert (answer.status_code, done) == (200, "[DONE]")
    assert json.loads(events[-1])["choices"][0]["delta"] == {"content": "word "}
    assert json.loads(error)["error"]["message"].startswith("There was no whole answer within the 0.2 s")
    assert missed(metrics) == {"refused": 0, "passed": 1}
