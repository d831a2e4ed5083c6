"""An endpoint whose HTTP interface, guard, keys and watch are the real ones, in front of workers that only sleep.

Loading a model for every cause would take minutes and prove nothing of an alert; that a real model's workers tell the
watch the same is for the tests of the endpoint.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import HTTPException

from pipelines.inference.access import Access
from pipelines.inference.api import create_api
from pipelines.inference.class_predictor import Label, LabelPredictor, TextOrPair
from pipelines.inference.service import Limits
from pipelines.watch.baseline import Baseline, Binned, Named
from pipelines.watch.state import ServedVersion, State
from pipelines.watch.watch import Passed, Watch
from tests.unit.pipelines.inference.conftest import by_version

VERSION = "1"
LIMIT = 2.0
"""Seconds of work that may wait."""
LABELS = ("fine", "positive", "negative", "fraud")
WANTED = 2
USUAL = (
    "fine a b c d",
    "positive a b c",
    "fine a b c d e",
    "fine a b c",
    "positive a b c d",
    "fine a b",
    "negative a b c",
)
"""Texts as they usually come; the first word is the label, `unsure` lowers the score, and on `bad` the model fails."""


class Workers:
    """What takes the model's place: as many passes at once as there are workers, each as long as it is told to be."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.ready, self.seconds, self.faults = WANTED, 0.002, 0
        """`faults`: passes that are still to fail on the first worker."""
        self._busy, self._waiting = 0, 0
        for worker in range(WANTED):
            watch.worker_started(str(worker))

    async def answer(self, inputs: list[Any]) -> list[Any | None]:
        if self.waiting_seconds > LIMIT:
            raise HTTPException(503, "Too much waits.", {"Retry-After": "1"})
        begin = time.monotonic()
        self._waiting += 1
        try:
            while self._busy >= self.ready:
                await asyncio.sleep(0.005)
        finally:
            self._waiting -= 1
        self._busy += 1
        try:
            started = time.monotonic()
            if self.faults:
                self.faults -= 1
                self._watch.worker_failed("0")
                self._watch.pass_retried()
                self._watch.worker_started("0")
            await asyncio.sleep(self.seconds)
        finally:
            self._busy -= 1
        lengths = tuple(len(given.text.split()) for given in inputs)
        outputs = [None if "bad" in given.text else _label(given) for given in inputs]
        self._watch.passed(Passed(VERSION, "1", lengths, started - begin, time.monotonic() - started))
        self._watch.answered(VERSION, lengths, outputs)
        return outputs

    @property
    def waiting_seconds(self) -> float:
        return self._waiting * self.seconds / max(1, self.ready)

    def state(self, certificate_ends: float | None) -> State:
        return State(
            waiting_inputs=self._waiting,
            waiting_seconds=self.waiting_seconds,
            limit_seconds=LIMIT,
            workers=self.ready,
            workers_wanted=WANTED,
            versions=(ServedVersion(VERSION, "current", 1.0),),
            certificate_ends=certificate_ends,
        )


class Endpoint:
    """Listens in a thread of its own; may be stopped and started again at the same address."""

    def __init__(self, port: int, keys: Path) -> None:
        self.port, self._keys = port, keys
        self.certificate_ends: Callable[[], float | None] = lambda: None
        self.workers: Workers
        self.watch: Watch
        self.start()

    def start(self) -> None:
        # The window is as small as everything else is short.
        watch = self.watch = Watch(window=300, fewest=100)
        watch.serves(VERSION, _baseline())
        workers = self.workers = Workers(watch)
        watch.follow(lambda: workers.state(self.certificate_ends()))
        app = create_api(
            by_version(workers.answer, VERSION),
            LabelPredictor,
            model="alerts",
            version=lambda: VERSION,
            limits=Limits(max_inputs=100, max_characters=1000),
            key_sha256=None,
            access=Access(keys=str(self._keys)),
            watch=watch,
        )
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), f"the endpoint cannot listen on port {self.port}"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(timeout=10)


def _label(given: TextOrPair) -> Label:
    word = given.text.split()[0]
    return Label(word if word in LABELS else "fine", 0.3 if "unsure" in given.text else 0.9, {})


def _baseline() -> Baseline:
    texts = USUAL * 20
    return Baseline(
        len(texts),
        Binned.of([len(text.split()) for text in texts]),
        Binned.of([0.9] * len(texts)),
        Named.of([text.split()[0] for text in texts]),
    )
