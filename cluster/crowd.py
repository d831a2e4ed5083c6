"""The workers that are there, by what they say of themselves every second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

TELL_EVERY = 1.0
"""Seconds."""
SILENT = 5 * TELL_EVERY
"""Seconds after which a worker that says nothing is taken for gone."""


@dataclass(frozen=True, slots=True)
class Present:
    """What a worker says of itself."""

    name: str
    held: tuple[str, ...]
    """The addresses of the models that are ready."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why others could not be loaded, by their addresses."""
    spans_dropped: int = 0
    """Spans of traces that no collector got, since it was last heard."""
    group: int = 0
    """Of the groups of workers the one that it belongs to."""
    listens: tuple[str, int] | None = None
    """Host and port where it takes on passes."""


class Crowd:
    """As one front knows it."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, came: Callable[[str], None] = lambda _: None
    ) -> None:
        """
        Args:
            came: is told the place of every worker that is new.
        """
        self._clock, self._came = clock, came
        self._heard: dict[str, tuple[float, Present]] = {}
        self._places: dict[str, int] = {}
        self._wanted: tuple[str, ...] = ()

    def hear(self, present: Present) -> tuple[str, ...]:
        """A worker is there; returns what it is to hold."""
        self._heard[present.name] = self._clock(), present
        if present.name not in self._places:
            here = {one.name for one in self.present}
            self._places = {name: place for name, place in self._places.items() if name in here}
            self._places[present.name] = next(n for n in range(len(here)) if n not in self._places.values())
            self._came(self.place(present.name))
        return self._wanted

    def forget(self, name: str) -> None:
        """A worker has gone; one that is still there says so within a second."""
        self._heard.pop(name, None)

    def place(self, name: str) -> str:
        """Which of the workers it is: one that takes the place of another is no new name."""
        return str(self._places.get(name, "new"))

    def want(self, uri: str) -> None:
        """Every worker is to hold a model."""
        self._wanted = (*(one for one in self._wanted if one != uri), uri)

    def leave(self, uri: str) -> None:
        """No worker needs to hold it any more."""
        self._wanted = tuple(one for one in self._wanted if one != uri)

    @property
    def present(self) -> list[Present]:
        now = self._clock()
        self._heard = {name: heard for name, heard in self._heard.items() if now - heard[0] <= SILENT}
        return [present for _, present in self._heard.values()]

    def number(self, group: int) -> int:
        """How many workers of a group there are."""
        return sum(one.group == group for one in self.present)

    def all_hold(self, uri: str) -> bool:
        """Whether each worker that is there has loaded a model; where there is none, nobody has to."""
        return all(uri in one.held for one in self.present)

    def reason(self, uri: str) -> str | None:
        """Why a worker could not load a model."""
        return next((one.failed[uri] for one in self.present if uri in one.failed), None)
