"""How fast this machine is from moment to moment.

A machine that is shared with others, as virtual ones are, gets a tenth or a half slower for minutes at a time. A
process of its own does the same small piece of work ten times a second, on one core after the other, and notes how long
it computed. What was measured at two times is compared in units of that.
"""

from __future__ import annotations

import bisect
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from statistics import fmean
from typing import Self

import torch
from torch import nn

PERIOD = 0.1
"""Seconds."""
ROWS, WIDTH, HIDDEN, HEADS, INNER = 1, 32, 384, 12, 1536
"""A micro-batch of a row through one of MiniLM's blocks, forward and backward."""


class Speedometer:
    """Watches while it is entered."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._took: list[float] = []

    def __enter__(self) -> Self:
        spawn = multiprocessing.get_context("spawn")
        self._here, there = spawn.Pipe()
        self._process = spawn.Process(target=_watch, args=(there,), daemon=True)
        self._process.start()
        there.close()
        assert self._here.recv() == "ready"
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._here.close()
        self._process.join()

    def seconds(self, begin: float, end: float) -> float:
        """What the piece of work took in the mean from `begin` to `end`, which are times of the clock.

        Raises:
            ValueError: nothing was noted then.
        """
        self._here.send("tell")
        for at, took in self._here.recv():
            self._at.append(at)
            self._took.append(took)
        found = self._took[bisect.bisect(self._at, begin) : bisect.bisect(self._at, end)]
        if not found:
            raise ValueError(f"nothing was noted in these {end - begin:.2f} s")
        return fmean(found)


def _watch(there: Connection) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(HIDDEN, HEADS, INNER, dropout=0.0, batch_first=True)
    x = torch.randn(ROWS, WIDTH, HIDDEN)
    cores = sorted(os.sched_getaffinity(0))
    noted: list[tuple[float, float]] = []
    for _ in range(3):
        block(x).sum().backward()
    there.send("ready")
    core = 0
    while True:
        try:
            if there.poll(PERIOD):
                there.recv()
                there.send(noted)
                noted = []
                continue
        except (EOFError, OSError):
            return
        core = (core + 1) % len(cores)
        os.sched_setaffinity(0, {cores[core]})
        # A core that has slept, or did something else, is slow at first, and it slept more the less was to do.
        block(x).sum().backward()
        begin = time.thread_time()
        block(x).sum().backward()
        noted.append((time.time(), time.thread_time() - begin))
