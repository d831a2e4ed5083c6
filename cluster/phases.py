"""How long each of several things took that are done one after the other."""

from __future__ import annotations

import time


class Phases:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self.seconds: dict[str, float] = {}

    def end(self, phase: str) -> None:
        """What was done since the last phase's end is called this; again and again, it adds up."""
        now = time.monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now
