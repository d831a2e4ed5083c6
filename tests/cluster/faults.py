"""What is done to the actors of a run, and after which step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from cluster.driver import Driver, StopRequest
from cluster.one_replica import OneReplica
from cluster.replicas import Replicas
from pipelines.config import Config
from tests.cluster.watcher import Watcher

Find = Callable[[Driver], Any]
"""The actor that it is done to."""


def stage(number: int, *, replica: int = 0) -> Find:
    def find(driver: Driver) -> Any:
        fleet = driver._fleet
        if isinstance(fleet, OneReplica):
            return fleet._crew._stages[number]
        assert isinstance(fleet, Replicas)
        return fleet._crews[replica]._stages[number]

    return find


def server(number: int) -> Find:
    def find(driver: Driver) -> Any:
        assert isinstance(driver._fleet, Replicas)
        return driver._fleet._servers._servers[number]

    return find


def data_shard(number: int) -> Find:
    return lambda driver: driver._run.data._shards[number]


def process(actor: Any) -> int:
    """The process that the actor is."""
    return int(ray.get(actor.ping.remote()))


class Faults:
    """Sentences such as `Faults().kill(stage(1), after=3).freeze(stage(0), after=7)`."""

    def __init__(self) -> None:
        self._acts: dict[int, tuple[Find, int]] = {}
        self._spares: dict[int, int] = {}

    def kill(self, find: Find, *, after: int) -> Faults:
        """By a signal that nothing can catch."""
        self._acts[after] = find, signal.SIGKILL
        return self

    def freeze(self, find: Find, *, after: int) -> Faults:
        """It does not die, and does nothing any more."""
        self._acts[after] = find, signal.SIGSTOP
        return self

    def kill_spare(self, number: int, *, after: int) -> Faults:
        """One that waits for a role, when all that do are ready."""
        self._spares[after] = number
        return self

    def run(self, settings: Config, folder: Path) -> Watcher:
        """Train with these faults, and save the model."""
        watcher = Watcher()
        driver = Driver(settings, folder, watcher, may_grow=False, stop=StopRequest())
        # Asked for now: a stage that computes does not answer.
        processes = {find: process(find(driver)) for find, _ in self._acts.values()}
        watcher.after = {
            step: lambda find=find, number=number: os.kill(processes[find], number)
            for step, (find, number) in self._acts.items()
        }
        watcher.after |= {
            step: lambda number=number: os.kill(driver._fleet._spares.processes()[number], signal.SIGKILL)
            for step, number in self._spares.items()
        }
        try:
            driver.run()
            driver.save_model(folder / "model")
        finally:
            driver.close()
        return watcher
