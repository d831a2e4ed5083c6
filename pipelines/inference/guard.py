"""The door of the endpoint: who may come in, and how much they may carry. Before anything is read."""

from __future__ import annotations

import hmac
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = frozenset({"/healthz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}) | {
    *("/", "/page.css", "/page.js", "/v1/about"),
    *("/v2", "/v2/health/live", "/v2/health/ready"),
}
"""Paths that need no credential; every other path does."""


def hash_key(key: str) -> str:
    """What a deployment is given in the key's place."""
    return sha256(key.encode()).hexdigest()


class Guard:
    """ASGI middleware that answers 401 without the key, and 413 to a body over `max_bytes`."""

    def __init__(self, app: ASGIApp, *, key_sha256: str | None, max_bytes: int) -> None:
        self._app = app
        self._key_sha256 = key_sha256
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No websocket is served, so none comes past the key; lifespan is the server's own.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["path"] not in OPEN and not self._knows(headers.get("authorization", "")):
            refusal = JSONResponse(
                {"error": "Send the endpoint's key as the header Authorization: Bearer KEY."},
                401,
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal(scope, receive, send)
            return
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            await JSONResponse({"error": self._too_large()}, 413)(scope, receive, send)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise HTTPException(413, self._too_large())
            return message

        await self._app(scope, bounded, send)

    def _knows(self, header: str) -> bool:
        if self._key_sha256 is None:
            return True
        scheme, _, key = header.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(hash_key(key.strip()), self._key_sha256)

    def _too_large(self) -> str:
        return f"The body is over {self._max_bytes} bytes; send fewer or shorter texts in one request."
