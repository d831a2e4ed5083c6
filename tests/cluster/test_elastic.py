"""Workers that come, go and end while requests come in."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from ray import serve

from cluster.endpoint import APPLICATION, options, running
from cluster.lanes import Served
from pipelines.config import Config
from pipelines.serve_settings import ScaleConfig, ServeConfig
from tests.unit.pipelines.inference.conftest import make_model_folder

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]

TEXTS = ["John Smith was in Berlin .", "a text without names " * 20]


@contextmanager
def served(folder: Path, settings: ServeConfig) -> Iterator[str]:
    chosen = options(Config(serve=settings), str(folder), key=None)
    try:
        with running(chosen, settings) as url:
            yield url
    finally:
        serve.shutdown()


class Load:
    """Some clients who ask until they are told to stop; what they were answered."""

    def __init__(self, url: str, *, clients: int) -> None:
        self.statuses: list[int | str] = []
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
                    self.statuses.append(client.post("/v1/predict", json={"inputs": TEXTS}).status_code)
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


def test_no_request_fails_when_workers_are_killed(tmp_path: Path) -> None:
    settings = ServeConfig(port=0, auth="none", replicas=2, cpus_per_replica=0.5)
    folder = make_model_folder(tmp_path / "tiny")
    with served(folder, settings) as url, Load(url, clients=4) as load:
        load.answered(20)
        for _ in range(2):
            until(lambda: len(workers()) == 2)
            # In the middle of a pass, as likely as not.
            os.kill(workers()[0], signal.SIGKILL)
            load.answered(50)
        front: Served = serve.get_app_handle(APPLICATION).served.remote().result(timeout_s=30)
    assert set(load.statuses) == {200}
    assert front.num_inputs >= 2 * (len(load.statuses) - 4)


def test_workers_come_with_the_load_and_all_go_without(tmp_path: Path) -> None:
    scale = ScaleConfig(least=0, most=2, up_after=1, down_after=2)
    settings = ServeConfig(port=0, auth="none", scale=scale, cpus_per_replica=0.5, max_batch_size=2)
    folder = make_model_folder(tmp_path / "tiny")
    with served(folder, settings) as url:
        until(lambda: len(workers()) == 0)
        with Load(url, clients=12) as load:
            until(lambda: len(workers()) == 2)
            load.answered(20)
        until(lambda: len(workers()) == 0)
        assert httpx.post(f"{url}/v1/predict", json={"inputs": TEXTS}, timeout=60, trust_env=False).status_code == 200
    assert set(load.statuses) == {200}
