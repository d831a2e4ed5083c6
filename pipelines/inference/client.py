"""Ask a served model, with nothing but the standard library."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from pipelines.errors import UserError

SECONDS_BETWEEN_TRIES = 0.1


@dataclass(frozen=True, slots=True)
class Ready:
    """Which model answers."""

    model: str
    version: str


def predict_once(
    url: str, key: str | None, inputs: Sequence[str | Mapping[str, Any]], *, timeout: float = 30
) -> list[dict[str, Any]]:
    """The output for every input, from the endpoint at `url` (`http://HOST:PORT`).

    Args:
        timeout: seconds to wait, which the endpoint is told: it computes nothing that nobody waits for.

    Raises:
        UserError: nobody answers there in `timeout` seconds, or the endpoint refuses (its reason is repeated).
    """
    headers = {"Content-Type": "application/json", "Request-Timeout": f"{timeout:g}"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    body = json.dumps({"inputs": list(inputs)}).encode()
    try:
        reply = _ask(Request(f"{url.rstrip('/')}/v1/predict", data=body, headers=headers), timeout)
    except HTTPError as error:
        with error:
            raise UserError(f"The endpoint {url} refused: {error.code}, {_reason(error)}") from None
    except (URLError, TimeoutError) as error:
        raise UserError(f"Nobody answered at {url} in {timeout:g} s: {_why(error)}. Is the model served?") from None
    outputs: list[dict[str, Any]] = reply["outputs"]
    return outputs


def wait_until_ready(url: str, *, timeout: float = 60) -> Ready:
    """Wait for the endpoint at `url` to say that it is well.

    Raises:
        TimeoutError: it has not, in `timeout` seconds; the message has the last answer.
    """
    deadline = time.monotonic() + timeout
    last = "no answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            health = _ask(Request(f"{url.rstrip('/')}/healthz"), min(left, 5))
            return Ready(health["model"], health["version"])
        except HTTPError as error:
            error.close()
            last = f"status {error.code}"
        except (URLError, TimeoutError, ConnectionError) as error:
            last = _why(error)
        time.sleep(SECONDS_BETWEEN_TRIES)
    raise TimeoutError(f"The endpoint {url} was not ready in {timeout:g} s; the last try got: {last}.")


def _ask(request: Request, timeout: float) -> Any:
    with _opener(request.full_url).open(request, timeout=timeout) as response:
        return json.load(response)


def _opener(url: str) -> OpenerDirector:
    """A proxy cannot reach this machine's own loopback, whatever the environment says."""
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return build_opener(ProxyHandler({})) if local else build_opener()


def _reason(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error or type(error).__name__)
