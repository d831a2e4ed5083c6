"""What the client says when nobody answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

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


def test_waiting_ends_and_says_what_came_last(nobody: str) -> None:
    with pytest.raises(TimeoutError, match=r"not ready in 0\.3 s; .*Connection refused"):
        wait_until_ready(nobody, timeout=0.3)
