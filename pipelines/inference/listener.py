"""An HTTP server within a process that does other things too."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

import uvicorn

SECONDS_TO_END = 20
"""That requests have which are under way when it closes."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to, and with which certificate."""

    host: str
    port: int
    certificate: str | None = None
    """A PEM file; HTTP without one."""
    key: str | None = None
    certificate_ends: float | None = None
    """In seconds since 1970."""


class Listener:
    """Belongs to the event loop that opened it."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None]) -> None:
        self._server, self._task = server, task

    @classmethod
    async def open(cls, app: Any, where: Listen) -> Listener:
        """Returns when it listens.

        Raises:
            OSError: somebody else listens there.
        """
        family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((where.host, where.port))
        except OSError:
            bound.close()
            raise
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                # Requests are in the audit log; who serves is nobody's business.
                log_config=None, access_log=False, server_header=False, lifespan="off",
                timeout_graceful_shutdown=SECONDS_TO_END,
                ssl_certfile=where.certificate, ssl_keyfile=where.key,
            )
        )  # fmt: skip
        task = asyncio.get_running_loop().create_task(server.serve(sockets=[bound]))
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if task.done():
            task.result()
        return cls(server, task)

    @property
    def is_open(self) -> bool:
        return not self._task.done()

    async def close(self) -> None:
        """Take on nothing more, and return when what is under way has been answered."""
        self._server.should_exit = True
        await self._task
