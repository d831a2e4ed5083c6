"""An endpoint, and clients who ask it until they are told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Answer:
    at: float
    """Seconds since the load began."""
    took: float
    status: int | str
    """Of HTTP, or the name of the error that there was instead."""
    version: str


class Load:
    """Some clients who ask until they are told to stop; what they were answered."""

    def __init__(self, url: str, *, clients: int, inputs: Sequence[str | list[str]] = (TEXTS,)) -> None:
        """
        Args:
            inputs: of the requests, which the clients take in turn.
        """
        self.answers: list[Answer] = []
        self._url, self._inputs, self._clients = url, inputs, clients
        self._over, self._begin = threading.Event(), time.perf_counter()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(120)

    @property
    def now(self) -> float:
        """Seconds since the load began."""
        return time.perf_counter() - self._begin

    @property
    def statuses(self) -> set[int | str]:
        return {one.status for one in self.answers}

    def answered(self, more: int) -> None:
        """Returns when so many more have been."""
        wanted = len(self.answers) + more
        until(lambda: len(self.answers) >= wanted)

    def _ask(self, turn: int) -> None:
        with httpx.Client(base_url=self._url, timeout=120, trust_env=False) as client:
            while not self._over.is_set():
                begin = self.now
                status: int | str
                version = ""
                try:
                    answer = client.post("/v1/predict", json={"inputs": self._inputs[turn % len(self._inputs)]})
                    status, version = answer.status_code, answer.json().get("version", "")
                except (httpx.HTTPError, ValueError) as error:
                    status = type(error).__name__
                self.answers.append(Answer(self.now, self.now - begin, status, version))
                turn += self._clients


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


def stages() -> list[int]:
    """The process ids of those that are alive, of all models that are cut."""
    alive = [one for one in ray._private.state.actors().values() if one["State"] == "ALIVE"]
    return [one["Pid"] for one in alive if one["ActorClassName"] == "StageShell"]


def computed() -> Served:
    """What the front had computed."""
    answer: Served = serve.get_app_handle(APPLICATION).served.remote().result(timeout_s=30)
    return answer
