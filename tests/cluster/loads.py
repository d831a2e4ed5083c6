"""An endpoint, and clients who ask it until they are told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import ray
from ray import serve

from cluster.endpoint import APPLICATION, options, running
from cluster.lanes import Served
from pipelines.config import Config

TEXTS = ["John Smith was in Berlin .", "a text without names " * 20]


@contextmanager
def served(model: str, config: Config) -> Iterator[str]:
    """Yields its address."""
    chosen = options(config, model, key=None)
    try:
        with running(chosen, config.serve) as url:
            yield url
    finally:
        serve.shutdown()


class Load:
    """Some clients who ask until they are told to stop; what they were answered."""

    def __init__(self, url: str, *, clients: int) -> None:
        self.statuses: list[int | str] = []
        self.versions: list[str] = []
        self._url, self._over = url, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._over.is_set():
                try:
                    answer = client.post("/v1/predict", json={"inputs": TEXTS})
                    self.versions.append(answer.json().get("version", ""))
                    self.statuses.append(answer.status_code)
                except httpx.HTTPError as error:
                    self.statuses.append(type(error).__name__)

    def answered(self, more: int) -> None:
        """Returns when so many more have been."""
        wanted = len(self.statuses) + more
        until(lambda: len(self.statuses) >= wanted)


def until(true: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def workers() -> list[int]:
    """The process ids of those that are alive."""
    # The public list of actors needs the dashboard.
    alive = [one for one in ray._private.state.actors().values() if one["State"] == "ALIVE"]
    return [one["Pid"] for one in alive if f"{APPLICATION}#Worker" in one["Name"]]


def computed() -> Served:
    """What the front had computed."""
    answer: Served = serve.get_app_handle(APPLICATION).served.remote().result(timeout_s=30)
    return answer
