"""Who may run now: processes take turns, so many at a time."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GLANCE = 0.2
"""Seconds between two tries."""


@contextmanager
def turn(folder: Path, at_once: int) -> Iterator[None]:
    """Wait until fewer than `at_once` others that share the folder have their turn, and have one while this lasts.

    A turn is the kernel's lock on one of so many files: it ends with whoever has it, killed or not.
    """
    while True:
        for n in range(at_once):
            with (folder / f"turn-{n}.lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        time.sleep(GLANCE)
