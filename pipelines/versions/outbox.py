"""What the registry does not know yet: written when it can be reached, in the order in which it came up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from pipelines.errors import UserError

What = Literal["promote", "refuse", "remember", "roll back", "show"]
BAD_NEWS: tuple[What, ...] = ("refuse", "roll back")


class Outbox:
    """Writes may be repeated, so that one whose end was not heard of is no harm."""

    def __init__(self) -> None:
        self._writes: dict[tuple[What, str], Callable[[], Any]] = {}

    def put(self, what: What, version: str, write: Callable[[], Any]) -> None:
        """Of the same thing only the newest is written."""
        self._writes[what, version] = write

    def drop(self, what: What, version: str) -> None:
        self._writes.pop((what, version), None)

    def refuses(self, version: str) -> bool:
        """Whether it is no longer to be served, though the registry does not say so yet."""
        return any((what, version) in self._writes for what in BAD_NEWS)

    async def send(self) -> str | None:
        """Returns what went wrong, if anything did: that is kept, and keeps nothing else back."""
        trouble: str | None = None
        for key, write in list(self._writes.items()):
            try:
                await asyncio.to_thread(write)
            except Exception as error:
                trouble = told(error)
                continue
            # Meanwhile something newer may have come up.
            if self._writes.get(key) is write:
                del self._writes[key]
        return trouble


def told(error: Exception) -> str:
    """What is meant for people; of other errors only the kind, for nobody knows what they hold."""
    return str(error) if isinstance(error, UserError) else type(error).__name__
