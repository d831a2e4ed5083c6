"""What the client says when nobody answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipelines.errors import UserError
from pipelines.inference.client import predict_once, wait_until_ready

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, kept from others by a socket that is bound to it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_nobody_there_is_an_error_with_the_address(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy that would not answer either: the loopback is asked directly.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=rf"Nobody answered at {nobody} .*Connection refused.*Is the model served"):
        predict_once(nobody, "key", ["x"], timeout=5)


def test_the_endpoint_is_told_how_long_it_is_waited_for() -> None:
    told = list[str | None]()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            told.append(self.headers["Request-Timeout"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"outputs": []}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        assert predict_once(f"http://127.0.0.1:{server.server_port}", "key", ["x"], timeout=12.5) == []
        answering.join()
    assert told == ["12.5"]


def test_waiting_ends_and_says_what_came_last(nobody: str) -> None:
    with pytest.raises(TimeoutError, match=r"not ready in 0\.3 s; .*Connection refused"):
        wait_until_ready(nobody, timeout=0.3)
