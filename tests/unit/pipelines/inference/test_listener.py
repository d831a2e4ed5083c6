"""An HTTP server that begins and ends within a process."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest
from fastapi import FastAPI

from pipelines.inference.listener import Listen, Listener

pytestmark = pytest.mark.timeout(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_is_under_way_is_answered_before_it_closes() -> None:
    async def ask() -> str:
        app, inside, go = FastAPI(), asyncio.Event(), asyncio.Event()

        @app.get("/")
        async def slow() -> str:
            inside.set()
            await go.wait()
            return "answered"

        where = Listen("127.0.0.1", free_port())
        listener = await Listener.open(app, where)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{where.port}", trust_env=False) as client:
            asked = asyncio.create_task(client.get("/"))
            await inside.wait()
            closing = asyncio.create_task(listener.close())
            go.set()
            answer = await asked
            await closing
            assert not listener.is_open
            with pytest.raises(httpx.ConnectError):
                await client.get("/")
        return str(answer.json())

    assert asyncio.run(ask()) == "answered"


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    async def ask() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(OSError, match="in use"):
                await Listener.open(FastAPI(), Listen("127.0.0.1", taken.getsockname()[1]))

    asyncio.run(ask())
