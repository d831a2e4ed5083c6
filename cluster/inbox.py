"""Messages that came, kept by their tag until they are asked for."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from pipelines.train.transport import Tag, who

Opener = Callable[[], list[Tensor]]
"""Makes the tensors of a message that came."""

GLANCE = 0.25
"""Seconds after which whoever waits looks whether it is still to wait."""


class Inbox(ABC):
    """The waiting part of a transport; how messages travel is its subclasses'. Not for use by several threads."""

    def __init__(self, stage: int, *, timeout: float, glance: Callable[[], None] = lambda: None) -> None:
        """`glance`: raises when it is no use to wait any longer."""
        self._stage, self._timeout, self._glance = stage, timeout, glance
        self._kept: dict[tuple[int, Tag], Opener] = {}

    def receive(self, stage: int, tag: Tag) -> list[Tensor]:
        """Wait for a message, however many others come first.

        Raises:
            TimeoutError: it did not come in time; names who waits, for whom, and for what.
            Exception: what `glance` raises.
        """
        wanted = (stage, tag)
        if wanted not in self._kept:
            deadline = time.monotonic() + self._timeout
            while wanted not in self._kept:
                left = deadline - time.monotonic()
                self._glance()
                if not self._take_in(max(0.0, min(left, GLANCE))) and left <= 0:
                    raise TimeoutError(
                        f"{who(self._stage).capitalize()} waited {self._timeout:g} s for the {tag} from "
                        f"{who(stage)}, which never came (plan.timeout)."
                    )
        return self._kept.pop(wanted)()

    def take_any(self, seconds: float) -> tuple[int, Tag, list[Tensor]] | None:
        """Sender, tag and tensors of the message that came first; None when none comes within so many seconds."""
        if not self._kept:
            self._take_in(seconds)
        if not self._kept:
            return None
        sender, tag = next(iter(self._kept))
        return sender, tag, self._kept.pop((sender, tag))()

    def has(self, stage: int, tag: Tag) -> bool:
        """Whether a message is there already."""
        while (stage, tag) not in self._kept and self._take_in(0):
            pass
        return (stage, tag) in self._kept

    @abstractmethod
    def bind(self, *, room: str | None, host: str) -> str:
        """Listen, and return the address for those who send."""

    @abstractmethod
    def connect(self, addresses: Mapping[int, str]) -> None:
        """Take up the way to other stages; one that is known already is replaced, this stage's own is passed over."""

    @abstractmethod
    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        """Hand a message over and return its bytes; does not wait for the receiver."""

    @abstractmethod
    def close(self) -> None:
        """Drop what was not sent and free everything."""

    @abstractmethod
    def _take_in(self, seconds: float) -> bool:
        """Wait until something comes, at most that long, and keep it; False when nothing came."""
