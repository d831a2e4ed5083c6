"""The door of the endpoint: who may come in, for what, how often, and with how much. Before anything is read.

    request --> CORS --> who? --> for what? --> how often? --> how much? --> the interface
                          401        403           429           413
                          503                      503

Every answer, also these, gets the security headers and a line in the audit log; and a request its trace.
"""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.inference.audit import Entry, entered, moment, note_caller, record
from pipelines.inference.credentials import HOW, Caller, Credentials, Refused, Right, Unavailable, who_is
from pipelines.inference.deadlines import REQUEST_TIMEOUT
from pipelines.inference.limits import Buckets, Leases
from pipelines.inference.problems import problem
from pipelines.traces.spans import Parent, child, mark_failed
from pipelines.traces.traces import Traces

OPEN = frozenset({"/healthz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}) | {
    *("/", "/page.css", "/page.js", "/v1/about"),
    *("/v2", "/v2/health/live", "/v2/health/ready"),
}
"""Paths that need no credential; every other path does."""
NEEDED: Mapping[str, Right] = {"/v1/explain": "explain", "/metrics": "metrics", "/admin": "admin"}
"""The scope that a path and what is below it needs; `predict` where nothing is said."""
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
# A header of its own beside one that a page may have: browsers obey all of them.
NO_FRAMES = "frame-ancestors 'none'"
HSTS = "max-age=31536000"
REQUEST_ID = "X-Request-ID"
TRACEPARENT, TRACERESPONSE = "traceparent", "traceresponse"
"""W3C Trace Context: the trace that a request belongs to, and where its answer says so."""
METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Another method is whatever somebody wrote."""
SECONDS_UNAVAILABLE = 5
"""When to ask again after 503."""


def _alone() -> Leases:
    return Leases(Buckets().ask)


@dataclass(frozen=True, slots=True)
class Door:
    """What stands between the network and the interface."""

    credentials: Sequence[Credentials] = ()
    """The ways to prove who asks; without any everybody may do everything."""
    limiter: Leases = field(default_factory=_alone)
    cors: Sequence[str] = ()
    """Origins whose pages may ask."""
    tls: bool = False
    """Whether what answers here is reached by HTTPS only."""


def needs(path: str) -> Right:
    """The scope that a path needs."""
    for prefix, right in NEEDED.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return right
    return "predict"


class Guard:
    """ASGI middleware that lets in whom the door is for, with at most `max_bytes`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        door: Door,
        max_bytes: int,
        wall: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        told: Callable[[Entry], None] = lambda _: None,
        traces: Traces | None = None,
    ) -> None:
        """
        Args:
            told: gets every request when it is over, also one that was refused here.
            traces: where each gets a span; none does without.
        """
        self._app, self._door, self._max_bytes, self._traces = app, door, max_bytes, traces
        self._wall, self._ticks, self._told = wall, ticks, told
        self._headers = SECURITY | ({"Strict-Transport-Security": HSTS} if door.tls else {})
        self._inner: ASGIApp = self._guarded
        if door.cors:
            # Outside, so that a page can read why it is refused, and ask beforehand without a key.
            self._inner = CORSMiddleware(
                self._guarded,
                allow_origins=door.cors,
                allow_methods=("GET", "POST"),
                allow_headers=("Authorization", REQUEST_ID, REQUEST_TIMEOUT, TRACEPARENT),
                expose_headers=(REQUEST_ID, TRACERESPONSE, "Retry-After", "RateLimit", "RateLimit-Policy"),
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No websocket is served, so none comes past the key; lifespan is the server's own.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        given = asked.get(REQUEST_ID, "")
        known = re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) is not None
        entry = Entry(moment(self._wall()), given if known else uuid.uuid4().hex, method=scope["method"][:16])
        begin = self._ticks()
        tracing: AbstractContextManager[Parent | None] = nullcontext()
        if self._traces is not None:
            tracing = self._traces.request(asked.get(TRACEPARENT, ""))

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers.append("Content-Security-Policy", NO_FRAMES)
                # Whoever sent one knows it, and Ray Serve's proxy, which gives every request one, answers it itself.
                if not known:
                    headers[REQUEST_ID] = entry.request
                if parent is not None:
                    headers[TRACERESPONSE] = parent.traceparent
            await send(message)

        with tracing as parent, entered(entry):
            entry.trace = None if parent is None else parent.trace_id
            try:
                await self._inner(scope, receive, marked)
            except Exception:
                if entry.status is None:
                    text = f"The endpoint failed; its log says why. Report the request's id {entry.request}."
                    await JSONResponse(problem(text), 500)(scope, receive, marked)
                # Whoever runs the interface logs it.
                raise
            finally:
                entry.path, entry.milliseconds = _own_path(scope), round(1000 * (self._ticks() - begin), 3)
                record(entry)
                self._told(entry)
                if parent is not None:
                    _describe(parent, entry)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        policy: dict[str, str] = {}
        try:
            if self._door.credentials and (path := _path(scope)) not in OPEN:
                with child("admission"):
                    caller = await self._admitted(headers.get("authorization", ""))
                    note_caller(caller.who)
                    _check_scope(caller, needs(path))
                    policy = await self._count(caller)
            announced = headers.get("content-length", "")
            if announced.isdecimal() and (len(announced) > 18 or int(announced) > self._max_bytes):
                raise HTTPException(413, self._too_large())
        except HTTPException as refusal:
            body = problem(refusal.detail)
            await JSONResponse(body, refusal.status_code, refusal.headers)(scope, receive, send)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise HTTPException(413, self._too_large())
            return message

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(policy)
            await send(message)

        await self._app(scope, bounded, told)

    async def _admitted(self, header: str) -> Caller:
        scheme, _, text = header.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or not text:
            raise HTTPException(401, HOW, {"WWW-Authenticate": "Bearer"})
        try:
            return await who_is(text, self._door.credentials)
        except Refused as refused:
            challenge = 'Bearer error="invalid_token"'
            raise HTTPException(401, str(refused), {"WWW-Authenticate": challenge}) from None
        except Unavailable as trouble:
            raise _unavailable(trouble) from None

    async def _count(self, caller: Caller) -> dict[str, str]:
        """The headers that tell a caller what the limit is (draft-ietf-httpapi-ratelimit-headers)."""
        if (rate := caller.rate) is None:
            return {}
        policy = {"RateLimit-Policy": f'"key";q={rate.amount};w={rate.seconds}'}
        try:
            wait = math.ceil(await self._door.limiter.take(caller.who, rate))
        except Unavailable as trouble:
            raise _unavailable(trouble) from None
        if wait > 0:
            text = f"This key may ask {rate.amount} times in {rate.seconds} s; ask again in {wait} s."
            raise HTTPException(429, text, policy | {"RateLimit": f'"key";r=0;t={wait}', "Retry-After": str(wait)})
        return policy

    def _too_large(self) -> str:
        return f"The body is over {self._max_bytes} bytes; send fewer or shorter texts in one request."


