"""The page at `/` where a person tries the model: three files that ask nobody but this endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.responses import Response

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""What the page may load and do; the guard says what holds of every answer."""


def add_routes(app: FastAPI) -> None:
    """Read once: a replica needs no disk to show them."""
    folder = files("pipelines.inference") / "web"
    for path, (name, kind) in FILES.items():
        shown = _shown((folder / name).read_bytes(), kind)
        app.add_route(path, shown, methods=["GET", "HEAD"], include_in_schema=False)


def _shown(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def show(_: Request) -> Response:
        return Response(content, media_type=kind, headers={"Content-Security-Policy": POLICY})

    return show