def _describe(parent: Parent, entry: Entry) -> None:
    """Give a request's span what the audit log has of it, but for who asked and what callers choose freely."""
    method = entry.method if entry.method in METHODS else "_OTHER"
    parent.span.update_name(method if entry.path is None else f"{method} {entry.path}")
    told = {
        "http.request.method": method,
        "http.route": entry.path,
        "http.response.status_code": entry.status,
        "motley.inputs": entry.inputs,
        "motley.characters": entry.characters,
    }
    parent.span.set_attributes({name: value for name, value in told.items() if value is not None})
    if entry.status is None or entry.status >= 500:
        mark_failed(parent.span, "gone" if entry.status is None else str(entry.status))


def _check_scope(caller: Caller, right: Right) -> None:
    if right not in caller.scopes:
        challenge = f'Bearer error="insufficient_scope", scope="{right}"'
        text = f"This needs the scope {right}, which your key or token lacks; ask for one that has it."
        raise HTTPException(403, text, {"WWW-Authenticate": challenge})


def _unavailable(trouble: Unavailable) -> HTTPException:
    text = f"The endpoint can let nobody in just now: {trouble}. Ask again in {SECONDS_UNAVAILABLE} s."
    return HTTPException(503, text, {"Retry-After": str(SECONDS_UNAVAILABLE)})


def _path(scope: Scope) -> str:
    """As the interface's routes have it, without the prefix that the application is served under."""
    root, path = scope.get("root_path", ""), str(scope["path"])
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _own_path(scope: Scope) -> str | None:
    """The route that was or would be taken; None for a path that is none of the interface's."""
    if (route := scope.get("route")) is not None:
        return getattr(route, "path", None)
    path = _path(scope)
    return path if path in {getattr(route, "path", None) for route in scope["app"].routes} else None
